package catalog

import (
	"bytes"
	_ "embed"
)

// Generated with the settings' schema: go generate ./config.
//
//go:embed schema.json
var schemaJSON []byte

// Schema returns the JSON schema of an API definition, for editors. The store knows more: bounds, and what fits together.
func Schema() []byte { return bytes.Clone(schemaJSON) }
