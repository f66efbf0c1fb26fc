package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAWeakFirstPasswordEndsTheStart(t *testing.T) {
	for name, text := range map[string]string{"the word itself": "admin\n", "eleven characters": "abcdefghijk\nlmno\n", "an empty line": "\nlong enough for it\n"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "password")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			e := env{stdout: &out, stderr: &out, signals: make(chan os.Signal), lookup: func(string) (string, bool) { return "", false },
				environ: []string{"SLUICE_CONTROL_ADMIN_PASSWORD_FILE=" + file}}
			code := run(context.Background(), []string{"serve", "--data", filepath.Join(dir, "data"), "--roles", "control", "--control", "127.0.0.1:0",
				"--ops", "", "--log-format", "json"}, e)
			if code != exitInvalid || !strings.Contains(out.String(), "password") && !strings.Contains(out.String(), "Password") {
				t.Errorf("code %d: %s", code, &out)
			}
		})
	}
}
