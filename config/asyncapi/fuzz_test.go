package asyncapi

import (
	"os"
	"path/filepath"
	"testing"

	"sluice/config/catalog"
)

// FuzzAsyncAPI: no document makes the reader panic; one that is taken is an API that the catalog takes, and each of its exports gives it
// back.
func FuzzAsyncAPI(f *testing.F) {
	files, err := filepath.Glob("testdata/foreign/*")
	if err != nil || len(files) == 0 {
		f.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for i, api := range fixtures(f) {
		o := variants()[i%len(variants())]
		if o.Profile == ProfileInternal {
			o.Endpoint = true
		}
		f.Add(yamlOf(f, export(f, api, o)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		api, report := Import(data, ImportOptions{Lenient: true})
		if api == nil {
			if !report.Failed() || report.Err() == nil {
				t.Fatalf("no API and no error: %v", report)
			}
			return
		}
		if report.Failed() {
			t.Fatalf("an API in spite of %v", report)
		}
		if errs, _ := api.Examine(catalog.Options{}); len(errs) > 0 {
			t.Fatalf("the catalog refuses it: %v", errs)
		}
		for _, o := range variants() {
			d, err := Export(api, o)
			if err != nil {
				t.Fatal(err)
			}
			text, err := d.YAML()
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Warnings) > 0 {
				continue
			}
			again, report := Import(text, ImportOptions{Base: api})
			if again == nil {
				t.Fatalf("%s %s is not read back: %v\n%s", o.Profile, o.Version, report, text)
			}
			if want, got := definition(t, api), definition(t, again); want != got {
				t.Fatalf("%s %s gives\n%s\nof\n%s\nby\n%s", o.Profile, o.Version, got, want, text)
			}
		}
	})
}
