"""Writes convert_goldens.json: checksums of what mlx_lm.convert makes of a tiny dense llama.

The weights are a function of name and position, which the Go test computes again. Run it with the environment
of the baseline:

    .deps/baseline/venv/bin/python parity/make_convert_goldens.py
"""

import json
import tempfile
import zlib
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.convert import convert
from mlx_lm.models import llama

CONFIG = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 128,
    "num_hidden_layers": 1,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-5,
    "vocab_size": 64,
    "tie_word_embeddings": False,
}
"""Groups of 128 do not divide the 192 inputs of down_proj, which then stays dense."""

FORMATS = [
    *(("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)),
    ("mxfp4", 4, 32),
    ("mxfp8", 8, 32),
    ("nvfp4", 4, 16),
]


def values(name: str, shape: tuple[int, ...]) -> mx.array:
    """Numbers in [-1, 1) that float32 holds exactly and bfloat16 does not."""
    i = np.arange(np.prod(shape), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(name.encode()))
    return mx.array(((i >> np.uint64(7)) % np.uint64(1 << 16)).astype(np.float32) / np.float32(1 << 15) - np.float32(1)).reshape(shape)


def write_source(folder: Path) -> None:
    """A checkpoint in float32 whose configuration says bfloat16, with the smallest tokenizer."""
    model = llama.Model(llama.ModelArgs.from_dict(CONFIG))
    weights = {name: values(name, w.shape) for name, w in tree_flatten(model.parameters())}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    files = {
        "config.json": CONFIG,
        "tokenizer.json": {"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def checksum(array: mx.array) -> int:
    """CRC-32 of the elements; of floats as float32, which holds them exactly."""
    if mx.issubdtype(array.dtype, mx.floating):
        array = array.astype(mx.float32)
    return zlib.crc32(np.array(array).tobytes())


def main() -> None:
    mx.set_default_device(mx.cpu)
    goldens = []
    with tempfile.TemporaryDirectory() as root:
        source = Path(root) / "source"
        source.mkdir()
        write_source(source)
        for mode, bits, group in FORMATS:
            out = Path(root) / f"{mode}-{bits}-{group}"
            convert(str(source), str(out), quantize=True, q_group_size=group, q_bits=bits, q_mode=mode)
            arrays = mx.load(str(out / "model.safetensors"))
            sums = {name: checksum(a) for name, a in sorted(arrays.items())}
            goldens.append({"mode": mode, "bits": bits, "group_size": group, "crc32": sums})
    document = {"mlx": mx.__version__, "config": CONFIG, "formats": goldens}
    text = json.dumps(document, separators=(",", ":")).replace('{"mode"', '\n{"mode"')
    Path(__file__).with_name("convert_goldens.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
