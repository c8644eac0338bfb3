package slab

func address(b []byte) uintptr { return uintptr(addr(b)) }
