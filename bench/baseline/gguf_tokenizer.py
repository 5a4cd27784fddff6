"""Builds a Hugging Face tokenizer folder from the vocabulary inside a GGUF file.

Independent of the worker's own tokenizer on purpose: equal token ids on both sides then mean something.
transformers' GGUF reader is not used because it needs PyTorch and does not keep the pre-tokenizer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

CONTROL, USER_DEFINED = 3, 4
"""Values of tokenizer.ggml.token_type that make a token an added token."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class _BytePreTokenizer:
    """How one value of tokenizer.ggml.pre splits text before byte-level BPE."""

    split: pre_tokenizers.PreTokenizer | None
    gpt2_regex: bool
    ignore_merges: bool = False
    add_bos: bool = False
    nfc: bool = False


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def _byte_pre_tokenizers() -> dict[str, _BytePreTokenizer]:
    llama3 = _BytePreTokenizer(
        split=_split(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"),
        gpt2_regex=False,
        ignore_merges=True,
        add_bos=True,
    )
    return {
        "gpt-2": _BytePreTokenizer(split=None, gpt2_regex=True),
        "smollm": _BytePreTokenizer(split=pre_tokenizers.Digits(individual_digits=True), gpt2_regex=True),
        "llama-bpe": llama3,
        "llama3": llama3,
        "llama-v3": llama3,
        "qwen2": _BytePreTokenizer(
            split=_split(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"),
            gpt2_regex=False,
            nfc=True,
        ),
    }


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer.ggml.* metadata of one GGUF file as plain Python values; None where a key is absent."""

    model: str
    pre: str
    tokens: list[str]
    scores: list[float]
    types: list[int]
    merges: list[str]
    bos: int | None
    eos: int | None
    unk: int | None
    pad: int | None
    add_bos: bool | None
    add_space_prefix: bool | None
    chat_template: str | None

    def text(self, token: int | None) -> str | None:
        """The entry of a token id, None for None."""
        return None if token is None else self.tokens[token]


def write_tokenizer(vocabulary: Vocabulary, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into folder.

    Raises ValueError for a vocabulary type or pre-tokenizer that is not known, naming it and the known ones.
    """
    builders = {"gpt2": _byte_level_bpe, "llama": _sentencepiece_bpe}
    if vocabulary.model not in builders:
        raise ValueError(
            f"tokenizer.ggml.model {vocabulary.model!r} is not supported; supported: {', '.join(builders)}"
        )
    tokenizer, add_bos = builders[vocabulary.model](vocabulary)
    if vocabulary.add_bos is not None:
        add_bos = vocabulary.add_bos
    _add_special_tokens(tokenizer, vocabulary)
    bos = vocabulary.text(vocabulary.bos)
    if add_bos and bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, vocabulary.bos)],
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "bos_token": bos,
        "eos_token": vocabulary.text(vocabulary.eos),
        "unk_token": vocabulary.text(vocabulary.unk),
        "pad_token": vocabulary.text(vocabulary.pad),
        "chat_template": vocabulary.chat_template,
    }
    present = {key: value for key, value in config.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(present, indent=2) + "\n", encoding="utf-8")


def _add_special_tokens(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    for text, kind in zip(vocabulary.tokens, vocabulary.types, strict=True):
        if kind == CONTROL:
            tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(text, normalized=False, special=False)])


def _byte_level_bpe(vocabulary: Vocabulary) -> tuple[Tokenizer, bool]:
    known = _byte_pre_tokenizers()
    if vocabulary.pre not in known:
        raise ValueError(f"tokenizer.ggml.pre {vocabulary.pre!r} is not supported; supported: {', '.join(known)}")
    kind = known[vocabulary.pre]
    merges = [tuple(merge.split(" ")) for merge in vocabulary.merges]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={text: index for index, text in enumerate(vocabulary.tokens)},
            merges=merges,
            ignore_merges=kind.ignore_merges,
        )
    )
    if kind.nfc:
        tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind.gpt2_regex)
    tokenizer.pre_tokenizer = byte_level if kind.split is None else pre_tokenizers.Sequence([kind.split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, kind.add_bos


def _sentencepiece_bpe(vocabulary: Vocabulary) -> tuple[Tokenizer, bool]:
    tokenizer = Tokenizer(
        models.BPE(
            vocab={text: index for index, text in enumerate(vocabulary.tokens)},
            merges=_merges_from_scores(vocabulary.tokens, vocabulary.scores),
            unk_token=vocabulary.text(vocabulary.unk),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    spaces = [normalizers.Replace(" ", "▁")]
    decoding = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.add_space_prefix is not False:
        spaces.insert(0, normalizers.Prepend("▁"))
        decoding.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Sequence(decoding)
    return tokenizer, True


def _merges_from_scores(tokens: list[str], scores: list[float]) -> list[tuple[str, str]]:
    """The merge list that makes rank-based BPE choose as SentencePiece does: best score of the result first."""
    ids = {text: index for index, text in enumerate(tokens)}
    found: list[tuple[float, int, int, str, str]] = []
    for index, text in enumerate(tokens):
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                found.append((-scores[index], ids[left], ids[right], left, right))
    return [(left, right) for _, _, _, left, right in sorted(found)]
