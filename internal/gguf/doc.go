// Package gguf reads GGUF model files (versions 2 and 3, little-endian) without cgo.
//
// A file is mapped read-only and its header is checked once, at Open: every length, count
// and offset against the file's size, so that a damaged header can neither panic nor
// allocate more than the file itself holds. Tensor data is a view of the mapping.
//
// Errors are *fault.Error of kind fault.ModelLoad that name the file (base name only) and
// what is wrong with it.
package gguf
