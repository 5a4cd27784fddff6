"""Finds a model and gives mlx-lm its best form of it, converting once into a cache folder.

Prints one JSON object: ``folder`` (what mlx-lm loads), ``weights`` (``float32``, ``stored`` or ``unchanged``) and
``device``. The best form is dense float32 on a CPU, where quantised and half-precision products are slow, and the
weights as they are on a GPU. A GGUF file is always converted, since mlx-lm cannot load one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

_SOURCES = ("convert_gguf.py", "dense_folder.py", "gguf_tokenizer.py", "prepare_model.py")


def find_model(name: str) -> Path:
    """A path as given, a folder below MLX_MODELS_DIR, or a snapshot in the Hugging Face cache; never a download.

    Raises FileNotFoundError that lists where it was looked for.
    """
    candidates = [Path(name)]
    if models := os.environ.get("MLX_MODELS_DIR"):
        candidates.append(Path(models) / name)
    for candidate in candidates:
        if candidate.exists():
            return candidate.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        raise FileNotFoundError(
            f"model {name!r} is neither a path, nor in MLX_MODELS_DIR, nor in the Hugging Face cache"
        ) from None


def cache_key(source: Path, form: str) -> str:
    """A name for one converted model: its source files, the form and everything that takes part in converting."""
    digest = hashlib.sha256(f"{form} mlx {version('mlx')} mlx-lm {version('mlx-lm')}".encode())
    for script in _SOURCES:
        digest.update(Path(__file__).with_name(script).read_bytes())
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    for file in files:
        status = file.stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def convert_once(folder: Path, convert: Callable[[Path], None]) -> None:
    """Fills folder by convert unless it exists; a run that is interrupted leaves no half-written folder."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        convert(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def prepare(name: str, cache: Path) -> dict[str, str]:
    """The folder that mlx-lm should load for a model, with the form of its weights and the device."""
    source = find_model(name)
    on_gpu = mx.default_device() == mx.gpu
    device = "gpu" if on_gpu else "cpu"
    if source.is_dir() and on_gpu:
        return {"folder": str(source), "weights": "unchanged", "device": device}
    form = "stored" if on_gpu else "float32"
    folder = cache / cache_key(source, form)
    if not folder.exists():
        print(f"converting {source.name} for mlx-lm ({form} weights, once)", file=sys.stderr, flush=True)
    if source.is_dir():
        from dense_folder import write_dense

        convert_once(folder, lambda target: write_dense(source, target))
    else:
        from convert_gguf import convert

        convert_once(folder, lambda target: convert(source, target, form))
    return {"folder": str(folder), "weights": form, "device": device}


def main() -> int:
    """Command line: one model, one cache folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="a .gguf file, a model folder or an id")
    parser.add_argument("--cache", type=Path, required=True, help="where converted models are kept")
    options = parser.parse_args()
    try:
        print(json.dumps(prepare(options.model, options.cache)))
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        print(f"{options.model}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
