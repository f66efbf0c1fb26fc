package brokertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/broker"
)

// loginConf has users that differ in what they may publish.
const loginConf = plainConf + `
accounts: { A: { jetstream: enabled, users: [
  {nkey: $KEY_OLD, permissions: {publish: ["old", "$JS.API.>"]}}
  {nkey: $KEY_NEW, permissions: {publish: ["new", "$JS.API.>"]}}
  {user: u, password: $PASSWORD, permissions: {publish: ["pass", "$JS.API.>"]}}
] } }
`

// loginServers starts a server with loginConf and returns the seeds of its users.
func loginServers(t *testing.T) (s *Servers, old, fresh string) {
	t.Helper()
	old, oldPublic, err1 := broker.NewUserKey()
	fresh, freshPublic, err2 := broker.NewUserKey()
	conf := filepath.Join(t.TempDir(), "login.conf")
	if err := errors.Join(err1, err2, os.WriteFile(conf, []byte(loginConf), 0o600)); err != nil {
		t.Fatal(err)
	}
	s = Cluster(t, 1, ClusterOptions{
		Conf: conf, Env: []string{"KEY_OLD=" + oldPublic, "KEY_NEW=" + freshPublic, "PASSWORD=hush-hush"},
		Node: broker.Config{Login: broker.Login{User: "u", Password: "hush-hush"}},
	})
	return s, old, fresh
}

// may says whether the node may publish on a subject.
func may(t *testing.T, s *Servers, n *broker.Node, subject string) bool {
	t.Helper()
	before := len(s.Logged(fmt.Sprintf("Publish Violation - Subject %q", subject)))
	if err := n.Bus().Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	stop, err := n.Bus().Subscribe("barrier", func(string, []byte, func([]byte) error) {}) // whose flush the server answers behind it
	if err != nil {
		t.Fatal(err)
	}
	stop()
	return len(s.Logged(fmt.Sprintf("Publish Violation - Subject %q", subject))) == before
}

// A seed that is replaced by another user's is used from the next Reload on; the
// connections are made anew, and only then.
func TestSeedIsReplaced(t *testing.T) {
	s, old, fresh := loginServers(t)
	file := filepath.Join(t.TempDir(), "user.nk")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(old + "\n")
	n := s.Open(broker.Config{Login: broker.Login{File: file}})
	if !may(t, s, n, "old") || may(t, s, n, "new") {
		t.Fatal("not the first user's rights")
	}
	waitDenied(t, n)
	since := n.Link().Since
	if err := n.Reload(); err != nil || n.Link().Since != since {
		t.Errorf("a reload of the same files: %v, link %+v", err, n.Link())
	}
	write("SUAnonsense\n")
	if err := n.Reload(); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a file that holds no seed: %v", err)
	}
	if !n.Link().Up {
		t.Error("a wrong file cut the link")
	}
	write(fresh + "\n")
	waitLinkChange(t, n, func() {
		if err := n.Reload(); err != nil {
			t.Fatal(err)
		}
	})
	if may(t, s, n, "old") || !may(t, s, n, "new") {
		t.Error("not the second user's rights after a reload")
	}
}

// waitDenied waits until the node tells of a refusal: the library does by a goroutine of its own.
func waitDenied(t *testing.T, n *broker.Node) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(waitTimeout)
	for n.Denied() == "" {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("a refused publish is not told")
		}
	}
}

// waitLinkChange waits until the link is up again after what do did to it.
func waitLinkChange(t *testing.T, n *broker.Node, do func()) {
	t.Helper()
	since := n.Link().Since
	changed := n.LinkChanged()
	do()
	for {
		waitChanged(t, changed)
		changed = n.LinkChanged()
		if l := n.Link(); l.Up && l.Since != since {
			return
		}
	}
}

// waitChanged waits for a change of the link, which only a broken login keeps back.
func waitChanged(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(startTimeout):
		t.Fatal("the link does not change")
	}
}

// A password comes from its file as it is at each connect, and never shows.
func TestPasswordFile(t *testing.T) {
	s, _, _ := loginServers(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hush-wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := s.Open(broker.Config{Login: broker.Login{User: "u", PasswordFile: file}})
	tick, late := time.NewTicker(time.Millisecond), time.After(startTimeout)
	defer tick.Stop()
	l := n.Link()
	for ; strings.Contains(l.Why, "not yet connected"); l = n.Link() { // the last of its connections may not have been refused yet
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("neither connected nor refused: %+v", l)
		}
	}
	if l.Up || !l.Never || !strings.Contains(l.Why, "Authorization Violation") || strings.Contains(l.Why, "hush") {
		t.Errorf("with a wrong password: %+v", l)
	}
	changed := n.LinkChanged()
	if err := os.WriteFile(file, []byte("hush-hush\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitChanged(t, changed) // it tries by itself
	if l := n.Link(); !l.Up || l.Never {
		t.Errorf("with the right one: %+v", l)
	}
	if !may(t, s, n, "pass") || may(t, s, n, "old") {
		t.Error("not the rights of the user with the password")
	}
}

// What a login file must be is told with its name, and nothing of what is in it.
func TestLoginFilesAreChecked(t *testing.T) {
	dir := t.TempDir()
	name := func(file, text string) string {
		file = filepath.Join(dir, file)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	seed, _, err := broker.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		cfg  broker.Config
		want string
	}{
		"missing seed":       {broker.Config{Login: broker.Login{File: filepath.Join(dir, "none")}}, "none: no such file"},
		"no seed":            {broker.Config{Login: broker.Login{File: name("a", "secret text")}}, "a is neither a NATS .creds file nor the seed"},
		"damaged seed":       {broker.Config{Login: broker.Login{File: name("b", seed[:len(seed)-1])}}, "b is neither"},
		"creds without seed": {broker.Config{Login: broker.Login{File: name("c", "-----BEGIN NATS USER JWT-----\nsecret\n------END NATS USER JWT------\n")}}, "c is neither"},
		"two logins":         {broker.Config{Login: broker.Login{File: name("d", seed), User: "u"}}, "takes one of them"},
		"empty password":     {broker.Config{Login: broker.Login{User: "u", PasswordFile: name("e", "\nsecret")}}, "first line of " + filepath.Join(dir, "e") + " is empty"},
		"huge":               {broker.Config{Login: broker.Login{User: "u", PasswordFile: name("f", strings.Repeat("x", 2<<20))}}, "f is larger than"},
		"no authority":       {broker.Config{TLS: broker.TLS{CA: name("g", "secret")}}, "g holds no certificate"},
		"no certificate":     {broker.Config{TLS: broker.TLS{Cert: name("h", "secret"), Key: name("i", "secret")}}, "certificate " + filepath.Join(dir, "h")},
	} {
		err := c.cfg.CheckFiles()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), seed[2:20]) {
			t.Errorf("%s: the error shows what is in the file: %v", what, err)
		}
	}
	if err := (broker.Config{Login: broker.Login{File: name("ok", "# a comment\n"+seed+"\n")}}).CheckFiles(); err != nil {
		t.Errorf("a seed behind a comment: %v", err)
	}
}
