package load

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the raw loop too, as the real program is.
func TestMain(m *testing.M) {
	if os.Getenv("LOAD_TEST_RAW_LOOP") != "" {
		if err := RawLoop(context.Background(), "127.0.0.1:0", -1, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
