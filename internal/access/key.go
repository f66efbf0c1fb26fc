package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// SecretKind is what a secret is for, and how it begins.
type SecretKind string

// The kinds of secrets.
const (
	APIKeySecret SecretKind = "slk" // of an API key; the id is Key.ID
	ClientSecret SecretKind = "sls" // of an application at the built-in issuer; the id is Application.ID
)

// A secret is <kind>_<id 12>_<secret 52><crc 7>: 256 random bits in lower-case base32, then the CRC-32 of all before it, so that a typing
// error costs no look-up, and scanners for leaked secrets match nothing else.
const (
	idLength     = 12 // 60 random bits
	secretLength = 52
	sumLength    = 7
	textLength   = 3 + 1 + idLength + 1 + secretLength + sumLength
)

// How a secret is stored.
const (
	HashSHA256 = "sha256"
	HashHMAC   = "hmac-sha256" // with the pepper, which is not in the broker
)

var (
	base32Lower = base32.NewEncoding(base32Letters).WithPadding(base32.NoPadding)
	dummyHash   = strings.Repeat("0", 2*sha256.Size)
)

const base32Letters = "abcdefghijklmnopqrstuvwxyz234567"

// NewID makes an id of 60 random bits: 12 characters of lower-case base32.
func NewID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) //nolint:errcheck // never fails
	return base32Lower.EncodeToString(b[:])[:idLength]
}

// grantID is the id of a subscription, made from what it is between: who ends one and makes it anew has the same quota, and what was denied
// to it stays denied.
func grantID(app, api, version string) string {
	sum := sha256.Sum256([]byte(subKey(app, api, version)))
	return base32Lower.EncodeToString(sum[:8])[:idLength]
}

// MakeKey makes a secret of a kind for an id, as it is shown once.
func MakeKey(kind SecretKind, id string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) //nolint:errcheck // never fails
	text := string(kind) + "_" + id + "_" + base32Lower.EncodeToString(b[:])
	return text + sumOf(text)
}

func sumOf(text string) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], crc32.ChecksumIEEE([]byte(text)))
	return base32Lower.EncodeToString(b[:])
}

// ParseKey returns the id in a secret of a kind; false if text is none, or was mistyped. It says nothing about whether the secret is known.
func ParseKey(kind SecretKind, text string) (id string, ok bool) {
	if len(text) != textLength || text[:4] != string(kind)+"_" || text[4+idLength] != '_' {
		return "", false
	}
	id = text[4 : 4+idLength]
	if !isID(id) || strings.Trim(text[5+idLength:], base32Letters) != "" {
		return "", false
	}
	end := len(text) - sumLength
	return id, sumOf(text[:end]) == text[end:]
}

// isID tells whether s is an id as NewID makes them.
func isID(s string) bool { return len(s) == idLength && strings.Trim(s, base32Letters) == "" }

// HashKey is how a secret is stored: in hex, and by which algorithm. An empty pepper stands for none.
func HashKey(text string, pepper []byte) (hash, alg string) {
	if len(pepper) == 0 {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:]), HashSHA256
	}
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)), HashHMAC
}

// Matches tells in constant time whether text is the key's secret. Of a nil key, which is one that is unknown, nothing is, after the same
// time. It does not ask for state and expiry.
func (k *Key) Matches(text string, pepper []byte) bool {
	want, alg := dummyHash, HashSHA256
	if k != nil {
		want, alg = k.Hash, k.HashAlg
	}
	return matches(want, alg, text, pepper) && k != nil
}

// SecretMatches tells in constant time whether text is the client secret of the application, which may be nil.
func (a *Application) SecretMatches(text string) bool {
	want := dummyHash
	if a != nil && a.SecretHash != "" {
		want = a.SecretHash
	}
	return matches(want, HashSHA256, text, nil) && a != nil && a.SecretHash != ""
}

func matches(want, alg, text string, pepper []byte) bool {
	if alg != HashHMAC {
		pepper = nil
	} else if len(pepper) == 0 {
		return false
	}
	got, _ := HashKey(text, pepper)
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}
