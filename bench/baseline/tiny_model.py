"""Writes a tiny model with random weights, whose steps cost next to nothing: what is left is the engine's own time.

Prints nothing; ``tiny_model.py <folder with tokenizer.json and config.json> <new folder>``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from prepare_model import convert_once

SEED = 7

SHAPE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}
"""A llama of 4 layers and hidden size 64."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def write_tiny(source: Path, folder: Path) -> None:
    """Writes config, float32 weights and source's tokenizer into an existing folder."""
    known = json.loads((source / "config.json").read_text(encoding="utf-8"))
    kept = {key: known[key] for key in ("vocab_size", "bos_token_id", "eos_token_id") if key in known}
    config = SHAPE | kept
    mx.random.seed(SEED)
    weights = dict(tree_flatten(Model(ModelArgs.from_dict(config)).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in _TOKENIZER_FILES:
        shutil.copyfile(source / name, folder / name)


def main() -> int:
    """Command line: where the tokenizer comes from and where the model goes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="model folder whose tokenizer and vocabulary size are taken")
    parser.add_argument("folder", type=Path, help="where the model goes; left alone if it exists")
    options = parser.parse_args()
    convert_once(options.folder, lambda target: write_tiny(options.source, target))
    return 0


if __name__ == "__main__":
    sys.exit(main())
