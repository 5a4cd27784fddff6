//! One token's contribution to a text, for detokenising token by token.

use serde_json::{json, Value};
use tokenizers::Tokenizer;

/// How the tokenizer's decoder joins tokens, as far as it can be done one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Joining {
    /// Every token is bytes of GPT-2's alphabet.
    ByteLevel,
    /// SentencePiece: `▁` is a space, `<0xHH>` a byte.
    SentencePiece {
        /// The space before the first word is dropped.
        strip: bool,
    },
    /// Anything else: only whole sequences can be decoded.
    Sequence,
}

impl Joining {
    pub fn of(tokenizer: &Tokenizer) -> Joining {
        let decoder = tokenizer
            .get_decoder()
            .and_then(|decoder| serde_json::to_value(decoder).ok())
            .unwrap_or(Value::Null);
        if decoder["type"] == "ByteLevel" {
            return Joining::ByteLevel;
        }
        let mut stages = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if decoder["type"] == "Sequence" {
            if decoder["decoders"] == json!(stages) {
                return Joining::SentencePiece { strip: false };
            }
            stages.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
            if decoder["decoders"] == json!(stages) {
                return Joining::SentencePiece { strip: true };
            }
        }
        Joining::Sequence
    }

    pub fn name(self) -> &'static str {
        match self {
            Joining::ByteLevel => "byte_level",
            Joining::SentencePiece { strip: false } => "sentence_piece",
            Joining::SentencePiece { strip: true } => "sentence_piece_strip",
            Joining::Sequence => "sequence",
        }
    }

    /// The bytes that a token, as the vocabulary spells it, adds to a text.
    pub fn bytes(self, token: String) -> Vec<u8> {
        match self {
            Joining::ByteLevel => byte_level(token),
            Joining::SentencePiece { .. } => sentence_piece(token),
            Joining::Sequence => token.into_bytes(),
        }
    }
}

fn byte_level(token: String) -> Vec<u8> {
    // A token with any character outside the alphabet stands for itself, as in the decoder.
    token
        .chars()
        .map(byte_of)
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.into_bytes())
}

/// GPT-2's alphabet: printable Latin-1 characters stand for their own byte, and the other
/// bytes, in order, for the characters from U+0100 on.
fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

fn sentence_piece(token: String) -> Vec<u8> {
    let hex = token
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'))
        .filter(|hex| hex.len() == 2);
    match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace('▁', " ").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::decoders::byte_level::ByteLevel;
    use tokenizers::Decoder;

    #[test]
    fn the_alphabet_is_gpt2s() {
        for c in (0..0x200).filter_map(char::from_u32) {
            let alone = byte_of(c).map(|byte| String::from_utf8_lossy(&[byte]).to_string());
            assert_eq!(
                alone.unwrap_or_else(|| c.to_string()),
                ByteLevel::default().decode(vec![c.to_string()]).unwrap(),
                "{c:?}"
            );
        }
        assert_eq!(ByteLevel::alphabet().len(), 256);
        assert!(ByteLevel::alphabet()
            .into_iter()
            .all(|c| byte_of(c).is_some()));
    }

    #[test]
    fn tokens_become_bytes() {
        let bytes = |token: &str| Joining::ByteLevel.bytes(token.to_string());
        assert_eq!(bytes("ĠhiĊ"), b" hi\n");
        assert_eq!(bytes("Ã"), [0xc3]);
        assert_eq!(bytes("<｜a▁Ġ｜>"), "<｜a▁Ġ｜>".as_bytes());
        let pieces = Joining::SentencePiece { strip: true };
        assert_eq!(pieces.bytes("▁a▁".into()), b" a ");
        assert_eq!(pieces.bytes("<0x0A>".into()), b"\n");
        assert_eq!(pieces.bytes("<0x+1>".into()), b"\x01");
        assert_eq!(pieces.bytes("<0xZZ>".into()), b"<0xZZ>");
    }
}
