// Package leaks tests guardtest.CheckLeaks, OnLeak and the registry with every kind of owner. It has tests only.
package leaks
