// Package wso2 turns SSE API projects of WSO2 API Manager into API definitions, and definitions back into such projects.
//
// Read project.go (folders, zips and single files, with their bounds), import.go (a project's way to a definition), fields.go,
// operations.go, endpoint.go and definition.go (what each field becomes), extra.go and secrets.go (what has no place here), export.go
// and fields_out.go (the way back), report.go (what a reader is told).
//
// Goroutines: none. Everything but ReadFolder and WriteFolder is a pure function of its input, and nothing here opens a connection.
//
// What a project says and sluice has no use for is kept in the annotation wso2/extra and written back by Export. Passwords are not:
// where one stood, the definition names a secret, and the report says which.
//
// It does not store anything: config/catalog checks and keeps the definitions.
package wso2
