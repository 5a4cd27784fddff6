//! Tokenizers, chat templates and grammars of mlx-worker as one static library.
//!
//! Only plain C crosses the border: see `include/mlxworker_text.h`. Every exported
//! function of this crate runs inside [`ffi::guard`], so that a panic becomes an error
//! of the call and never unwinds into the caller.

mod ffi;
mod gguf;
mod merges;
mod piece;
mod postprocess;
mod pretokenizer;
mod pyformat;
mod pymethods;
mod pytext;
mod source;
mod strftime;
mod template;
mod tokenizer;

// llguidance brings its own C interface (`llguidance.h` in its crate).
pub use llguidance::ffi::*;
