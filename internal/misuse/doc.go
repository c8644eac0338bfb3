// Package misuse runs every misuse of the public API that is known, in every mode, each in a process of
// its own, and holds README.md to what is caught: go test -run TestMisuse -v ./internal/misuse. It has
// tests only.
package misuse
