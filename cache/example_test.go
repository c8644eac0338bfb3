package cache_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/seed-9a6c551e/offheap/cache"
)

func Example() {
	c, err := cache.Open(cache.Config{Limit: 64 << 20})
	if err != nil {
		panic(err)
	}
	defer c.Close()

	if err := c.SetTTL([]byte("user:1"), []byte("Ada"), time.Hour); err != nil {
		panic(err)
	}
	name, ok := c.Get(nil, []byte("user:1"))
	fmt.Printf("%s %v\n", name, ok)
	c.View([]byte("user:1"), func(value []byte) { fmt.Println(len(value), "bytes, not copied") })
	// Output:
	// Ada true
	// 3 bytes, not copied
}

func ExampleCache_Update() {
	c, err := cache.Open(cache.Config{})
	if err != nil {
		panic(err)
	}
	defer c.Close()

	for range 3 {
		err := c.Update([]byte("log"), func(old []byte, ok bool) (value []byte, keep bool) {
			return append(bytes.Clone(old), '+'), true
		})
		if err != nil {
			panic(err)
		}
	}
	value, _ := c.Get(nil, []byte("log"))
	fmt.Printf("%s\n", value)
	// Output: +++
}

func ExampleCache_WriteTo() {
	c, err := cache.Open(cache.Config{})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	if err := c.Set([]byte("k"), []byte("v")); err != nil {
		panic(err)
	}

	var file bytes.Buffer
	if _, err := c.WriteTo(&file); err != nil {
		panic(err)
	}
	c.Reset()
	if _, err := c.ReadFrom(&file); err != nil {
		panic(err)
	}
	fmt.Println(c.Len(), "entry")
	// Output: 1 entry
}
