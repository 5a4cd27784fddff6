// Package text is the text side of a model: tokenizers, chat templates, incremental
// detokenising and stop sequences. It knows nothing of MLX.
//
// Tokenizers and templates live in a Rust static library (native/), because tokenizers and
// minijinja are the field's own implementations. Its archive is built by `make setup`.
//
// A Tokenizer, a Template and a Model may be used by any number of goroutines. A
// Detokenizer and a StopMatcher belong to one stream and one goroutine at a time.
//
// Errors are *fault.Error: fault.ModelLoad for missing or damaged model files,
// fault.Unsupported for a known thing that cannot be represented, fault.Tokenizer for
// everything else, faults of the native library included.
package text
