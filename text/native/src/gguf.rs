//! A tokenizer from the vocabulary in a GGUF file's metadata (`tokenizer.ggml.*`).

use serde::Deserialize;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::utils::Sequence as Normalizers;
use tokenizers::{AddedToken, PostProcessorWrapper, Tokenizer};

use crate::ffi::{Failure, Outcome};
use crate::merges;
use crate::postprocess::surround;
use crate::pretokenizer;

const TYPE_UNKNOWN: i32 = 2;
const TYPE_CONTROL: i32 = 3;
const TYPE_USER_DEFINED: i32 = 4;
const TYPE_BYTE: i32 = 6;

/// SentencePiece's space.
const SPACE: &str = "\u{2581}";

/// The scalar metadata. An absent flag takes the vocabulary type's default; an absent id
/// means that there is no such token.
#[derive(Deserialize)]
pub struct Header {
    model: String,
    pre: String,
    bos: Option<u32>,
    eos: Option<u32>,
    unk: Option<u32>,
    add_bos: Option<bool>,
    add_eos: Option<bool>,
    add_space_prefix: Option<bool>,
}

/// The vocabulary's arrays. `scores` and `types` are empty or one per token.
pub struct Vocabulary<'a> {
    pub header: Header,
    pub tokens: Vec<String>,
    pub merges: Vec<String>,
    pub scores: &'a [f32],
    pub types: &'a [i32],
}

/// Reads an array of strings: each a little-endian u32 length and its bytes.
pub fn unpack(mut bytes: &[u8], what: &str) -> Outcome<Vec<String>> {
    let mut strings = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes
            .split_at_checked(4)
            .ok_or_else(|| Failure::of(format!("{what}: truncated length")))?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (text, rest) = rest
            .split_at_checked(length)
            .ok_or_else(|| Failure::of(format!("{what}: truncated entry {}", strings.len())))?;
        let text = std::str::from_utf8(text)
            .map_err(|_| Failure::of(format!("{what}: entry {} is not UTF-8", strings.len())))?;
        strings.push(text.to_string());
        bytes = rest;
    }
    Ok(strings)
}

/// Builds the tokenizer that the vocabulary describes.
pub fn build(vocabulary: Vocabulary) -> Outcome<Tokenizer> {
    vocabulary.check()?;
    let mut tokenizer = match vocabulary.header.model.as_str() {
        "gpt2" => vocabulary.byte_level(),
        "llama" => vocabulary.sentence_piece(),
        other => Err(Failure::Unsupported(format!(
            "tokenizer.ggml.model {other:?} is not supported; supported: gpt2 (byte-level BPE), llama (SentencePiece)"
        ))),
    }?;
    tokenizer
        .add_tokens(vocabulary.added_tokens())
        .map_err(Failure::of)?;
    Ok(tokenizer)
}

impl Vocabulary<'_> {
    fn check(&self) -> Outcome<()> {
        let count = self.tokens.len();
        if count == 0 {
            return Err(Failure::of("tokenizer.ggml.tokens is empty"));
        }
        for (name, length) in [
            ("scores", self.scores.len()),
            ("token_type", self.types.len()),
        ] {
            if length != 0 && length != count {
                return Err(Failure::Error(format!(
                    "tokenizer.ggml.{name} has {length} entries for {count} tokens"
                )));
            }
        }
        let header = &self.header;
        for (name, id) in [
            ("bos_token_id", header.bos),
            ("eos_token_id", header.eos),
            ("unknown_token_id", header.unk),
        ] {
            if id.is_some_and(|id| id as usize >= count) {
                return Err(Failure::Error(format!(
                    "tokenizer.ggml.{name} {} is outside the vocabulary of {count} tokens",
                    id.unwrap_or_default()
                )));
            }
        }
        Ok(())
    }

    fn ids(&self) -> Outcome<Vocab> {
        let mut ids = Vocab::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            if let Some(first) = ids.insert(token.clone(), id as u32) {
                return Err(Failure::Error(format!(
                    "tokenizer.ggml.tokens lists {token:?} twice, as {first} and {id}"
                )));
            }
        }
        Ok(ids)
    }

    fn byte_level(&self) -> Outcome<Tokenizer> {
        let parts = pretokenizer::by_name(&self.header.pre)?;
        if self.merges.is_empty() {
            return Err(Failure::of("tokenizer.ggml.merges is missing or empty"));
        }
        let model = BPE::builder()
            .vocab_and_merges(self.ids()?, self.split_merges()?)
            .ignore_merges(parts.ignore_merges)
            .cache_capacity(0) // see tokenizer::disable_cache
            .build()
            .map_err(|cause| Failure::Error(format!("tokenizer.ggml.merges: {cause}")))?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer
            .with_normalizer(parts.normalizer)
            .map_err(Failure::of)?;
        tokenizer.with_pre_tokenizer(Some(parts.pre_tokenizer));
        tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
        tokenizer.with_post_processor(self.surround(parts.add_bos)?);
        Ok(tokenizer)
    }

    fn sentence_piece(&self) -> Outcome<Tokenizer> {
        if !matches!(self.header.pre.as_str(), "" | "default") {
            return Err(Failure::Unsupported(format!(
                "tokenizer.ggml.pre {:?} is not supported for a llama vocabulary; supported: default, or none",
                self.header.pre
            )));
        }
        let merges = if self.merges.is_empty() {
            self.merges_from_scores()?
        } else {
            self.split_merges()?
        };
        let ids = self.ids()?;
        let byte_fallback = (0..=255u8).all(|byte| ids.contains_key(&format!("<0x{byte:02X}>")));
        let mut builder = BPE::builder()
            .vocab_and_merges(ids, merges)
            .byte_fallback(byte_fallback)
            .fuse_unk(true)
            .cache_capacity(0);
        if let Some(unk) = self.header.unk {
            builder = builder.unk_token(self.tokens[unk as usize].clone());
        }
        let model = builder
            .build()
            .map_err(|cause| Failure::Error(format!("tokenizer.ggml.merges: {cause}")))?;

        let prefix = self.header.add_space_prefix.unwrap_or(true);
        let spaces = Replace::new(" ", SPACE).map_err(Failure::of)?;
        let mut normalizers = vec![];
        let mut decoders = vec![
            Replace::new(SPACE, " ").map_err(Failure::of)?.into(),
            ByteFallback::new().into(),
            Fuse::new().into(),
        ];
        if prefix {
            normalizers.push(Prepend::new(SPACE.into()).into());
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        normalizers.push(spaces.into());

        let mut tokenizer = Tokenizer::new(model);
        tokenizer
            .with_normalizer(Some(Normalizers::new(normalizers)))
            .map_err(Failure::of)?;
        tokenizer.with_decoder(Some(Decoders::new(decoders)));
        tokenizer.with_post_processor(self.surround(true)?);
        Ok(tokenizer)
    }

    /// Scores that do not differ carry no merge order: other ids would come out.
    fn merges_from_scores(&self) -> Outcome<Vec<(String, String)>> {
        let ordinary: Vec<usize> = (0..self.scores.len())
            .filter(|id| !self.is_added(*id) && self.kind(*id) != TYPE_BYTE)
            .collect();
        if ordinary.iter().any(|id| self.scores[*id].is_nan()) {
            return Err(Failure::of("tokenizer.ggml.scores holds NaN"));
        }
        let differs = |pair: &[usize]| self.scores[pair[0]] != self.scores[pair[1]];
        if !ordinary.windows(2).any(differs) {
            return Err(Failure::Unsupported(
                "a llama vocabulary needs tokenizer.ggml.merges, or tokenizer.ggml.scores that differ".into(),
            ));
        }
        Ok(merges::from_scores(&self.tokens, self.scores, |id| {
            !self.is_added(id) && self.kind(id) != TYPE_BYTE
        }))
    }

    /// `"left right"`, where a part may begin with a space of its own.
    fn split_merges(&self) -> Outcome<Vec<(String, String)>> {
        let longest = self.tokens.iter().map(String::len).max().unwrap_or(0);
        self.merges
            .iter()
            .enumerate()
            .map(|(index, merge)| {
                merge
                    .char_indices()
                    .skip(1)
                    .find(|(_, c)| *c == ' ')
                    .map(|(at, _)| (merge[..at].to_string(), merge[at + 1..].to_string()))
                    // The model builder relies on a merge being no longer than every token.
                    .filter(|(left, right)| {
                        !right.is_empty() && left.len() + right.len() <= longest
                    })
                    .ok_or_else(|| {
                        Failure::Error(format!(
                            "tokenizer.ggml.merges entry {index}, {merge:?}, is not two tokens that make a third"
                        ))
                    })
            })
            .collect()
    }

    fn surround(&self, add_bos_default: bool) -> Outcome<Option<PostProcessorWrapper>> {
        let header = &self.header;
        let pick = |name: &str, flag: Option<bool>, default: bool, id: Option<u32>| {
            match (flag, id) {
                (Some(true), None) => Err(Failure::Error(format!(
                    "tokenizer.ggml.add_{name}_token is true but tokenizer.ggml.{name}_token_id is missing"
                ))),
                (flag, Some(id)) if flag.unwrap_or(default) => {
                    Ok(Some((id, self.tokens[id as usize].clone())))
                }
                _ => Ok(None),
            }
        };
        surround(
            pick("bos", header.add_bos, add_bos_default, header.bos)?,
            pick("eos", header.add_eos, false, header.eos)?,
        )
    }

    fn kind(&self, id: usize) -> i32 {
        self.types.get(id).copied().unwrap_or_default()
    }

    fn is_added(&self, id: usize) -> bool {
        matches!(
            self.kind(id),
            TYPE_UNKNOWN | TYPE_CONTROL | TYPE_USER_DEFINED
        )
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let special = |id| self.kind(id) != TYPE_USER_DEFINED;
        self.tokens
            .iter()
            .enumerate()
            .filter(|(id, _)| self.is_added(*id))
            .map(|(id, token)| AddedToken::from(token.clone(), special(id)).normalized(false))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(model: &str, pre: &str) -> Header {
        let text = format!(r#"{{"model":{model:?},"pre":{pre:?}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| text.to_string()).collect()
    }

    fn failure(vocabulary: Vocabulary) -> String {
        match build(vocabulary) {
            Err(Failure::Error(message) | Failure::Unsupported(message)) => message,
            Ok(_) => panic!("accepted"),
        }
    }

    fn byte_level(tokens: &[&str], merges: &[&str]) -> Vocabulary<'static> {
        Vocabulary {
            header: header("gpt2", "gpt-2"),
            tokens: strings(tokens),
            merges: strings(merges),
            scores: &[],
            types: &[],
        }
    }

    #[test]
    fn unpack_reads_what_it_is_given_and_refuses_the_rest() {
        assert_eq!(unpack(b"\x02\0\0\0hi\0\0\0\0", "t").unwrap(), ["hi", ""]);
        for bad in [&b"\x02\0"[..], b"\x09\0\0\0hi", b"\x01\0\0\0\xff"] {
            assert!(unpack(bad, "t").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn byte_level_merges_in_order() {
        let tokenizer = build(byte_level(&["a", "b", "c", "ab", "bc"], &["b c", "a b"])).unwrap();
        let ids = tokenizer.encode_fast("abcab", false).unwrap();
        assert_eq!(ids.get_ids(), [0, 4, 3]);
    }

    #[test]
    fn sentence_piece_merges_by_score_and_falls_back_to_bytes() {
        let mut tokens = strings(&["<unk>", "<s>", "</s>"]);
        let mut types = vec![TYPE_UNKNOWN, TYPE_CONTROL, TYPE_CONTROL];
        for byte in 0..=255u8 {
            tokens.push(format!("<0x{byte:02X}>"));
            types.push(TYPE_BYTE);
        }
        tokens.extend(strings(&["▁", "a", "b", "▁a", "ab"]));
        types.extend([1; 5]);
        let mut scores = vec![0.0; 3 + 256 + 3];
        scores.extend([-2.0, -1.0]);
        let mut header = header("llama", "default");
        (header.bos, header.unk) = (Some(1), Some(0));
        let vocabulary = Vocabulary {
            header,
            tokens,
            merges: vec![],
            scores: &scores,
            types: &types,
        };
        let tokenizer = build(vocabulary).unwrap();
        let ids = |text| {
            tokenizer
                .encode_fast(text, true)
                .unwrap()
                .get_ids()
                .to_vec()
        };
        let byte = |b: u8| 3 + u32::from(b);
        assert_eq!(ids("ab"), [1, 259, 263]);
        assert_eq!(ids("é"), [1, 259, byte(0xc3), byte(0xa9)]);
        assert_eq!(tokenizer.decode(&ids("ab é"), true).unwrap(), "ab é");
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        let mut unknown = byte_level(&["a"], &["a a"]);
        unknown.header.model = "bert".into();
        assert!(failure(unknown).contains("\"bert\""));
        assert!(failure(byte_level(&["a", "a"], &["a a"])).contains("\"a\" twice, as 0 and 1"));
        assert!(failure(byte_level(&["a"], &["ab"])).contains("entry 0, \"ab\""));
        assert!(failure(byte_level(&["a"], &["a a"])).contains("entry 0, \"a a\""));
        assert!(failure(byte_level(&["a", "bb"], &["a a"])).contains("merges: "));
        assert!(failure(byte_level(&["a"], &[])).contains("merges is missing"));
        let mut bos = byte_level(&["a", "b", "ab"], &["a b"]);
        bos.header.add_bos = Some(true);
        assert!(failure(bos).contains("bos_token_id is missing"));
        let mut outside = byte_level(&["a", "b", "ab"], &["a b"]);
        outside.header.eos = Some(3);
        assert!(failure(outside).contains("eos_token_id 3"));
    }
}
