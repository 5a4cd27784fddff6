package wire

import (
	"math"
	"reflect"
	"testing"
)

func TestValueNumbers(t *testing.T) {
	for _, n := range []int64{
		0, 1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64,
		-1, -32, -33, -128, -129, -32768, -32769, math.MinInt32, math.MinInt32 - 1, math.MinInt64,
	} {
		v := Value(pack(t, n))
		if got, ok := v.Int(); !ok || got != n || v.Class() != Int {
			t.Errorf("%d: got %d, %v, %v", n, got, ok, v.Class())
		}
		if got, ok := v.Float(); !ok || got != float64(n) {
			t.Errorf("%d as a float: got %v, %v", n, got, ok)
		}
	}
	large := Value(pack(t, uint64(math.MaxUint64)))
	if _, ok := large.Int(); ok {
		t.Error("2^64-1 is no int64")
	}
	if got, ok := large.Float(); !ok || got != float64(math.MaxUint64) {
		t.Errorf("2^64-1 as a float: got %v, %v", got, ok)
	}
	for _, x := range []float64{0.5, -1.25, math.Inf(1)} {
		v := Value(pack(t, x))
		if got, ok := v.Float(); !ok || got != x || v.Class() != Float {
			t.Errorf("%v: got %v, %v", x, got, ok)
		}
		if _, ok := v.Int(); ok {
			t.Errorf("%v is no integer", x)
		}
	}
	if got, ok := Value(pack(t, float32(0.1))).Float(); !ok || got != float64(float32(0.1)) {
		t.Errorf("float32: got %v, %v", got, ok)
	}
}

func TestValueOfAnotherClass(t *testing.T) {
	for _, x := range []any{nil, true, "text", []byte("binary"), []int{1}, map[string]any{"a": 1}} {
		v := Value(pack(t, x))
		if _, ok := v.Int(); ok {
			t.Errorf("%v is no integer", x)
		}
		if _, ok := v.Float(); ok {
			t.Errorf("%v is no number", x)
		}
		if _, ok := v.Text(); ok != (v.Class() == String) {
			t.Errorf("%v: Text says %v", x, ok)
		}
		if _, ok := v.Bool(); ok != (v.Class() == Bool) {
			t.Errorf("%v: Bool says %v", x, ok)
		}
		items, entries := 0, 0
		for range v.Items() {
			items++
		}
		for range v.Entries() {
			entries++
		}
		if want := v.Len(); items+entries != want || (items > 0) != (v.Class() == Array) || (entries > 0) != (v.Class() == Map) {
			t.Errorf("%v: %d items, %d entries, length %d", x, items, entries, want)
		}
	}
}

func TestValueContainers(t *testing.T) {
	array := make([]int, 20) // longer than the short form
	for i := range array {
		array[i] = i * i
	}
	var got []int
	for item := range Value(pack(t, array)).Items() {
		n, _ := item.Int()
		got = append(got, int(n))
	}
	if !reflect.DeepEqual(got, array) {
		t.Errorf("got %v, want %v", got, array)
	}
	// Duplicates and the order are kept.
	v, err := Check([]byte("\x83\xa1b\x92\x01\x02\xa1a\xa1x\xa1b\xc3"))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		key   string
		class Class
	}
	var entries []entry
	for key, value := range v.Entries() {
		entries = append(entries, entry{key, value.Class()})
	}
	if want := []entry{{"b", Array}, {"a", String}, {"b", Bool}}; !reflect.DeepEqual(entries, want) {
		t.Errorf("got %v, want %v", entries, want)
	}
}

func TestCheckAcceptsTheDeepestAllowed(t *testing.T) {
	nested := func(depth int) []byte {
		b := make([]byte, depth, depth+1)
		for i := range b {
			b[i] = 0x91
		}
		return append(b, 0xc0)
	}
	if _, err := Check(nested(maxDepth)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if _, err := Check(nested(maxDepth + 1)); err == nil {
		t.Errorf("%d levels were accepted", maxDepth+1)
	}
}
