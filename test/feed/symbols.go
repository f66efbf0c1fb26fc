package feed

import "slices"

// symbolNames lists the invented companies of the market, the busiest first.
var symbolNames = []string{
	"ACME", "GLOBEX", "INITECH", "HOOLI", "WONKA", "STARK", "WAYNE", "UMBRA", "SOYLENT", "TYRELL", "CYBER", "OSCORP",
	"BLUTH", "DUNDER", "PIPER", "VANDEL", "MASSIVE", "APERTUR", "GRINGO", "NAKATO", "VEHEM", "DUFF", "SLURM", "ZORG",
}

// symbols returns the first count names, the invented companies and then AAAAA, AAAAB, ….
func symbols(count int) []string {
	out := slices.Clone(symbolNames[:min(count, len(symbolNames))])
	for i := 0; len(out) < count; i++ {
		name := []byte("AAAAA")
		for k, rest := len(name)-1, i; k >= 0; k, rest = k-1, rest/26 {
			name[k] += byte(rest % 26)
		}
		out = append(out, string(name))
	}
	return out
}

// zipf returns running sums of weights 1/rank, for choosing a rank by a hash.
func zipf(count int) []uint64 {
	sums := make([]uint64, count)
	var sum uint64
	for i := range sums {
		sum += 1_000_000 / uint64(i+1)
		sums[i] = sum
	}
	return sums
}

// pick returns the rank that h falls on.
func pick(sums []uint64, h uint64) int {
	i, found := slices.BinarySearch(sums, h%sums[len(sums)-1])
	if found {
		i++
	}
	return i
}
