//! The pre-tokenizers that `tokenizer.ggml.pre` names, as the Hugging Face tokenizers of
//! those models define them.

use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{normalizers, SplitDelimiterBehavior};

use crate::ffi::{Failure, Outcome};

/// How text is cut before byte-level BPE, and what else hangs on the same name.
struct Scheme {
    names: &'static [&'static str],
    cut: Cut,
    nfc: bool,
    /// A piece that is a whole vocabulary entry is taken as it is.
    ignore_merges: bool,
    /// BOS is added where the file says nothing.
    add_bos: bool,
}

enum Cut {
    /// GPT-2's own expression, which `ByteLevel` contains.
    Gpt2,
    /// Every digit alone, then GPT-2's expression.
    DigitsGpt2,
    /// Each expression in turn, matches isolated.
    Splits(&'static [&'static str]),
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3_DIGITS: &str = r"\p{N}{1,3}";
const DEEPSEEK3_CJK: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

const SCHEMES: &[Scheme] = &[
    Scheme {
        names: &["default", "gpt-2", "phi-2"],
        cut: Cut::Gpt2,
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
    Scheme {
        names: &["smollm", "starcoder", "refact"],
        cut: Cut::DigitsGpt2,
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
    Scheme {
        names: &["llama-bpe", "llama3", "llama-v3"],
        cut: Cut::Splits(&[LLAMA3]),
        nfc: false,
        ignore_merges: true,
        add_bos: true,
    },
    Scheme {
        names: &["qwen2"],
        cut: Cut::Splits(&[QWEN2]),
        nfc: true,
        ignore_merges: false,
        add_bos: false,
    },
    Scheme {
        names: &["tekken"],
        cut: Cut::Splits(&[TEKKEN]),
        nfc: false,
        ignore_merges: true,
        add_bos: true,
    },
    Scheme {
        names: &["deepseek-v3"],
        cut: Cut::Splits(&[DEEPSEEK3_DIGITS, DEEPSEEK3_CJK, DEEPSEEK3]),
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
    Scheme {
        names: &["gpt-4o"],
        cut: Cut::Splits(&[O200K]),
        nfc: false,
        ignore_merges: true,
        add_bos: false,
    },
];

/// The parts of a tokenizer that a `pre` name decides.
pub struct Parts {
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: PreTokenizerWrapper,
    pub ignore_merges: bool,
    pub add_bos: bool,
}

/// Looks a `tokenizer.ggml.pre` name up. An unknown one is refused: another
/// pre-tokenizer would give other ids without any sign of it.
pub fn by_name(name: &str) -> Outcome<Parts> {
    let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.names.contains(&name)) else {
        let known: Vec<&str> = SCHEMES.iter().flat_map(|s| s.names).copied().collect();
        let what = if name.is_empty() {
            "tokenizer.ggml.pre is missing".into()
        } else {
            format!("tokenizer.ggml.pre {name:?} is not supported")
        };
        return Err(Failure::Unsupported(format!(
            "{what}; supported: {}",
            known.join(", ")
        )));
    };
    Ok(Parts {
        normalizer: scheme
            .nfc
            .then_some(NormalizerWrapper::NFC(normalizers::unicode::NFC)),
        pre_tokenizer: scheme.cut.build()?,
        ignore_merges: scheme.ignore_merges,
        add_bos: scheme.add_bos,
    })
}

impl Cut {
    fn build(&self) -> Outcome<PreTokenizerWrapper> {
        let byte_level = |use_regex| ByteLevel::new(false, true, use_regex).into();
        Ok(match self {
            Cut::Gpt2 => byte_level(true),
            Cut::DigitsGpt2 => {
                Sequence::new(vec![Digits::new(true).into(), byte_level(true)]).into()
            }
            Cut::Splits(expressions) => {
                let mut stages: Vec<PreTokenizerWrapper> = expressions
                    .iter()
                    .map(|expression| {
                        let pattern = SplitPattern::Regex(expression.to_string());
                        Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                            .map(Into::into)
                            .map_err(Failure::of)
                    })
                    .collect::<Outcome<_>>()?;
                stages.push(byte_level(false));
                Sequence::new(stages).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    fn cut(name: &str, text: &str) -> Vec<String> {
        let mut pieces = PreTokenizedString::from(text);
        let stage = by_name(name).unwrap().pre_tokenizer;
        stage.pre_tokenize(&mut pieces).unwrap();
        pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(piece, _, _)| piece.to_string())
            .collect()
    }

    #[test]
    fn every_scheme_compiles() {
        for scheme in SCHEMES {
            scheme.cut.build().unwrap();
        }
    }

    #[test]
    fn digits_are_cut_as_each_family_does() {
        assert_eq!(cut("gpt-2", "in 12345"), ["in", "Ġ12345"]);
        assert_eq!(cut("smollm", "a 12"), ["a", "Ġ", "1", "2"]);
        assert_eq!(cut("llama-bpe", "x12345"), ["x", "123", "45"]);
        assert_eq!(cut("qwen2", "x12"), ["x", "1", "2"]);
        assert_eq!(cut("deepseek-v3", "12345是"), ["123", "45", "æĺ¯"]);
    }

    #[test]
    fn an_unknown_name_is_refused_by_name() {
        let Err(Failure::Unsupported(message)) = by_name("my-bpe") else {
            panic!("accepted");
        };
        assert!(message.contains("\"my-bpe\"") && message.contains("llama-bpe"));
        assert!(matches!(by_name(""), Err(Failure::Unsupported(_))));
    }
}
