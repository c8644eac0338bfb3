// Package allocbench measures allocators: the time of an operation, and the memory that the process
// takes.
//
//	label            function          work
//	──────────────   ───────────────   ───────────────────────────────────────────────
//	churn            MeasureChurn      replace one of 100,000 objects at random
//	handover         MeasureHandOver   one goroutine allocates, another frees
//	handover/turns   MeasureTurns      the same, 65,536 objects at a time
//	pair             MeasurePair       a million objects of 64 bytes, freed in three orders
//	phase            MeasurePhase      resident memory after each of five phases
//	bump             MeasureBump       objects in an arena
//	fleet            MeasureFleet      sizes and lifetimes of a fleet's programs
//	growth           MeasureGrowth     churn with ever more objects
//	gc               MeasureGC         forced collections beside 20 million objects
//
// # How a measurement runs
//
//  1. The benchmark opens the allocator, and makes room for the slices of the harness, which are in RAM
//     before the clock starts.
//  2. It notes the resident memory of the process.
//  3. Each goroutine has an allocators.Source of its own. Where an allocation takes nanoseconds the inner
//     loop calls the methods of its type (see loops); elsewhere the interface, which costs all the same.
//  4. Objects are drawn as the drivers for C allocators draw them, to the bit (package workload). Check
//     values, in State and Sum, prove that the work was the same.
//
// Tests run them with smaller numbers, through a form measureX where MeasureX has no parameter for them.
// A measurement uses as many processors as it has goroutines, and should have the machine for itself.
package allocbench
