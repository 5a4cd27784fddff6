//! BOS and EOS around an encoded text.

use tokenizers::processors::template::{SpecialToken, TemplateProcessing};
use tokenizers::processors::PostProcessorWrapper;

use crate::ffi::{Failure, Outcome};

/// A token by id and text.
pub type Token = (u32, String);

/// A post-processor that puts `bos` before and `eos` after a sequence, or none.
pub fn surround(bos: Option<Token>, eos: Option<Token>) -> Outcome<Option<PostProcessorWrapper>> {
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    // The names are aliases: a token's own text may hold characters that the template syntax uses.
    let mut single = "$A:0".to_string();
    let mut special = Vec::new();
    if let Some((id, text)) = bos {
        single.insert_str(0, "bos:0 ");
        special.push(SpecialToken::new("bos".into(), vec![id], vec![text]).map_err(Failure::of)?);
    }
    if let Some((id, text)) = eos {
        single.push_str(" eos:0");
        special.push(SpecialToken::new("eos".into(), vec![id], vec![text]).map_err(Failure::of)?);
    }
    let template = TemplateProcessing::builder()
        .try_single(single)
        .map_err(Failure::of)?
        .special_tokens(special)
        .build()
        .map_err(Failure::of)?;
    Ok(Some(template.into()))
}
