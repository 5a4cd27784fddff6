//! What crosses the C border: borrowed bytes in, owned buffers out, panics as errors.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::Once;

const STATUS_OK: i32 = 0;
const STATUS_ERROR: i32 = 1;
const STATUS_UNSUPPORTED: i32 = 2;
const STATUS_PANIC: i32 = 3;

/// `mwt_buffer`: a result, or the message of the error that `status` names.
#[repr(C)]
pub struct Buffer {
    ptr: *mut u8,
    len: usize,
    capacity: usize,
    status: i32,
}

/// Why a call failed. `Unsupported` is a known thing that this library cannot do.
#[derive(Debug)]
pub enum Failure {
    Error(String),
    Unsupported(String),
}

impl Failure {
    /// An error from anything that can say what happened.
    pub fn of(cause: impl Display) -> Failure {
        Failure::Error(cause.to_string())
    }
}

pub type Outcome<T> = Result<T, Failure>;

impl Buffer {
    fn new(mut bytes: Vec<u8>, status: i32) -> Buffer {
        if bytes.capacity() == 0 {
            // An empty Vec's pointer is a dangling small number, which Go's stack scanner rejects.
            return Buffer {
                ptr: ptr::null_mut(),
                len: 0,
                capacity: 0,
                status,
            };
        }
        let buffer = Buffer {
            ptr: bytes.as_mut_ptr(),
            len: bytes.len(),
            capacity: bytes.capacity(),
            status,
        };
        std::mem::forget(bytes);
        buffer
    }
}

/// Runs the body of an exported function and packs what it returns, raises or panics with.
pub fn guard(body: impl FnOnce() -> Outcome<Vec<u8>>) -> Buffer {
    match catch(body) {
        Ok(Ok(bytes)) => Buffer::new(bytes, STATUS_OK),
        Ok(Err(Failure::Error(message))) => Buffer::new(message.into_bytes(), STATUS_ERROR),
        Ok(Err(Failure::Unsupported(message))) => {
            Buffer::new(message.into_bytes(), STATUS_UNSUPPORTED)
        }
        Err(_) => {
            let message = LAST_PANIC.take().unwrap_or_else(|| "panic".into());
            Buffer::new(message.into_bytes(), STATUS_PANIC)
        }
    }
}

/// Like [`guard`] for functions that return a number; `fallback` stands for a panic.
pub fn guard_number(fallback: i64, body: impl FnOnce() -> i64) -> i64 {
    catch(body).unwrap_or(fallback)
}

fn catch<T>(body: impl FnOnce() -> T) -> std::thread::Result<T> {
    install_panic_hook();
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(false);
    result
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The default hook prints to stderr, where only the worker's own log lines belong: a
/// guarded panic goes into the error instead.
fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                LAST_PANIC.set(Some(describe_panic(info)));
            } else {
                default(info);
            }
        }));
    });
}

fn describe_panic(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    // The file's name only: full paths are those of the machine that built this library.
    match info.location() {
        Some(at) => {
            let file = Path::new(at.file()).file_name().unwrap_or_default();
            format!(
                "panic at {}:{}: {message}",
                file.to_string_lossy(),
                at.line()
            )
        }
        None => format!("panic: {message}"),
    }
}

/// # Safety
/// `ptr` points to `len` readable items that outlive the result, or `len` is 0.
pub unsafe fn items<'a, T>(ptr: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        &[]
    } else {
        slice::from_raw_parts(ptr, len)
    }
}

/// Text from outside: what is not UTF-8 becomes U+FFFD.
///
/// # Safety
/// As for [`items`].
pub unsafe fn text<'a>(ptr: *const u8, len: usize) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(items(ptr, len))
}

/// Frees a buffer that a call of this library returned.
///
/// # Safety
/// `buffer` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn mwt_buffer_free(buffer: Buffer) {
    if !buffer.ptr.is_null() {
        drop(Vec::from_raw_parts(buffer.ptr, buffer.len, buffer.capacity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(buffer: Buffer) -> (i32, String) {
        let bytes = unsafe { items(buffer.ptr, buffer.len) }.to_vec();
        let status = buffer.status;
        unsafe { mwt_buffer_free(buffer) };
        (status, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn results_and_errors_keep_their_text() {
        assert_eq!(
            take(guard(|| Ok(b"ids".to_vec()))),
            (STATUS_OK, "ids".into())
        );
        let failed = guard(|| Err(Failure::of("no such token")));
        assert_eq!(take(failed), (STATUS_ERROR, "no such token".into()));
        let refused = guard(|| Err(Failure::Unsupported("pre \"x\"".into())));
        assert_eq!(take(refused), (STATUS_UNSUPPORTED, "pre \"x\"".into()));
    }

    #[test]
    fn an_empty_result_has_no_pointer() {
        assert!(guard(|| Ok(vec![])).ptr.is_null());
    }

    #[test]
    fn a_panic_is_an_error_that_says_where() {
        let (status, message) = take(guard(|| panic!("index {} of {}", 7, 3)));
        assert_eq!(status, STATUS_PANIC);
        assert!(message.starts_with("panic at ffi.rs:"), "{message}");
        assert!(message.ends_with("index 7 of 3"), "{message}");
        assert_eq!(guard_number(-1, || panic!("no")), -1);
    }
}
