package asyncapi

import (
	"os"
	"testing"

	"sluice/internal/doc"
)

func writeJSON(n *doc.Node) ([]byte, error) { return doc.WriteJSON(n) }

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
