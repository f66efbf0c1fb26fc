package main

import (
	"os"

	"sluice/test/load"
)

// writeReport writes the HTML report to a file.
func writeReport(path string, d load.Document) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := load.WriteReport(f, d); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
