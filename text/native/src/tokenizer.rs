//! The tokenizer handle: loading, encoding, decoding, vocabulary look-ups.

use serde::Deserialize;
use serde_json::json;
use tokenizers::models::ModelWrapper;
use tokenizers::{AddedToken, Model, Tokenizer};

use crate::ffi::{guard, guard_number, items, text, Buffer, Failure, Outcome};
use crate::gguf;
use crate::piece::Joining;

/// `mwt_tokenizer`. Immutable after loading, so that threads share it freely.
pub struct Handle {
    tokenizer: Tokenizer,
    joining: Joining,
}

/// What tokenizer_config.json and its neighbours add to tokenizer.json.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// `added_tokens_decoder`, by ascending id.
    added_tokens: Vec<AddedToken>,
    /// Texts of the named and the extra special tokens.
    special_tokens: Vec<String>,
}

impl Handle {
    fn new(tokenizer: Tokenizer) -> Handle {
        let joining = Joining::of(&tokenizer);
        Handle { tokenizer, joining }
    }

    fn from_json(json: &[u8], options: &[u8]) -> Outcome<Handle> {
        let options: Options = serde_json::from_slice(options).map_err(Failure::of)?;
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(Failure::of)?;
        // Stored for training and batches; a prompt is neither padded nor cut.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(Failure::of)?;
        disable_cache(&mut tokenizer);
        if let ModelWrapper::BPE(model) = tokenizer.get_model() {
            if model.dropout.is_some_and(|dropout| dropout > 0.0) {
                return Err(Failure::Unsupported(
                    "model.dropout is set: encoding would be random".into(),
                ));
            }
        }
        add_tokens(&mut tokenizer, options)?;
        Ok(Handle::new(tokenizer))
    }

    fn info(&self) -> Vec<u8> {
        let model = match self.tokenizer.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::Unigram(_) => "Unigram",
        };
        let info = json!({
            "model": model,
            "joining": self.joining.name(),
            "vocab_size": self.tokenizer.get_vocab_size(true),
        });
        info.to_string().into_bytes()
    }

    fn encode(&self, text: &str, add_special: bool) -> Outcome<Vec<u8>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, add_special)
            .map_err(Failure::of)?;
        let ids = encoding.get_ids().iter();
        Ok(ids.flat_map(|id| id.to_le_bytes()).collect())
    }

    fn decode(&self, ids: &[u32], skip_special: bool) -> Outcome<Vec<u8>> {
        self.tokenizer
            .decode(ids, skip_special)
            .map(String::into_bytes)
            .map_err(Failure::of)
    }

    /// The vocabulary entry of an id: an added token by its own text.
    fn entry(&self, id: u32) -> Option<String> {
        let added = self.tokenizer.get_added_vocabulary();
        added
            .get_added_tokens_decoder()
            .get(&id)
            .map(|token| token.content.clone())
            .or_else(|| self.tokenizer.get_model().id_to_token(id))
    }

    /// The bytes that an id adds to a text; none for an unknown or a skipped one.
    fn piece(&self, id: u32, skip_special: bool) -> Vec<u8> {
        let Some(token) = self.tokenizer.id_to_token(id) else {
            return vec![];
        };
        if skip_special && self.is_special(id) {
            return vec![];
        }
        self.joining.bytes(token)
    }

    fn is_special(&self, id: u32) -> bool {
        let added = self.tokenizer.get_added_vocabulary();
        added
            .get_added_tokens_decoder()
            .get(&id)
            .is_some_and(|token| token.special)
    }
}

/// The BPE word cache lives in thread-local maps that outlast the tokenizer: every thread
/// that ever encoded would keep up to 10,000 words of every model that was ever loaded.
fn disable_cache(tokenizer: &mut Tokenizer) {
    if let ModelWrapper::BPE(model) = tokenizer.get_model() {
        let mut model = model.clone(); // there is no mutable access
        model.resize_cache(0);
        tokenizer.with_model(model);
    }
}

/// Adds what the options name and tokenizer.json lacks, as transformers does.
fn add_tokens(tokenizer: &mut Tokenizer, options: Options) -> Outcome<()> {
    let known = tokenizer.get_added_tokens_decoder();
    let known = |content: &str| known.values().find(|token| token.content == content);
    let mut adding: Vec<AddedToken> = options
        .added_tokens
        .into_iter()
        .filter(|token| known(&token.content) != Some(token))
        .collect();
    for content in options.special_tokens {
        if let Some(token) = adding.iter_mut().find(|token| token.content == content) {
            token.special = true;
            continue;
        }
        match known(&content) {
            Some(token) if token.special => {}
            Some(token) => adding.push(token.clone().special(true)),
            None => adding.push(AddedToken::from(content, true)),
        }
    }
    if !adding.is_empty() {
        tokenizer.add_tokens(adding).map_err(Failure::of)?;
    }
    Ok(())
}

fn publish(handle: Handle, out: *mut *mut Handle) -> Vec<u8> {
    let info = handle.info();
    // SAFETY: the header asks for a writable pointer.
    unsafe { *out = Box::into_raw(Box::new(handle)) };
    info
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_from_json(
    json: *const u8,
    json_len: usize,
    options: *const u8,
    options_len: usize,
    out: *mut *mut Handle,
) -> Buffer {
    guard(|| {
        let handle = Handle::from_json(items(json, json_len), items(options, options_len))?;
        Ok(publish(handle, out))
    })
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_from_gguf(
    header: *const u8,
    header_len: usize,
    tokens: *const u8,
    tokens_len: usize,
    merges: *const u8,
    merges_len: usize,
    scores: *const f32,
    scores_len: usize,
    types: *const i32,
    types_len: usize,
    out: *mut *mut Handle,
) -> Buffer {
    guard(|| {
        let header = items(header, header_len);
        let tokenizer = gguf::build(gguf::Vocabulary {
            header: serde_json::from_slice(header).map_err(Failure::of)?,
            tokens: gguf::unpack(items(tokens, tokens_len), "tokenizer.ggml.tokens")?,
            merges: gguf::unpack(items(merges, merges_len), "tokenizer.ggml.merges")?,
            scores: items(scores, scores_len),
            types: items(types, types_len),
        })?;
        Ok(publish(Handle::new(tokenizer), out))
    })
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_free(tokenizer: *mut Handle) {
    guard_number(0, || {
        drop(Box::from_raw(tokenizer));
        0
    });
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_encode(
    tokenizer: *const Handle,
    input: *const u8,
    input_len: usize,
    add_special: bool,
) -> Buffer {
    guard(|| (*tokenizer).encode(&text(input, input_len), add_special))
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_decode(
    tokenizer: *const Handle,
    ids: *const u32,
    count: usize,
    skip_special: bool,
) -> Buffer {
    guard(|| (*tokenizer).decode(items(ids, count), skip_special))
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_piece(
    tokenizer: *const Handle,
    id: u32,
    skip_special: bool,
    out: *mut u8,
    capacity: usize,
) -> i64 {
    guard_number(-1, || {
        let piece = (*tokenizer).piece(id, skip_special);
        if piece.len() <= capacity {
            std::ptr::copy_nonoverlapping(piece.as_ptr(), out, piece.len());
        }
        piece.len() as i64
    })
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_entry(tokenizer: *const Handle, id: u32) -> Buffer {
    guard(|| {
        let entry = (*tokenizer).entry(id);
        entry
            .map(String::into_bytes)
            .ok_or_else(|| Failure::Error(format!("id {id} is not in the vocabulary")))
    })
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_tokenizer_id(
    tokenizer: *const Handle,
    token: *const u8,
    token_len: usize,
    special_only: bool,
) -> i64 {
    guard_number(-1, || {
        let handle = &*tokenizer;
        let Ok(token) = std::str::from_utf8(items(token, token_len)) else {
            return -1;
        };
        handle
            .tokenizer
            .token_to_id(token)
            .filter(|id| !special_only || handle.is_special(*id))
            .map_or(-1, i64::from)
    })
}
