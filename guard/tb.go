package guard

// TB is what the package uses of testing.TB, which fits: so package testing is not linked into
// programs.
type TB interface {
	Helper()
	Cleanup(func())
	Name() string
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	FailNow()
}
