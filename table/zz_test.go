package table
import ("testing";"math/rand/v2";"github.com/seed-9a6c551e/offheap/arena";"fmt")
func TestZZ(t *testing.T){
 for seed:=range uint64(20) {
 rnd:=rand.New(rand.NewPCG(seed,1))
 a,_:=arena.Open(arena.Config{})
 m:=NewMap[uint16,uint64](a,0)
 last:=""
 func(){
 defer func(){ if p:=recover(); p!=nil { t.Fatal(seed, last, p) } }()
 for i:=range 4000 { k:=uint16(rnd.IntN(600)); if rnd.IntN(2)==0 { last=fmt.Sprint(i," put ",k, m.Len()); m.Put(k,1) } else { last=fmt.Sprint(i," del ",k, m.Len()); m.Delete(k) }; m.check() }
 }()
 a.Close()
 }
}
