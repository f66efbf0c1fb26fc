package load

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

// Document is everything that one call of the bench found: what --json prints and a report is made from.
type Document struct {
	Machine Machine `json:"machine"`
	// Result is set after a single run.
	Result *Result `json:"result,omitempty"`
	// Comparison is set after rounds.
	Comparison *Comparison `json:"comparison,omitempty"`
}

// Failed says that a run of the server of interest failed its checks, or that nothing was measured.
func (d Document) Failed() bool {
	if d.Result != nil {
		return d.Result.Failed != ""
	}
	if d.Comparison == nil || len(d.Comparison.Series) == 0 {
		return true
	}
	for _, r := range d.Comparison.Series[0].Runs {
		if r == nil || r.Failed != "" {
			return true
		}
	}
	return false
}

//go:embed report.html
var reportPage []byte

// reportPlace is where the page wants the document.
const reportPlace = "/*DOCUMENT*/"

// WriteReport writes d as one HTML page that needs no network: our own script draws its plots.
func WriteReport(w io.Writer, d Document) error {
	data, err := json.Marshal(d) // escapes <, > and &, so that it cannot end the script element
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	before, after, found := bytes.Cut(reportPage, []byte(reportPlace))
	if !found {
		return fmt.Errorf("report: no %s in the page", reportPlace)
	}
	for _, part := range [][]byte{before, data, after} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
