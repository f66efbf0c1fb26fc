package badinput

import (
	"bufio"
	"io"
	"strings"
)

// readIDs sends the id of every event until the stream ends.
func readIDs(body io.Reader, to chan<- string) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			to <- id
		}
	}
}
