package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// logins is what login stores: a token per server, and the server that was last signed in to.
type logins struct {
	Current string           `json:"current"`
	Servers map[string]login `json:"servers"`
}

// login is a session of one server.
type login struct {
	Name    string    `json:"name"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// loginFile is where logins are stored: SLUICE_CREDENTIALS, else below the user's configuration folder.
func loginFile(e env) (string, error) {
	if path, ok := e.lookup("SLUICE_CREDENTIALS"); ok && path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no place for credentials: %w; set SLUICE_CREDENTIALS to a file", err)
	}
	return filepath.Join(dir, "sluice", "credentials.json"), nil
}

// loadLogins reads what is stored; nothing stored is no error.
func loadLogins(e env) (*logins, error) {
	store := &logins{Servers: map[string]login{}}
	path, err := loginFile(e)
	if err != nil {
		return store, nil //nolint:nilerr // who has no home has no logins; storing one tells it
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return store, nil
	}
	if err == nil {
		err = json.Unmarshal(text, store)
	}
	if err != nil {
		return nil, withCode(exitFailed, fmt.Errorf("stored credentials: %w; remove the file to sign in anew", err))
	}
	if store.Servers == nil {
		store.Servers = map[string]login{}
	}
	return store, nil
}

// save writes the logins for the user's eyes only: a new file, put in the place of the old one.
func (s *logins) save(e env) error {
	path, err := loginFile(e)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".credentials-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(append(text, '\n')); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// newLogin signs in and stores the token.
func newLogin(e env) *cobra.Command {
	var user, passwordFile string
	c := &cobra.Command{
		Use:   "login [SERVER]",
		Short: "Sign in to a management API and remember the session",
		Long: "login changes a name and a password for a token and stores it, readable by you alone, in your configuration folder\n" +
			"(SLUICE_CREDENTIALS names another file). The password is asked for on a terminal, else read from standard input.\n" +
			"The first admin's password is in the log of the first start.",
		Example: "  sluice login\n  sluice login https://sluice.example:9080 --user ada --password-file ada.txt",
		Args:    cobra.MaximumNArgs(1),
	}
	f := addServer(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			f.server = args[0]
		}
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		password, err := readPassword(e, passwordFile, "Password of "+user+": ")
		if err != nil {
			return withCode(exitUsage, err)
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		return cl.login(ctx, e, user, password)
	}
	c.Flags().StringVarP(&user, "user", "u", "admin", "name to sign in with")
	c.Flags().StringVar(&passwordFile, "password-file", "", "file with the password")
	return c
}

// login signs in and stores the session.
func (c *remote) login(ctx context.Context, e env, user, password string) error {
	body, err := json.Marshal(map[string]string{"name": user, "password": password})
	if err != nil {
		return withCode(exitFailed, err)
	}
	c.token = ""
	a, err := c.do(ctx, call{method: http.MethodPost, path: "/login", body: body})
	if err != nil {
		return err
	}
	var session struct {
		login
		Roles []string `json:"roles"`
	}
	if err := a.into(&session); err != nil {
		return withCode(exitFailed, err)
	}
	store, err := loadLogins(e)
	if err != nil {
		return err
	}
	store.Current, store.Servers[c.base] = c.base, session.login
	if err := store.save(e); err != nil {
		return withCode(exitFailed, fmt.Errorf("session not stored: %w", err))
	}
	_, err = fmt.Fprintf(e.stdout, "signed in to %s as %s (%s)\n", c.base, shown(session.Name), shown(strings.Join(session.Roles, ", ")))
	return withCode(exitFailed, err)
}

// readPassword takes the password from a file, a terminal without showing it, or the first line of standard input.
func readPassword(e env, file, prompt string) (string, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		return strings.TrimRight(string(text), "\r\n"), err
	}
	if f, ok := e.stdin.(*os.File); ok && term.IsTerminal(f.Fd()) {
		fmt.Fprint(e.stderr, prompt)
		text, err := term.ReadPassword(f.Fd())
		fmt.Fprintln(e.stderr)
		return string(text), err
	}
	if e.stdin == nil {
		return "", errors.New("no password: give --password-file")
	}
	line, err := bufio.NewReader(io.LimitReader(e.stdin, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("no password on standard input; give it there or with --password-file")
	}
	return line, nil
}

// newLogout ends the session and forgets it.
func newLogout(e env) *cobra.Command {
	c := &cobra.Command{Use: "logout", Short: "End the session of login and forget it", Args: cobra.NoArgs}
	f := addServer(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := newClient(e, f)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		_, ended := cl.do(ctx, call{method: http.MethodPost, path: "/logout"})
		var refused *serverError
		if errors.As(ended, &refused) && refused.Status == http.StatusUnauthorized {
			ended = nil // it has ended by itself
		}
		store, err := loadLogins(e)
		if err != nil {
			return err
		}
		delete(store.Servers, cl.base)
		if store.Current == cl.base {
			store.Current = ""
		}
		return errors.Join(ended, withCode(exitFailed, store.save(e)))
	}
	return c
}

// newWhoAmI shows who is signed in.
func newWhoAmI(e env) *cobra.Command {
	c := &cobra.Command{Use: "whoami", Short: "Show who is signed in, and with which roles", Args: cobra.NoArgs}
	f := addOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return ask(c, e, f, call{method: http.MethodGet, path: "/me"}, func(w io.Writer, a answer) error {
			var me struct {
				Name  string   `json:"name"`
				Roles []string `json:"roles"`
			}
			if err := a.into(&me); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%s (%s)\n", shown(me.Name), shown(strings.Join(me.Roles, ", ")))
			return err
		})
	}
	return c
}
