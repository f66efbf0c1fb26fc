package config

import (
	"bytes"
	_ "embed"
)

//go:generate go test . -run WhatTheTypesSay$ -update

//go:embed schema.json
var schemaJSON []byte

//go:embed example.yaml
var exampleYAML []byte

// Schema returns the JSON schema of the settings file, for editors. Load knows more: bounds, and what fits together.
func Schema() []byte { return bytes.Clone(schemaJSON) }

// Example returns a settings file with every key, its default and what it is for.
func Example() []byte { return bytes.Clone(exampleYAML) }
