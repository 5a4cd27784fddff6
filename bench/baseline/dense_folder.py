"""Writes a dense float32 copy of a model folder that mlx-lm can load, for comparisons on a CPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map
from mlx_lm.utils import dequantize_model, load_model

_QUANTIZATION_KEYS = ("quantization", "quantization_config")


def write_dense(source: Path, folder: Path) -> None:
    """Loads source through mlx-lm, dequantises it with float32 scales, and saves it into an existing folder.

    Everything but weights and config.json (tokenizer, templates, generation_config.json) is copied unchanged.
    """
    model, config = load_model(source, lazy=True)
    model.update(
        tree_map(
            lambda value: value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value,
            model.parameters(),
        )
    )
    weights = dict(tree_flatten(dequantize_model(model).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    for file in source.iterdir():
        if file.is_file() and ".safetensors" not in file.name and file.name != "config.json":
            shutil.copyfile(file, folder / file.name)
    dense = {key: value for key, value in config.items() if key not in _QUANTIZATION_KEYS}
    dense["torch_dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(dense, indent=2) + "\n", encoding="utf-8")
