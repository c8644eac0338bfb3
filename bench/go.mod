module github.com/seed-9a6c551e/offheap/bench

go 1.26.0

replace github.com/seed-9a6c551e/offheap => ../

require (
	github.com/bytedance/gopkg v0.1.4
	github.com/dgraph-io/ristretto/v2 v2.4.2
	github.com/seed-9a6c551e/offheap v0.0.0-00010101000000-000000000000
	modernc.org/memory v1.12.1
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
