// Command sluice is the gateway and its tools. Each verb has its file; main.go only dispatches and maps errors to exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes. systemd units use 78 for RestartPreventExitStatus.
const (
	exitOK      = 0
	exitFailed  = 1  // runtime failure or a server's refusal
	exitUsage   = 2  // wrong flags or arguments
	exitDiffers = 3  // diff found changes
	exitOS      = 71 // cannot bind a listener, take the data folder or raise a limit
	exitInvalid = 78 // invalid configuration
)

// exitError carries the exit code of an error up to run.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// withCode wraps err so that the process ends with code.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return exitError{code, err}
}

// env is the world a verb sees; tests replace it.
type env struct {
	stdin          io.Reader // nil = none
	stdout, stderr io.Writer
	signals        <-chan os.Signal // SIGINT, SIGTERM, SIGHUP
	nohup          bool             // SIGHUP was ignored when the program began: it ends nothing
	lookup         func(string) (string, bool)
	environ        []string
	resetAdmin     bool // serve --reset-admin
}

func main() {
	signals := make(chan os.Signal, 4)
	nohup := signal.Ignored(syscall.SIGHUP) // before Notify changes it
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(run(context.Background(), os.Args[1:], env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, signals: signals, nohup: nohup,
		lookup: os.LookupEnv, environ: os.Environ(),
	}))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, e env) int {
	root := newRoot(e)
	root.SetArgs(args)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var coded exitError
	if !errors.As(err, &coded) {
		fmt.Fprintf(e.stderr, "sluice: %v\nTry 'sluice --help'.\n", err)
		return exitUsage
	}
	if coded.err.Error() != "" {
		fmt.Fprintf(e.stderr, "sluice: %v\n", coded.err)
	}
	return coded.code
}

func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Turn Server-Sent Events backends into durable SSE APIs for very many clients",
		Long: "sluice holds one upstream connection per feed, stores its events in NATS JetStream and fans them out.\n" +
			"A client that reconnects with Last-Event-ID gets exactly what it missed, or is told what is gone.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(
		newServe(e), newDemo(e), newFeed(e), newTail(e), newTop(e), newFeeds(e), newBench(e),
		newAsyncAPI(e), newCheckConfig(e), newGenConfig(e), newNKeys(e), newHealthcheck(e), newVersion(e),
		newLogin(e), newLogout(e), newWhoAmI(e), newGet(e), newDescribe(e), newHistory(e), newCreate(e), newApply(e), newDiff(e), newSet(e), newEdit(e), newStatus(e), newValidate(e), newSchema(e),
		newDelete(e), newTopic(e), newRevision(e), newDeploy(e), newUndeploy(e), newImport(e), newExport(e),
		newSubscribe(e), newUsage(e), newDeny(e), newRevoke(e), newSnippet(e),
	)
	root.AddCommand(newActions(e)...)
	root.AddCommand(newStates(e)...)
	return root
}

// untilSignal returns a context that ends with the first signal; for verbs that have nothing to drain or reload. Their
// terminal being gone ends them too.
func untilSignal(ctx context.Context, e env) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-e.signals:
				if s != syscall.SIGHUP || !e.nohup {
					cancel()
					return
				}
			}
		}
	}()
	return ctx, cancel
}
