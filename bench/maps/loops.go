package main

import "github.com/seed-9a6c551e/offheap/table"

// Each loop exists twice, word for word, because a loop over an interface or a type parameter would measure calls
// that programs do not make.

type (
	ours   = table.Map[uint64, uint64]
	theirs = map[uint64]uint64
)

func getOurs(m *ours, asked []uint64) (check uint64) {
	for _, k := range asked {
		v, _ := m.Get(k)
		check += v
	}
	return check
}

func batchOurs(m *ours, asked []uint64) (check uint64) {
	var values [256]uint64
	for len(asked) > 0 {
		n := min(len(asked), len(values))
		m.GetBatch(asked[:n], values[:n], nil)
		for _, v := range values[:n] {
			check += v
		}
		asked = asked[n:]
	}
	return check
}

func getTheirs(m theirs, asked []uint64) (check uint64) {
	for _, k := range asked {
		v, _ := m[k]
		check += v
	}
	return check
}

// The value of a key is the next key.
func followOurs(m *ours, k uint64, steps int) uint64 {
	for range steps {
		k, _ = m.Get(k)
	}
	return k
}

func followTheirs(m theirs, k uint64, steps int) uint64 {
	for range steps {
		k, _ = m[k]
	}
	return k
}

func putOurs(m *ours, asked, values []uint64) {
	for i, k := range asked {
		m.Put(k, values[i])
	}
}

func putTheirs(m theirs, asked, values []uint64) {
	for i, k := range asked {
		m[k] = values[i]
	}
}

func churnOurs(m *ours, asked, values []uint64) {
	for i, k := range asked {
		m.Delete(k)
		m.Put(k, values[i])
	}
}

func churnTheirs(m theirs, asked, values []uint64) {
	for i, k := range asked {
		delete(m, k)
		m[k] = values[i]
	}
}

// Entries from to from+steps are replaced by those n later.
func replaceOurs(m *ours, from, steps, n uint64) {
	for i := from; i < from+steps; i++ {
		m.Delete(key(i))
		m.Put(key(i+n), key(i+n+1))
	}
}

func replaceTheirs(m theirs, from, steps, n uint64) {
	for i := from; i < from+steps; i++ {
		delete(m, key(i))
		m[key(i+n)] = key(i + n + 1)
	}
}

func fillOurs(m *ours, from, to uint64) {
	for i := from; i < to; i++ {
		m.Put(key(i), key(i+1))
	}
}

func fillTheirs(m theirs, from, to uint64) {
	for i := from; i < to; i++ {
		m[key(i)] = key(i + 1)
	}
}

func iterateOurs(m *ours) (check uint64) {
	for k, v := range m.All() {
		check += k ^ v
	}
	return check
}

func iterateTheirs(m theirs) (check uint64) {
	for k, v := range m {
		check += k ^ v
	}
	return check
}

func popOurs(m *ours) (check uint64) {
	for m.Len() > 0 {
		for k := range m.All() {
			m.Delete(k)
			check += k
			break
		}
	}
	return check
}

func popTheirs(m theirs) (check uint64) {
	for len(m) > 0 {
		for k := range m {
			delete(m, k)
			check += k
			break
		}
	}
	return check
}

type (
	wideKey    = [16]byte
	wideValue  = [100]byte
	wideOurs   = table.Map[wideKey, wideValue]
	wideTheirs = map[wideKey]wideValue
)

// Nine of ten operations read a value, the tenth writes it.
func mixOurs(m *wideOurs, asked []wideKey) (check uint64) {
	for i := range asked {
		if i%10 == 9 {
			m.Put(asked[i], wideValue{byte(i)})
			continue
		}
		v, _ := m.Get(asked[i])
		check += uint64(v[0])
	}
	return check
}

func mixTheirs(m wideTheirs, asked []wideKey) (check uint64) {
	for i := range asked {
		if i%10 == 9 {
			m[asked[i]] = wideValue{byte(i)}
			continue
		}
		v, _ := m[asked[i]]
		check += uint64(v[0])
	}
	return check
}

type (
	stringsOurs   = table.Strings[uint64]
	stringsTheirs = map[string]uint64
)

func getStringsOurs(m *stringsOurs, asked []string) (check uint64) {
	for _, k := range asked {
		v, _ := m.Get(k)
		check += v
	}
	return check
}

func getStringsTheirs(m stringsTheirs, asked []string) (check uint64) {
	for _, k := range asked {
		v, _ := m[k]
		check += v
	}
	return check
}

func putStringsOurs(m *stringsOurs, asked []string) {
	for i, k := range asked {
		m.Put(k, uint64(i))
	}
}

func putStringsTheirs(m stringsTheirs, asked []string) {
	for i, k := range asked {
		m[k] = uint64(i)
	}
}

func churnStringsOurs(m *stringsOurs, asked []string) {
	for i, k := range asked {
		m.Delete(k)
		m.Put(k, uint64(i))
	}
}

func churnStringsTheirs(m stringsTheirs, asked []string) {
	for i, k := range asked {
		delete(m, k)
		m[k] = uint64(i)
	}
}
