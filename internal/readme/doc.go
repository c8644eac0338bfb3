// Package readme has no code. Its test builds and runs the Go code of README.md, so that the examples
// there stay true.
package readme
