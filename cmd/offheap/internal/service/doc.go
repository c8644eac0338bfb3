// Package service runs the same service three times and measures it: with Go's maps, with Go's maps without
// pointers, and with memory outside the Go heap. It is the main job of the command.
//
// # The job
//
// A service holds entries. 90 % of its requests read the value of a random key, 10 % replace one. Each request makes
// its answer as a service does: JSON, in fresh memory of the Go heap. Keys have 16 to 40 bytes. Values have 20 to 400
// bytes, with the sizes of a workload of Meta's that CacheLib publishes (see requests.go).
//
//	go        sync.RWMutex, map[string]*entry: 320 shards. A value is never changed in place
//	go_flat   map[[41]byte]uint32 and [][402]byte: the collector has nothing to follow
//	offheap   off the heap
//
// # The box
//
// Every service has the same limit, which is its process's: GOMEMLIMIT, and off the heap the budget. The limit is a
// multiple of the payload, the bytes of all keys and values. Within it the collector must work for Go's maps. With
// memory in plenty it hardly does: so the same loop runs again without a limit.
//
// # The parts
//
//	Job ──▶ Measure ──▶ Report      one process for each service
//	           │
//	        workers ──▶ Service     as many as processors
//
//	requests.go                         keys, values, and the streams of requests
//	worker.go                           serve requests in a closed and in an open loop
//	histogram.go                        percentiles
//	measure.go, figures.go              the order of a measurement, and its figures
//	go_maps.go, go_flat.go, offheap.go  the services
//
// # Life cycle
//
//  1. The workers load the first values of all entries.
//  2. Closed loop: each worker serves one request after the other.
//  3. The workers restore the first values.
//  4. Open loop: requests are due at a fixed rate, and their latency counts from then on. A worker that is early
//     yields its processor again and again. A service that is late by the length of the loop is ended early.
//  5. The limits are lifted, and a collection is timed.
//  6. Another closed loop follows.
//
// # Answers
//
// All services must give the same answers. Each worker has a stream of requests with a fixed seed and entries of its
// own, so its answers do not depend on other workers. The first values are restored between the loops, so they do not
// depend on how many requests a loop before served, either. Every worker keeps a checksum of its answers, after each 1024
// and at the end. Two services are compared up to the last checksum that both have.
//
// # Concurrency
//
// A Service is for any number of goroutines; Measure is for one at a time, because it changes limits of the process.
//
// # Cost
//
// A worker makes a key, and one value in ten, in its buffers; reads the clock once a request; and keeps a histogram of
// 30 KB. So what is measured is the service and its answers: some 0.7 µs of a request are encoding/json.
package service
