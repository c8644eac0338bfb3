// Package misuse runs every known misuse of the public API in every mode, each case in a process of its
// own: go test -run TestMisuse -v ./internal/misuse. It also compares MISUSE.md, at the root, with the
// table of cases: go test -run TestMatrix ./internal/misuse. It has tests only.
package misuse
