// Package doc reads strict YAML and JSON into a tree that knows the line and column of every value, and decodes such a tree
// into Go structs, reporting everything that is wrong at once.
//
// Read node.go (the tree), yaml.go and json.go (two ways in), decode.go (tree to struct), encode.go (struct to compact JSON),
// scalar.go (durations, sizes, shares), errors.go (what a reader of an error sees).
//
// Goroutines: none. Everything here is a pure function of its input; no file or network access.
//
// Bounds: depth 64, 200,000 nodes after aliases, 100 errors told. Refused: unknown fields (with a hint), duplicate keys, merge
// keys, tags outside YAML's core, values of a wrong type, bytes behind a JSON document.
//
// It does not know what a value means: config and config/catalog check that, and report with Document.Errorf so that their
// errors carry positions too.
package doc
