package guard

// TB is what Fence and the others need of a testing.TB. So programs that import the package do not
// link package testing.
type TB interface {
	Helper()
	Name() string
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	FailNow()
}
