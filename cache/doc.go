// Package cache is a concurrent cache outside the Go heap: keys and values are bytes, and the garbage collector sees none of
// them. With a Limit it evicts entries to stay within it; without one it is a concurrent table of bytes.
package cache
