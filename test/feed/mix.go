package feed

// mix is a 64-bit finaliser with full avalanche; it is a bijection, undone by unmix.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	x ^= x>>31 ^ x>>62
	x *= 0x319642b2d24d8ec3
	x ^= x>>27 ^ x>>54
	x *= 0x96de1b173f119089
	return x ^ x>>30 ^ x>>60
}

// hash3 hashes three words into one.
func hash3(a, b, c uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15
	return mix(mix(mix(a+odd)^b+odd) ^ c + odd)
}

// hashText is 64-bit FNV-1a.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
