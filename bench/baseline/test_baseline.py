"""Tests of the converter and its tokenizer: ``.deps/baseline/venv/bin/python -m unittest discover bench/baseline``."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import mlx.core as mx
import sentencepiece
from mlx_lm import load
from mlx_lm.models.rope_utils import Llama3RoPE
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))

import convert_gguf
import tiny_model
from gguf_tokenizer import CONTROL, Vocabulary, write_tokenizer
from prepare_model import convert_once

BYTES = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]] + [chr(256 + n) for n in range(68)]
"""The 256 symbols of byte-level BPE."""

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Light is a wave of electric and magnetic fields.",
    "Why does iron rust, and how fast does it rust in salt water?",
    "Numbers such as 3 and 14159 are split as well.",
]


def vocabulary(**changes: Any) -> Vocabulary:
    """A byte-level vocabulary with a few merges and two control tokens."""
    tokens = [*BYTES, "th", "the", "12", "123", "<s>", "</s>"]
    values: dict[str, Any] = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens,
        "scores": [0.0] * len(tokens),
        "types": [1] * (len(tokens) - 2) + [CONTROL, CONTROL],
        "merges": ["t h", "th e", "1 2"],
        "bos": len(tokens) - 2,
        "eos": len(tokens) - 1,
        "unk": None,
        "pad": None,
        "add_bos": None,
        "add_space_prefix": None,
        "chat_template": None,
    }
    return Vocabulary(**(values | changes))


def pieces(value: Vocabulary, text: str) -> list[str]:
    """The tokens of a text by the tokenizer that is written for a vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(value, Path(folder))
        return Tokenizer.from_file(str(Path(folder) / "tokenizer.json")).encode(text).tokens


class TokenizerTest(unittest.TestCase):
    """gguf_tokenizer."""

    def test_smollm_splits_digits(self) -> None:
        """Every digit is a token of its own, whatever the merges say."""
        self.assertEqual(pieces(vocabulary(), "the 12"), ["the", "Ġ", "1", "2"])

    def test_gpt2_does_not_split_digits(self) -> None:
        """Without a digit rule merges apply."""
        self.assertEqual(pieces(vocabulary(pre="gpt-2"), "12"), ["12"])

    def test_llama3_takes_whole_words_and_adds_bos(self) -> None:
        """A word in the vocabulary is taken even where no merges lead to it; groups of three digits."""
        self.assertEqual(pieces(vocabulary(pre="llama-bpe"), "1231"), ["<s>", "123", "1"])

    def test_add_bos_of_the_file_wins(self) -> None:
        """tokenizer.ggml.add_bos_token overrides the default of the kind."""
        self.assertEqual(pieces(vocabulary(pre="llama-bpe", add_bos=False), "the"), ["the"])
        self.assertEqual(pieces(vocabulary(add_bos=True), "the"), ["<s>", "the"])

    def test_control_tokens_are_found_in_text(self) -> None:
        """Control tokens are never split."""
        self.assertEqual(pieces(vocabulary(), "th</s>"), ["th", "</s>"])

    def test_unknown_kinds_are_refused(self) -> None:
        """The message names what is given and what is known."""
        with self.assertRaisesRegex(ValueError, "'tekken'.*smollm"):
            pieces(vocabulary(pre="tekken"), "the")
        with self.assertRaisesRegex(ValueError, "'bert'.*gpt2, llama"):
            pieces(vocabulary(model="bert"), "the")

    def test_sentencepiece_ids(self) -> None:
        """Ids equal SentencePiece's own, unknown characters (bytes) included."""
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES * 20),
            model_writer=model,
            model_type="bpe",
            vocab_size=330,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
        expected = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        count = expected.get_piece_size()
        value = vocabulary(
            model="llama",
            tokens=[expected.id_to_piece(i) for i in range(count)],
            scores=[expected.get_score(i) for i in range(count)],
            types=[CONTROL if expected.is_control(i) else 1 for i in range(count)],
            merges=[],
            bos=expected.bos_id(),
            eos=expected.eos_id(),
            unk=expected.unk_id(),
            add_bos=False,
        )
        for text in [*SENTENCES, "the foxes  rust", "日本 ü"]:
            self.assertEqual(pieces(value, text), expected.encode(text, out_type=str), text)


class ConverterTest(unittest.TestCase):
    """convert_gguf."""

    def test_unpermuted_rows_make_interleaved_rope_the_usual_one(self) -> None:
        """Interleaved rope on permuted rows is the usual rope on Hugging Face's, in another order."""
        heads, head_dim, length = 3, 8, 5
        usual = mx.random.normal((heads * head_dim, length), key=mx.random.key(1))
        stored = usual.reshape(heads, 2, head_dim // 2, length).swapaxes(1, 2).reshape(usual.shape)
        self.assertTrue(mx.array_equal(convert_gguf.unpermute_rows(stored, heads), usual))

        def rope(rows: mx.array, traditional: bool) -> mx.array:
            values = rows.reshape(1, heads, head_dim, length).swapaxes(-1, -2)
            out = mx.fast.rope(values, head_dim, traditional=traditional, base=10000.0, scale=1.0, offset=3)
            return out.swapaxes(-1, -2).reshape(rows.shape)

        turned = convert_gguf.unpermute_rows(rope(stored, traditional=True), heads)
        self.assertTrue(mx.allclose(turned, rope(usual, traditional=False), atol=1e-6))

    def test_llama3_scaling_is_recovered(self) -> None:
        """The divisors of mlx-lm's own llama3 rope give its settings back; others are refused."""
        config = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope = Llama3RoPE(dims=64, base=5e5, scaling_config=config | {"original_max_position_embeddings": 8192})
        plain = 5e5 ** (mx.arange(0, 64, 2) / 64)
        divisors = (rope._freqs / plain).tolist()
        self.assertEqual(convert_gguf.llama3_rope_scaling(divisors, 5e5, 64)["factor"], max(divisors))
        with self.assertRaisesRegex(ValueError, "rope_freqs"):
            convert_gguf.llama3_rope_scaling([2.0] * 32, 5e5, 64)

    def test_unknown_tensors_are_named(self) -> None:
        """A tensor outside the family is an error, not dropped."""
        with self.assertRaisesRegex(ValueError, "blk.3.ffn_gate_exps"):
            convert_gguf.hugging_face_name("blk.3.ffn_gate_exps")

    def test_a_whole_file(self) -> None:
        """mlx-lm loads what is written, in float32, and reads the settings."""
        with tempfile.TemporaryDirectory() as name:
            source, folder = Path(name) / "tiny.gguf", Path(name) / "folder"
            _write_tiny_gguf(source)
            convert_once(folder, lambda target: convert_gguf.convert(source, target, "float32"))
            model, tokenizer = load(str(folder))
            self.assertEqual(model(mx.array([[1, 2, 3]])).dtype, mx.float32)
            config = json.loads((folder / "config.json").read_text())
            self.assertEqual((config["num_key_value_heads"], config["tie_word_embeddings"]), (1, True))
            self.assertEqual(tokenizer.eos_token_ids, {len(BYTES) + 5})

    def test_another_architecture_is_refused(self) -> None:
        """The message names it."""
        with tempfile.TemporaryDirectory() as name:
            source = Path(name) / "tiny.gguf"
            _write_tiny_gguf(source, architecture="mamba")
            with self.assertRaisesRegex(ValueError, "'mamba'"):
                convert_gguf.convert(source, Path(name), "float32")

    def test_an_interrupted_conversion_leaves_nothing(self) -> None:
        """A failed conversion can be tried again."""

        def fail(_target: Path) -> None:
            raise ValueError("no")

        with tempfile.TemporaryDirectory() as name:
            with self.assertRaises(ValueError):
                convert_once(Path(name) / "model", fail)
            self.assertEqual(list(Path(name).iterdir()), [])


class TinyModelTest(unittest.TestCase):
    """tiny_model."""

    def test_mlx_lm_loads_it_with_the_tokenizer(self) -> None:
        """The vocabulary is the tokenizer's, weights are float32 and the same each time."""
        with tempfile.TemporaryDirectory() as name:
            source, folders = Path(name) / "source", [Path(name) / "a", Path(name) / "b"]
            for folder in (source, *folders):
                folder.mkdir()
            value = vocabulary()
            write_tokenizer(value, source)
            config = {"vocab_size": len(value.tokens), "eos_token_id": value.eos, "hidden_size": 4096}
            (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
            logits = []
            for folder in folders:
                tiny_model.write_tiny(source, folder)
                model, tokenizer = load(str(folder))
                logits.append(model(mx.array([tokenizer.encode("the")])))
            self.assertEqual(logits[0].shape[-1], len(value.tokens))
            self.assertEqual(logits[0].dtype, mx.float32)
            self.assertTrue(mx.array_equal(logits[0], logits[1]))


def _write_tiny_gguf(path: Path, architecture: str = "llama") -> None:
    """A one-layer model with 2 query heads and 1 key/value head of 8, weights in float16."""
    value = vocabulary()
    shapes = {
        "token_embd": (len(value.tokens), 16),
        "output_norm": (16,),
        "blk.0.attn_norm": (16,),
        "blk.0.attn_q": (16, 16),
        "blk.0.attn_k": (8, 16),
        "blk.0.attn_v": (8, 16),
        "blk.0.attn_output": (16, 16),
        "blk.0.ffn_norm": (16,),
        "blk.0.ffn_gate": (32, 16),
        "blk.0.ffn_up": (32, 16),
        "blk.0.ffn_down": (16, 32),
    }
    key = mx.random.key(0)
    tensors = {f"{name}.weight": mx.random.normal(shape, key=key).astype(mx.float16) for name, shape in shapes.items()}
    numbers = {
        "embedding_length": 16,
        "block_count": 1,
        "feed_forward_length": 32,
        "context_length": 64,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
    }
    metadata: dict[str, Any] = {f"llama.{name}": mx.array(n, mx.uint32) for name, n in numbers.items()}
    metadata |= {
        "general.architecture": architecture,
        "llama.attention.layer_norm_rms_epsilon": mx.array(1e-5),
        "tokenizer.ggml.model": value.model,
        "tokenizer.ggml.pre": value.pre,
        "tokenizer.ggml.tokens": value.tokens,
        "tokenizer.ggml.merges": value.merges,
        "tokenizer.ggml.token_type": mx.array(value.types, mx.int32),
        "tokenizer.ggml.bos_token_id": mx.array(value.bos, mx.uint32),
        "tokenizer.ggml.eos_token_id": mx.array(value.eos, mx.uint32),
    }
    mx.save_gguf(str(path), tensors, metadata)


if __name__ == "__main__":
    unittest.main()
