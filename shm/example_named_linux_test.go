package shm_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-9a6c551e/offheap/shm"
)

// Two programs that do not know each other meet in a file with the name of the memory. Here both are one process.
func ExampleCreateNamed() {
	dir, err := os.MkdirTemp("", "meeting") // a folder that both know, such as $XDG_RUNTIME_DIR
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	place := filepath.Join(dir, "prices")

	m, err := shm.CreateNamed(shm.Config{Name: "prices", Size: 1 << 20}) // one program
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	copy(m.Bytes(), "gold 2650")
	if err := os.WriteFile(place, []byte(m.Name()), 0o600); err != nil {
		log.Fatal(err)
	}

	name, err := os.ReadFile(place) // the other program
	if err != nil {
		log.Fatal(err)
	}
	got, err := shm.OpenNamed(string(name), shm.ReceiveConfig{ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer got.Close()
	fmt.Println(string(got.Bytes()[:9]), got.Size(), got.ReadOnly())
	// Output: gold 2650 1048576 true
}
