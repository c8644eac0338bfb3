package guard_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/seed-9a6c551e/offheap/guard"
)

// A touch of a closed region is an error inside Catch. Outside it would end the program.
func ExampleCatch() {
	r, err := guard.Reserve(guard.Config{Name: "samples", Size: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Commit(0, 1<<20); err != nil {
		fmt.Println(err)
		return
	}
	data := r.Bytes()
	data[5] = 1
	if err := r.Close(); err != nil {
		fmt.Println(err)
		return
	}
	err = guard.Catch(func() { data[5] = 2 })
	var fault *guard.Fault
	if errors.As(err, &fault) && fault.Kind == guard.UseAfterClose {
		fmt.Println(fault.Region, fault.Offset, fault.Kind)
	}
	// Output: samples 5 use after close
}

// With ReportFaults a program that ends by a fault says which memory was touched.
func ExampleReportFaults() {
	if err := guard.ReportFaults(); err != nil {
		log.Print(err) // the program runs on, and faults say less
	}
	r, err := guard.Reserve(guard.Config{Name: "samples", Size: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	data := r.Bytes()
	if err := r.Close(); err != nil {
		log.Fatal(err)
	}
	data[5] = 1
	// Then standard error has:
	//
	//	guard: use after close in region "samples": address 0x7f3a14c05005, offset 5 of 1048576
	//	unexpected fault address 0x7f3a14c05005
	//	fatal error: fault
}

// A hard budget turns a lack of memory into an error, before the kernel kills the program.
func ExampleSetBudget() {
	old, err := guard.SetBudget(guard.Budget{Hard: guard.Committed() + 1<<20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer guard.SetBudget(old)

	r, err := guard.Reserve(guard.Config{Name: "cache", Size: 64 << 20}) // addresses are not charged
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	fmt.Println(r.Commit(0, 1<<20), errors.Is(r.Commit(1<<20, 1<<20), guard.ErrNoMemory))
	// Output: <nil> true
}
