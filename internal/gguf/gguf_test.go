package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"mlx-worker/internal/fault"
	"mlx-worker/internal/gguf"
	"mlx-worker/internal/gguf/gguftest"
)

func open(t *testing.T, b *gguftest.Builder) *gguf.File {
	t.Helper()
	f, err := gguf.Open(b.WriteFile(t, "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func get[T gguf.Gettable](t *testing.T, f *gguf.File, key string) T {
	t.Helper()
	v, ok, err := gguf.Get[T](f, key)
	if err != nil || !ok {
		t.Fatalf("Get[%T](%q): ok %v, err %v", v, key, ok, err)
	}
	return v
}

func TestTensors(t *testing.T) {
	for _, version := range []uint32{2, 3} {
		b := gguftest.New()
		b.Version = version
		f := open(t, b.
			Tensor("a.weight", gguf.F32, []uint64{3, 2}, gguftest.F32(1, 2, 3, 4, 5, 6)).
			Tensor("scalar", gguf.F32, nil, gguftest.F32(7)).
			Tensor("b.weight", gguf.Q4_1, []uint64{64, 2, 3}, bytes.Repeat([]byte{9}, 64/32*20*2*3)))
		if f.Version() != version || f.Name() != "model.gguf" || f.Alignment() != 32 {
			t.Errorf("version %d, name %q, alignment %d", f.Version(), f.Name(), f.Alignment())
		}
		if len(f.Tensors()) != 3 {
			t.Fatalf("%d tensors", len(f.Tensors()))
		}
		a, ok := f.Tensor("a.weight")
		if !ok || !bytes.Equal(a.Data(), gguftest.F32(1, 2, 3, 4, 5, 6)) || !reflect.DeepEqual(a.Dims, []uint64{3, 2}) {
			t.Errorf("a.weight: %v, data %v", a, a.Data())
		}
		q, _ := f.Tensor("b.weight")
		if q.Type != gguf.Q4_1 || q.Elements() != 384 || len(q.Data()) != 240 || q.Data()[239] != 9 {
			t.Errorf("b.weight: type %s, %d elements, %d bytes", q.Type, q.Elements(), len(q.Data()))
		}
		if s, _ := f.Tensor("scalar"); s.Elements() != 1 || len(s.Data()) != 4 {
			t.Errorf("scalar: %d elements, %d bytes", s.Elements(), len(s.Data()))
		}
		if _, ok := f.Tensor("missing"); ok {
			t.Error("a missing tensor was found")
		}
	}
}

func TestAlignmentFromMetadata(t *testing.T) {
	b := gguftest.New().Set("general.alignment", uint32(64))
	b.Alignment = 64
	f := open(t, b.
		Tensor("a", gguf.F32, []uint64{1}, gguftest.F32(1)).
		Tensor("b", gguf.F32, []uint64{1}, gguftest.F32(2)))
	if got, _ := f.Tensor("b"); !bytes.Equal(got.Data(), gguftest.F32(2)) {
		t.Errorf("b = %v", got.Data())
	}
}

func TestMetadata(t *testing.T) {
	f := open(t, gguftest.New().
		Set("u8", uint8(200)).Set("i8", int8(-3)).Set("u16", uint16(65535)).Set("i16", int16(-2)).
		Set("u32", uint32(4e9)).Set("i32", int32(-5)).Set("u64", uint64(math.MaxUint64)).Set("i64", int64(math.MinInt64)).
		Set("f32", float32(0.5)).Set("f64", 0.25).Set("yes", true).Set("no", false).Set("s", "héllo").Set("empty", "").
		Set("strings", []string{"", "ab", "", "ĠThe"}).Set("none", []string{}).
		Set("ints", []int32{-1, 2}).Set("bytes", []uint8{1, 2}).Set("floats", []float32{1.5, -2}).Set("bools", []bool{true, false}).
		Set("nested", gguftest.Array{[]string{"x"}, []string{"y", "z"}}).
		Set("last", "still read"))

	if got := get[string](t, f, "s"); got != "héllo" {
		t.Errorf("s = %q", got)
	}
	if got := get[string](t, f, "empty"); got != "" {
		t.Errorf("empty = %q", got)
	}
	if got := get[string](t, f, "last"); got != "still read" {
		t.Errorf("last = %q", got)
	}
	for key, want := range map[string]int64{"u8": 200, "i8": -3, "u16": 65535, "i16": -2, "u32": 4e9, "i32": -5, "i64": math.MinInt64} {
		if got := get[int64](t, f, key); got != want {
			t.Errorf("%s = %d, want %d", key, got, want)
		}
	}
	if got := get[uint64](t, f, "u64"); got != math.MaxUint64 {
		t.Errorf("u64 = %d", got)
	}
	if got := get[int32](t, f, "i8"); got != -3 {
		t.Errorf("i8 as int32 = %d", got)
	}
	for key, want := range map[string]float64{"f32": 0.5, "f64": 0.25, "u8": 200, "i8": -3, "u64": math.MaxUint64} {
		if got := get[float64](t, f, key); got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
	if !get[bool](t, f, "yes") || get[bool](t, f, "no") {
		t.Error("bools")
	}
	check := func(got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	}
	check(get[[]string](t, f, "strings"), []string{"", "ab", "", "ĠThe"})
	check(get[[]string](t, f, "none"), []string{})
	check(get[[]int32](t, f, "ints"), []int32{-1, 2})
	check(get[[]int64](t, f, "bytes"), []int64{1, 2})
	check(get[[]float32](t, f, "floats"), []float32{1.5, -2})
	check(get[[]float64](t, f, "ints"), []float64{-1, 2})
	check(get[[]bool](t, f, "bools"), []bool{true, false})
	if keys := f.Keys(); len(keys) != 22 || keys[0] != "u8" || keys[21] != "last" {
		t.Errorf("keys %q", keys)
	}
	if _, ok, err := gguf.Get[string](f, "absent"); ok || err != nil {
		t.Errorf("absent: %v, %v", ok, err)
	}
}

func TestMetadataOfAnotherType(t *testing.T) {
	f := open(t, gguftest.New().Set("s", "text").Set("neg", int32(-1)).Set("big", uint64(1<<40)).
		Set("huge", uint64(math.MaxUint64)).Set("f", float32(1)).Set("ints", []int64{1 << 40}).Set("strings", []string{"a"}).
		Set("nested", gguftest.Array{[]int32{1}}))
	checks := []struct {
		name string
		err  error
		want string
	}{
		{"number as string", getErr[string](f, "neg"), `metadata key "neg" is of type int32 and not a string`},
		{"string as int", getErr[int](f, "s"), `metadata key "s" is of type string and not an integer`},
		{"float as int", getErr[int64](f, "f"), "not an integer"},
		{"string as float", getErr[float32](f, "s"), "not a number"},
		{"string as bool", getErr[bool](f, "s"), "not a bool"},
		{"negative as unsigned", getErr[uint32](f, "neg"), "negative or too large"},
		{"wide as int32", getErr[int32](f, "big"), "too large"},
		{"wide as uint32", getErr[uint32](f, "big"), "too large"},
		{"above int64", getErr[int64](f, "huge"), "too large"},
		{"wide elements", getErr[[]int32](f, "ints"), "too large"},
		{"array of strings as ints", getErr[[]int32](f, "strings"), "is an array of string and not an array of int32"},
		{"scalar as array", getErr[[]string](f, "s"), "not an array of strings"},
		{"nested as ints", getErr[[]int64](f, "nested"), "is an array of array and not an array of int64"},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if !fault.Is(c.err, fault.ModelLoad) || !strings.Contains(c.err.Error(), c.want) || !strings.Contains(c.err.Error(), "model.gguf") {
				t.Errorf("error %v, want one with %q", c.err, c.want)
			}
		})
	}
}

func getErr[T gguf.Gettable](f *gguf.File, key string) error {
	_, _, err := gguf.Get[T](f, key)
	return err
}

func TestBadFiles(t *testing.T) {
	le := binary.LittleEndian
	header := func(version uint32, tensors, metadata uint64) []byte {
		b := le.AppendUint32([]byte("GGUF"), version)
		return le.AppendUint64(le.AppendUint64(b, tensors), metadata)
	}
	whole := gguftest.New().Set("general.name", "x").Tensor("w", gguf.F32, []uint64{8}, make([]byte, 32)).Bytes()
	tensor := func(typ gguf.TensorType, dims ...uint64) []byte {
		return gguftest.New().Tensor("w", typ, dims, make([]byte, 64)).Bytes()
	}
	alignment := func(v any) []byte { return gguftest.New().Set("general.alignment", v).Bytes() }
	pad := make([]byte, 256)

	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "truncated: 0 bytes"},
		{"too short", []byte("GGUF\x03\x00\x00\x00"), "truncated: 8 bytes"},
		{"another magic", append([]byte("GGML"), pad...), `wrong magic "GGML": a GGUF file begins with "GGUF"`},
		{"version 1", append(header(1, 0, 0), pad...), "version 1 is not supported; accepted: 2 and 3"},
		{"version 4", append(header(4, 0, 0), pad...), "version 4 is not supported"},
		{"version 0", append(header(0, 0, 0), pad...), "version 0 is not supported"},
		{"big-endian", append(header(3<<24, 0, 0), pad...), "big-endian"},
		{"false metadata count", append(header(3, 0, 1<<60), pad...), "metadata count"},
		{"false tensor count", append(header(3, 1<<60, 0), pad...), "tensor count"},
		{"truncated header", whole[:84], "truncated at byte 82: a tensor's offset needs 8 bytes, 2 are left"},
		{"truncated data", whole[:len(whole)-1], `tensor "w" extends past the end of the file`},
		{"key too long", append(le.AppendUint64(header(3, 0, 1), 1<<20), pad...), "at most 65535"},
		{"string too long", le.AppendUint64(append(le.AppendUint64(header(3, 0, 1), 1), 'k', 8, 0, 0, 0), 1<<62), "the string k needs"},
		{"array too long", le.AppendUint64(append(le.AppendUint64(header(3, 0, 1), 1), 'k', 9, 0, 0, 0, 4, 0, 0, 0), 1<<62), "the array k has"},
		{"string array too long", append(le.AppendUint64(append(le.AppendUint64(header(3, 0, 1), 1), 'k', 9, 0, 0, 0, 8, 0, 0, 0), 1<<62), pad...), "truncated at byte"},
		{"value type", append(le.AppendUint64(header(3, 0, 1), 1), 'k', 13, 0, 0, 0, 0), "unknown value type 13"},
		{"element type", le.AppendUint64(append(le.AppendUint64(header(3, 0, 1), 1), 'k', 9, 0, 0, 0, 77, 0, 0, 0), 1), "array of the unknown type 77"},
		{"bool of 2", append(le.AppendUint64(header(3, 0, 1), 1), 'k', 7, 0, 0, 0, 2), "bool of value 2"},
		{"bool array of 2", append(le.AppendUint64(append(le.AppendUint64(header(3, 0, 1), 1), 'k', 9, 0, 0, 0, 7, 0, 0, 0), 1), 2), "bool of value 2"},
		{"nesting", gguftest.New().Set("k", gguftest.Array{gguftest.Array{gguftest.Array{gguftest.Array{[]string{"x"}}}}}).Bytes(), "nests arrays deeper than 4"},
		{"key twice", gguftest.New().Set("k", true).Set("k", true).Bytes(), `key "k" occurs twice`},
		{"tensor twice", gguftest.New().Tensor("w", gguf.I8, []uint64{1}, []byte{0}).Tensor("w", gguf.I8, []uint64{1}, []byte{0}).Bytes(), `tensor "w" occurs twice`},
		{"dimensions", tensor(gguf.I8, 1, 1, 1, 1, 1), "has 5 dimensions"},
		{"zero dimension", tensor(gguf.I8, 4, 0), "impossible dimensions"},
		{"overflowing elements", tensor(gguf.I8, 1<<40, 1<<40), "impossible dimensions"},
		{"overflowing bytes", tensor(gguf.F64, 1<<62), "impossible dimensions"},
		{"overflowing end", gguftest.New().TensorAt(math.MaxUint64-31, "w", gguf.I8, []uint64{64}, nil).Bytes(), "extends past the end"},
		{"unknown tensor type", tensor(99, 4), `tensor "w" has the tensor type type 99`},
		{"removed tensor type", tensor(31, 32), "Q4_0_4_4, which is not known"},
		{"partial block", tensor(gguf.Q4_0, 33), "no multiple of the block size 32"},
		{"misaligned", gguftest.New().TensorAt(8, "w", gguf.I8, []uint64{1}, make([]byte, 64)).Bytes(), "no multiple of the alignment 32"},
		{"alignment 0", alignment(uint32(0)), "general.alignment is 0"},
		{"alignment 48", alignment(uint32(48)), "general.alignment is 48"},
		{"alignment text", alignment("32"), "not an integer"},
		{"long tensor name", gguftest.New().Tensor(strings.Repeat("n", 2000), gguf.I8, []uint64{1}, []byte{0}).Bytes(), "a tensor name at byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A verb in the name must not reach a format string.
			path := filepath.Join(t.TempDir(), "100%d.gguf")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := gguf.Open(path)
			if !fault.Is(err, fault.ModelLoad) {
				t.Fatalf("error %v, want a ModelLoadError", err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "100%d.gguf: ") {
				t.Errorf("error %q, want one of 100%%d.gguf with %q", err, c.want)
			}
			if strings.Contains(err.Error(), filepath.Dir(path)) {
				t.Errorf("error %q holds the folder", err)
			}
		})
	}
}

func TestOpenWithoutFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "missing.gguf"), dir} {
		_, err := gguf.Open(path)
		if !fault.Is(err, fault.ModelLoad) || strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("Open(%q): %v, want a ModelLoadError without the folder", path, err)
		}
	}
}

func TestCloseIsIdempotent(t *testing.T) {
	f, err := gguf.Open(gguftest.New().Set("k", true).WriteFile(t, "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := gguf.Get[bool](f, "k"); ok || err != nil {
		t.Errorf("a closed file answers %v, %v", ok, err)
	}
}

// The block layouts of ggml, as bits a weight.
func TestBlocks(t *testing.T) {
	for typ, want := range map[gguf.TensorType]float64{
		gguf.F32: 32, gguf.F16: 16, gguf.BF16: 16, gguf.Q4_0: 4.5, gguf.Q4_1: 5, gguf.Q5_0: 5.5, gguf.Q5_1: 6, gguf.Q8_0: 8.5,
		gguf.Q2_K: 2.625, gguf.Q3_K: 3.4375, gguf.Q4_K: 4.5, gguf.Q5_K: 5.5, gguf.Q6_K: 6.5625, gguf.IQ4_XS: 4.25, gguf.IQ4_NL: 4.5,
		gguf.IQ2_XXS: 2.0625, gguf.IQ2_XS: 2.3125, gguf.IQ2_S: 2.5625, gguf.IQ3_XXS: 3.0625, gguf.IQ3_S: 3.4375,
		gguf.IQ1_S: 1.5625, gguf.IQ1_M: 1.75, gguf.TQ1_0: 1.6875, gguf.TQ2_0: 2.0625, gguf.MXFP4: 4.25, gguf.NVFP4: 4.5,
	} {
		elements, size, ok := typ.Block()
		if got := float64(size) * 8 / float64(elements); !ok || got != want {
			t.Errorf("%s: %v bits a weight, want %v", typ, got, want)
		}
	}
	if _, _, ok := gguf.TensorType(4).Block(); ok {
		t.Error("Q4_2 is known")
	}
}

func TestStringArrayAllocations(t *testing.T) {
	words := make([]string, 10_000)
	for i := range words {
		words[i] = strings.Repeat("w", i%7)
	}
	f := open(t, gguftest.New().Set("tokens", words))
	var got []string
	allocs := testing.AllocsPerRun(3, func() { got = get[[]string](t, f, "tokens") })
	if allocs > 10 {
		t.Errorf("%v allocations for %d strings", allocs, len(words))
	}
	if !reflect.DeepEqual(got, words) {
		t.Error("the strings differ")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(gguftest.New().Bytes())
	f.Add(gguftest.New().Set("general.alignment", uint32(8)).Set("tokens", []string{"a", "bc"}).Set("scores", []float32{1, 2}).
		Set("nested", gguftest.Array{[]int8{1}, []int8{}}).Tensor("w", gguf.Q4_1, []uint64{32, 2}, make([]byte, 40)).
		Tensor("n", gguf.F32, nil, make([]byte, 4)).Bytes())
	f.Add(gguftest.New().Set("k", true).Set("s", "text").Set("u", uint64(math.MaxUint64)).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Parse("fuzz.gguf", data)
		if err != nil {
			if !fault.Is(err, fault.ModelLoad) {
				t.Fatalf("%T %v is no ModelLoadError", err, err)
			}
			return
		}
		for _, key := range file.Keys() {
			_, _, _ = gguf.Get[string](file, key)
			_, _, _ = gguf.Get[int64](file, key)
			_, _, _ = gguf.Get[[]string](file, key)
			_, _, _ = gguf.Get[[]int64](file, key)
			_, _, _ = gguf.Get[[]float32](file, key)
		}
		for i := range file.Tensors() {
			tensor := &file.Tensors()[i]
			elements, size, _ := tensor.Type.Block()
			if uint64(len(tensor.Data())) != tensor.Elements()/uint64(elements)*uint64(size) {
				t.Fatalf("tensor %q has %d bytes", tensor.Name, len(tensor.Data()))
			}
		}
	})
}

// A false count must not allocate in proportion to itself.
func TestFalseCountsAllocateLittle(t *testing.T) {
	data := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
	data = binary.LittleEndian.AppendUint64(data, 1<<19)
	data = binary.LittleEndian.AppendUint64(data, 1<<19)
	data = append(data, make([]byte, 32<<20)...) // room for the counts to seem true
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := gguf.Parse("false.gguf", data)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Fatal("no error")
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("%d bytes allocated", got)
	}
}

// TestReadEqualsData reads parts of a tensor, and finds that the file was cut short meanwhile.
func TestReadEqualsData(t *testing.T) {
	data := make([]byte, 4*1000)
	for i := range data {
		data[i] = byte(i)
	}
	path := gguftest.New().Tensor("m", gguf.F32, []uint64{10, 100}, data).WriteFile(t, "m.gguf")
	file, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tensor, _ := file.Tensor("m")
	for _, part := range [][2]int{{0, len(data)}, {0, 1}, {17, 333}, {len(data) - 1, len(data)}} {
		got := make([]byte, part[1]-part[0])
		if err := file.Read(tensor, got, part[0]); err != nil || !bytes.Equal(got, tensor.Data()[part[0]:part[1]]) {
			t.Errorf("bytes %v differ, %v", part, err)
		}
	}
	if err := os.Truncate(path, file.Size()-100); err != nil {
		t.Fatal(err)
	}
	err = file.Read(tensor, make([]byte, len(data)), 0)
	if !fault.Is(err, fault.ModelLoad) || !strings.Contains(err.Error(), `m.gguf: reading tensor "m"`) {
		t.Errorf("got %v, want an error that names the tensor", err)
	}
}
