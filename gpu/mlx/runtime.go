package mlx

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Backend is the kind of device that MLX computes on.
type Backend string

// The backends, in the words of the wire contract.
const (
	Metal Backend = "metal"
	CUDA  Backend = "cuda"
	CPU   Backend = "cpu"
)

// Stream is a queue of operations on a device, bound to the thread that opened the Runtime.
type Stream struct {
	c       C.mlx_stream
	kernels bool // see Scope.Kernels
}

// Device describes the device that a Runtime uses.
type Device struct {
	Backend          Backend
	Name             string
	MemoryBytes      int64
	RecommendedBytes int64 // recommended working set; 0 if the backend names none
}

// Options configure a Runtime.
type Options struct {
	Device           string // "auto", "cpu" or "gpu"
	CPUThreads       int    // threads of BLAS on the CPU; 0: its default
	CPUKernels       string // which of Scope.Kernels: "auto" or "", "off", "avx2" or "avx512"
	MemoryLimitBytes int64  // 0: MLX's default
	CacheLimitBytes  int64  // -1: MLX's default
}

// Runtime is an initialised MLX. Open and Close it, and use Stream, on one Thread.
type Runtime struct {
	Stream Stream
	Device Device
	device C.mlx_device
}

// Memory is MLX's allocator state in bytes.
type Memory struct{ Active, Cache, Peak int64 }

// Version returns the version of the MLX library that is loaded, e.g. "0.32.2".
func Version() (string, error) {
	str := C.mlx_string_new()
	defer func() { mustFree(C.mlx_string_free(str)) }()
	if rc := C.mlx_version(&str); rc != 0 {
		return "", newOpError("version")
	}
	return C.GoString(C.mlx_string_data(str)), nil
}

// Open installs the error handler, picks a device by what is available, opens a stream on it
// and applies the memory limits. It must run before anything else of MLX, on the thread
// that will evaluate and close.
func Open(opts Options) (*Runtime, error) {
	C.bridge_install_error_handler()
	if err := loadBLAS(); err != nil {
		return nil, err
	}
	backend, err := chooseBackend(opts.Device)
	if err != nil {
		return nil, err
	}
	kind := C.mlx_device_type(C.MLX_CPU)
	if backend != CPU {
		kind = C.MLX_GPU
	}
	r := &Runtime{device: C.mlx_device_new_type(kind, 0)}
	if r.device.ctx == nil {
		return nil, newOpError("device")
	}
	if rc := C.mlx_set_default_device(r.device); rc != 0 {
		return nil, newOpError("set_default_device")
	}
	r.Stream.c = C.mlx_stream_new_device(r.device)
	if r.Stream.c.ctx == nil {
		return nil, newOpError("stream")
	}
	if rc := C.mlx_set_default_stream(r.Stream.c); rc != 0 {
		return nil, newOpError("set_default_stream")
	}
	if backend == CPU {
		if r.Stream.kernels, err = chooseKernels(opts.CPUKernels); err != nil {
			return nil, err
		}
		setBLASThreads(opts.CPUThreads)
	}
	r.Device = describeDevice(backend, r.device)
	if err := r.setLimits(opts); err != nil {
		return nil, err
	}
	return r, nil
}

// Close waits for the stream and frees MLX's per-thread state.
func (r *Runtime) Close() error {
	var errs []error
	if rc := C.mlx_synchronize(r.Stream.c); rc != 0 {
		errs = append(errs, newOpError("synchronize"))
	}
	if rc := C.mlx_stream_free(r.Stream.c); rc != 0 {
		errs = append(errs, newOpError("stream_free"))
	}
	if rc := C.mlx_clear_streams(); rc != 0 {
		errs = append(errs, newOpError("clear_streams"))
	}
	if rc := C.mlx_device_free(r.device); rc != 0 {
		errs = append(errs, newOpError("device_free"))
	}
	return errors.Join(errs...)
}

// Memory reads the allocator's counters.
func (r *Runtime) Memory() (Memory, error) {
	var active, cache, peak C.size_t
	if C.mlx_get_active_memory(&active) != 0 || C.mlx_get_cache_memory(&cache) != 0 || C.mlx_get_peak_memory(&peak) != 0 {
		return Memory{}, newOpError("memory")
	}
	return Memory{Active: int64(active), Cache: int64(cache), Peak: int64(peak)}, nil
}

// ResetPeak starts Memory.Peak anew.
func (r *Runtime) ResetPeak() error {
	if rc := C.mlx_reset_peak_memory(); rc != 0 {
		return newOpError("reset_peak_memory")
	}
	return nil
}

// ClearCache returns the allocator's unused buffers to the system.
func (r *Runtime) ClearCache() error {
	if rc := C.mlx_clear_cache(); rc != 0 {
		return newOpError("clear_cache")
	}
	return nil
}

func (r *Runtime) setLimits(opts Options) error {
	var previous C.size_t
	if opts.MemoryLimitBytes > 0 {
		if rc := C.mlx_set_memory_limit(&previous, C.size_t(opts.MemoryLimitBytes)); rc != 0 {
			return newOpError("set_memory_limit")
		}
	}
	if opts.CacheLimitBytes >= 0 {
		if rc := C.mlx_set_cache_limit(&previous, C.size_t(opts.CacheLimitBytes)); rc != 0 {
			return newOpError("set_cache_limit")
		}
	}
	if r.Device.Backend == Metal && r.Device.RecommendedBytes > 0 {
		if rc := C.mlx_set_wired_limit(&previous, C.size_t(r.Device.RecommendedBytes)); rc != 0 {
			return newOpError("set_wired_limit")
		}
	}
	return nil
}

func chooseBackend(device string) (Backend, error) {
	var metal, cuda C.bool
	if rc := C.mlx_metal_is_available(&metal); rc != 0 {
		return "", newOpError("metal_is_available")
	}
	if rc := C.mlx_cuda_is_available(&cuda); rc != 0 {
		return "", newOpError("cuda_is_available")
	}
	gpu := CPU
	switch {
	case bool(metal):
		gpu = Metal
	case bool(cuda):
		gpu = CUDA
	}
	switch device {
	case "", "auto":
		return gpu, nil
	case "cpu":
		return CPU, nil
	case "gpu":
		if gpu == CPU {
			return "", errors.New("mlx: a GPU was asked for, and this MLX finds neither Metal nor CUDA")
		}
		return gpu, nil
	default:
		return "", fmt.Errorf("mlx: unknown device %q; accepted: auto, cpu, gpu", device)
	}
}

func describeDevice(backend Backend, device C.mlx_device) Device {
	d := Device{Backend: backend, Name: string(backend) + " " + runtime.GOARCH}
	info := C.mlx_device_info_new()
	if C.mlx_device_info_get(&info, device) != 0 {
		takeError() // the figures below are optional
		return d
	}
	defer func() { mustFree(C.mlx_device_info_free(info)) }()
	if name, ok := infoString(info, "device_name"); ok {
		d.Name = name
	}
	for _, key := range []string{"memory_size", "total_memory"} {
		if size, ok := infoSize(info, key); ok {
			d.MemoryBytes = size
			break
		}
	}
	if size, ok := infoSize(info, "max_recommended_working_set_size"); ok {
		d.RecommendedBytes = size
	}
	if d.MemoryBytes == 0 {
		d.MemoryBytes = PhysicalMemoryBytes()
	}
	return d
}

func hasInfo(info C.mlx_device_info, key *C.char, wantString bool) bool {
	var exists, isString C.bool
	if C.mlx_device_info_has_key(&exists, info, key) != 0 || !bool(exists) {
		return false
	}
	return C.mlx_device_info_is_string(&isString, info, key) == 0 && bool(isString) == wantString
}

func infoString(info C.mlx_device_info, key string) (string, bool) {
	cKey := C.CString(key)
	defer C.free(unsafe.Pointer(cKey))
	if !hasInfo(info, cKey, true) {
		return "", false
	}
	var value *C.char
	if C.mlx_device_info_get_string(&value, info, cKey) != 0 {
		return "", false
	}
	return C.GoString(value), true
}

func infoSize(info C.mlx_device_info, key string) (int64, bool) {
	cKey := C.CString(key)
	defer C.free(unsafe.Pointer(cKey))
	if !hasInfo(info, cKey, false) {
		return 0, false
	}
	var value C.size_t
	if C.mlx_device_info_get_size(&value, info, cKey) != 0 {
		return 0, false
	}
	return int64(value), true
}

// CVersion is the version of mlx-c that this package is written for and linked with.
const CVersion = "0.7.0"
