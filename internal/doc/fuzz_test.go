package doc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzDoc: no input makes a parser panic or run away; every error has a place inside the file; what decodes can be written and read back
// as the same; whatever our JSON parser takes, encoding/json takes too.
func FuzzDoc(f *testing.F) {
	for _, s := range []string{"title: x\nlist: [{name: a, wait: 5s}]\n", `{"title":"x","free":{"a":[1,2.5e3,null]}}`, "a: &a [1]\nb: [*a, *a]\n",
		"<<: {a: b}", "? [x]\n: y", "{\"\\ud83d\\ude00\": 1}", "--- !x\n- 1\n...\n---\n", "free: &x {a: *x}", "\xef\xbb\xbf{}", "net: [1.2.3.4]\nsize: 1KiB"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// A parser that does not come back would stop the fuzzer without a word: make it a finding.
		watchdog := time.AfterFunc(10*time.Second, func() { panic("a document takes more than 10 s") })
		defer watchdog.Stop()
		for _, file := range []string{"f.yaml", "f.json"} {
			docs, err := Parse(file, data)
			checkErrors(t, err)
			for _, d := range docs {
				var into outer
				err := d.Decode(&into)
				checkErrors(t, err)
				if err != nil {
					continue
				}
				text, err := Marshal(into)
				if err != nil {
					t.Fatalf("decoded but cannot be written: %v", err)
				}
				again, bad := decodeAll("again.json", string(text))
				if bad != "" {
					t.Fatalf("%s\nis not read back: %s", text, bad)
				}
				if text2, _ := Marshal(again); !bytes.Equal(text, text2) {
					t.Fatalf("%s\nis read back as\n%s", text, text2)
				}
			}
			if file == "f.json" && err == nil && !json.Valid(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))) {
				t.Fatalf("took what is not JSON: %q", data)
			}
			if file == "f.json" && err != nil && json.Valid(data) && utf8.Valid(data) && !bytes.Contains(data, []byte(`\u`)) {
				var e *Error
				if errors.As(err, &e); e.Type == TypeInvalidJSON && !strings.HasSuffix(e.Message, "is out of range") {
					t.Fatalf("refused valid JSON %q: %v", data, err)
				}
			}
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var all Errors
	if !errors.As(err, &all) || len(all) == 0 || len(all) > maxErrors+1 {
		t.Fatalf("error of type %T with %d entries", err, len(all))
	}
	for _, e := range all {
		if e.Message == "" || len(e.Error()) > 4096 && len(e.Pointer) < 1024 {
			t.Fatalf("poor error %+v", e)
		}
	}
}
