package token

// KeysKey is where the built-in issuer's public keys are in bucket access: a JWKS.
const KeysKey = "jwks"
