package wso2

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sluice/internal/doc"
)

// FuzzProject: no input makes the reader panic or run away; every error and finding has a place inside a file; what is taken can be
// written, and the archive of that is taken as the same definition.
func FuzzProject(f *testing.F) {
	for _, dir := range []string{"bare", "secured", "templates", "tenant"} {
		data, err := os.ReadFile(filepath.Join("testdata", dir, "in", "api.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{minimal, `{"name":"A","context":"/a","version":"1","type":"SSE","operations":[{"target":"/x/{y}","verb":"SUB","uriMapping":"/{uri.var.y}/*"}]}`,
		"data: {type: SSE, name: a b, tags: [A, a], context: '', scopes: [{scope: {}}]}\ntype: api\n", "PK\x03\x04"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Single("api.yaml", data)
		if IsZip(data) {
			p, err = ReadZip("a.zip", data)
		}
		if err != nil {
			return
		}
		in, err := Read(p, Options{})
		if err != nil {
			var errs doc.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("error of type %T", err)
			}
			for _, e := range errs {
				if e.Message == "" || e.Type == "" {
					t.Fatalf("poor error %+v", e)
				}
			}
			return
		}
		if len(in.Report) > maxFindings {
			t.Fatalf("%d findings", len(in.Report))
		}
		out := write1(t, in.API)
		packed, err := out.Zip("a")
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := ReadZip("a.zip", packed)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read(unpacked, Options{})
		if err != nil {
			t.Fatalf("written project is refused: %v\n%s", err, out.File(nativeYAML))
		}
		if a, b := yamlOf(t, in.API), yamlOf(t, again.API); a != b {
			t.Fatalf("read as\n%s\nthen as\n%s", a, b)
		}
		delete(unpacked.files, nativeYAML)
		mapped, err := Read(unpacked, Options{})
		if err != nil {
			t.Fatalf("written api.yaml is refused: %v\n%s", err, out.File(apiYAML))
		}
		if mapped.API.ID() != in.API.ID() || mapped.API.Spec.Endpoint != in.API.Spec.Endpoint || len(mapped.API.Spec.Topics) != len(in.API.Spec.Topics) {
			t.Fatalf("%s becomes %s", yamlOf(t, in.API), yamlOf(t, mapped.API))
		}
	})
}
