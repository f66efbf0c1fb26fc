package feed

// A price is a random walk that can be read at any time without walking to it: a sum of value noises whose
// periods double and whose swings grow with the square root of the period. Integers only, so that every
// machine computes the same bytes.
const (
	firstPeriod = int64(62_500) // µs: the fastest noise, a sixteenth of a second
	octaves     = 22            // the slowest has a period of 36 hours
)

// swings holds the amplitude of each octave in units of 1e-9 of the base price: 2e-5 × √2ᵏ.
var swings = [octaves]int64{
	20_000, 28_284, 40_000, 56_569, 80_000, 113_137, 160_000, 226_274, 320_000, 452_548, 640_000,
	905_097, 1_280_000, 1_810_193, 2_560_000, 3_620_387, 5_120_000, 7_240_773, 10_240_000, 14_481_547,
	20_480_000, 28_963_094,
}

// drift returns how far the walk is from its base at µs t, in 1e-9 of the base; |drift| < 0.1e9.
func drift(key uint64, t int64) int64 {
	var sum int64
	period := firstPeriod
	for k := range octaves {
		i, part := t/period, t%period
		a := unit(hash3(key, uint64(k), uint64(i)))
		b := unit(hash3(key, uint64(k), uint64(i+1)))
		at := a + (b-a)*(part<<10/period)>>10 // in 1/32768
		sum += swings[k] * at >> 15
		period *= 2
	}
	return sum
}

// unit maps a hash to −32768 … 32767.
func unit(h uint64) int64 { return int64(h>>48) - 1<<15 }

// basePrice returns a symbol's price in cents around which it walks: 8 to about 500 in whole currency.
func basePrice(key uint64) int64 {
	h := mix(key ^ 0xba5e)
	return (800 + int64(h%5200)) << (h >> 32 % 4)
}

// quote returns bid and ask in cents and the size traded at µs t.
func quote(key uint64, t int64, n uint64) (bid, ask, volume int64) {
	base := basePrice(key)
	mid := base + base*(drift(key, t)/100)/10_000_000
	h := hash3(key, n, 0x5151e)
	half := 1 + mid/20_000 + int64(h%2)
	volume = 100 * (1 + int64(h>>8%9))
	if h>>16%16 == 0 {
		volume *= 10
	}
	return mid - half, mid + half, volume
}
