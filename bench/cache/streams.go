package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// stream is a sequence of accesses to keys, which are numbers from 0 to distinct. An access is a get, followed by a set if it misses, or a
// set alone.
type stream struct {
	name      string
	keys      []uint32
	sets      []bool // nil if there are none
	distinct  int
	valueSize int // bytes of a value
}

// number gives the keys of a stream the numbers from 0 on.
func (s *stream) number() *stream {
	numbers := map[uint32]uint32{}
	for i, k := range s.keys {
		n, ok := numbers[k]
		if !ok {
			n = uint32(len(numbers))
			numbers[k] = n
		}
		s.keys[i] = n
	}
	s.distinct = len(numbers)
	return s
}

// zipf draws numbers below n: i with a probability proportional to 1/(i+1)^exponent.
type zipf []float64 // the sums of the probabilities

func newZipf(n int, exponent float64) *zipf {
	z, sum := make(zipf, n), 0.0
	for i := range z {
		sum += math.Pow(float64(i+1), -exponent)
		z[i] = sum
	}
	for i := range z {
		z[i] /= sum
	}
	return &z
}

func (z *zipf) draw(r *rand.Rand) uint32 {
	i, _ := slices.BinarySearch(*z, r.Float64())
	return uint32(min(i, len(*z)-1))
}

// zipfWithScans mixes Zipf's law with scans: a fifth of the accesses are runs of 5000 keys that are neighbours, somewhere in a range of cold keys that is
// twice as large as that of the others.
func zipfWithScans(exponent float64, keys, accesses int) *stream {
	const length, share = 5000, 0.2
	s := &stream{name: fmt.Sprintf("Zipf %g, scans", exponent)}
	r := rand.New(rand.NewPCG(7, uint64(math.Round(exponent*1000))))
	z := newZipf(keys, exponent)
	for len(s.keys) < accesses {
		for range int(length * (1 - share) / share) {
			s.keys = append(s.keys, z.draw(r))
		}
		at := r.IntN(2*keys - length)
		for i := range length {
			s.keys = append(s.keys, uint32(keys+at+i))
		}
	}
	s.keys = s.keys[:accesses]
	return s.number()
}

// drifting has a popularity by Zipf's law, in which with every twentieth access a popular key and any other change their places.
func drifting(exponent float64, keys, accesses int) *stream {
	s := &stream{name: fmt.Sprintf("Zipf %g, drifting", exponent)}
	r := rand.New(rand.NewPCG(13, uint64(math.Round(exponent*1000))))
	z, of := newZipf(keys, exponent), r.Perm(keys)
	for i := range accesses {
		if i%20 == 0 {
			x, y := z.draw(r), r.IntN(keys)
			of[x], of[y] = of[y], of[x]
		}
		s.keys = append(s.keys, uint32(of[z.draw(r)]))
	}
	return s.number()
}

// recorded reads the accesses that cache2k's author recorded.
func recorded(folder string) (*stream, error) {
	f, err := os.Open(filepath.Join(folder, "cache2k_web07_keys.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &stream{name: "web07"}
	lines := bufio.NewScanner(f)
	lines.Scan() // the heading
	for lines.Scan() {
		k, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, uint32(k))
	}
	return s.number(), lines.Err()
}

// clusters returns a stream for each of Twitter's clusters whose published parameters are complete: the exponent of Zipf's law, the share of gets, the size of
// a value, and the share of keys that are seen once. Clusters whose exponent is below 0.4 or above 1.5 are left out: nothing hits, or everything.
func clusters(folder string, keys, accesses int) (all []*stream, err error) {
	f, err := os.Open(filepath.Join(folder, "twitter_cluster_stats_odd.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	columns := map[string]int{}
	for i, name := range rows[0] {
		columns[name] = i
	}
	for _, row := range rows[1:] {
		number := func(column string) float64 {
			x, err := strconv.ParseFloat(row[columns[column]], 64)
			if err != nil {
				return math.NaN()
			}
			return x
		}
		exponent, frequency, once := number("Zipf_alpha"), number("mean_freq"), number("one_hit_wonder_ratio")/100
		if !(exponent > 0.4 && exponent < 1.5) || math.IsNaN(frequency+once) {
			continue
		}
		gets := 0.0
		for part := range strings.FieldsSeq(row[columns["operation"]]) {
			name, share, _ := strings.Cut(part, ":")
			x, err := strconv.ParseFloat(share, 64)
			if err != nil {
				return nil, err
			}
			if name == "get" || name == "gets" {
				gets += x
			}
		}
		s := &stream{name: "Twitter " + row[columns["cluster"]], valueSize: int(number("value_size"))}
		r := rand.New(rand.NewPCG(11, uint64(math.Round(exponent*10000))))
		z, fresh := newZipf(keys, exponent), uint32(keys)
		for range accesses {
			k := fresh
			if r.Float64() < once/frequency {
				fresh++
			} else {
				k = z.draw(r)
			}
			s.keys = append(s.keys, k)
			s.sets = append(s.sets, r.Float64() >= gets)
		}
		all = append(all, s.number())
	}
	return all, nil
}
