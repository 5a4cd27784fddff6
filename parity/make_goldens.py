"""Writes what mlx-lm answers greedily, token by token, as the reference for the worker's tests.

Run it with ``npx tsx parity/make-goldens.ts``, which sets the Python environment up and converts the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import generate_step

FORMAT = 1
MAX_TOKENS = 24
TOP = 8
"""Most likely tokens that are kept of the first step."""

THRESHOLD = 1e-3
"""Below this distance between the two best float32 logits, rounding decides the token."""

SHORT_QUESTION = "What is the capital of France?"
"""Its answer ends by itself within MAX_TOKENS."""

CONVERSATION = [
    {
        "role": "system",
        "content": "You are a patient teacher. Answer in full sentences, simply and correctly.",
    },
    {"role": "user", "content": "I read that light is a wave. What does that mean?"},
    {
        "role": "assistant",
        "content": (
            "A wave carries energy from one place to another without carrying the material along. On water you "
            "can watch it: a floating leaf moves up and down while the wave passes below it. Light is a wave of "
            "electric and magnetic fields. The fields grow and shrink very quickly, about five hundred million "
            "million times a second for green light, and the distance between two crests is its wavelength. We "
            "see different wavelengths as different colors: red light has the longest wavelength that our eyes "
            "can see, violet light the shortest."
        ),
    },
    {
        "role": "user",
        "content": "And why does a prism split white light into a rainbow?",
    },
    {
        "role": "assistant",
        "content": (
            "White light is a mixture of all colors. When light enters glass it becomes slower and changes its "
            "direction, which is called refraction. How much slower depends on the wavelength: violet light is "
            "slowed down more than red light, so it is bent more. A prism bends the light twice in the same "
            "direction, once when it enters and once when it leaves, and so the colors leave the glass at "
            "different angles. On a screen behind the prism you see them side by side, in the order of their "
            "wavelengths: red, orange, yellow, green, blue and violet."
        ),
    },
    {"role": "user", "content": "Do raindrops do the same when there is a rainbow?"},
]
"""A prompt of more than 256 tokens, the step in which KV caches grow."""


def golden(model: Any, tokenizer: Any, name: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    """One case: prompt ids, greedy ids until an end token or MAX_TOKENS, and each step's margin (logits)."""
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    tokens: list[int] = []
    margins: list[float] = []
    first_step: list[list[float]] = []
    for token, logprobs in generate_step(mx.array(prompt), model, max_tokens=MAX_TOKENS):
        best = mx.argsort(-logprobs)[:TOP]
        values = logprobs[best]
        if not tokens:
            first_step = [[i, round(v, 6)] for i, v in zip(best.tolist(), values.tolist(), strict=True)]
        tokens.append(token)
        margins.append(float(f"{(values[0] - values[1]).item():.6g}"))
        if token in tokenizer.eos_token_ids:
            break
    ended = tokens[-1] in tokenizer.eos_token_ids
    return {
        "name": name,
        "messages": messages,
        "prompt_ids": prompt,
        "token_ids": tokens,
        "margins": margins,
        "first_step_logprobs": first_step,
        "text": tokenizer.decode(tokens[:-1] if ended else tokens),
        "finish_reason": "stop" if ended else "length",
    }


def goldens(folder: Path, source: Path, questions: list[str]) -> dict[str, Any]:
    """The whole file: where it comes from and one case for each question, then two of its own."""
    model, tokenizer = load(str(folder))
    dtype = str(model(mx.array([[0]])).dtype).removeprefix("mlx.core.")
    if dtype != "float32":
        raise ValueError(f"goldens need a model in float32, {folder.name} computes in {dtype}")
    cases = [(question, [{"role": "user", "content": question}]) for question in questions]
    cases.append(("an answer that ends by itself", [{"role": "user", "content": SHORT_QUESTION}]))
    cases.append(("a conversation of more than 256 tokens", CONVERSATION))
    packages = ("mlx", "mlx-lm", "transformers", "tokenizers")
    return {
        "format": FORMAT,
        "model": {
            "file": source.name,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        },
        "reference": {
            "weights": "dense float32, dequantised by MLX with float32 scales",
            "device": "gpu" if mx.default_device() == mx.gpu else "cpu",
            "versions": {name: version(name) for name in packages},
        },
        "sampling": {"temperature": 0, "seed": None, "max_tokens": MAX_TOKENS},
        "margin_threshold": THRESHOLD,
        "eos_token_ids": sorted(tokenizer.eos_token_ids),
        "cases": [golden(model, tokenizer, name, messages) for name, messages in cases],
    }


def render(document: dict[str, Any]) -> str:
    """JSON with one line for each field of a case, so that a change shows where it is."""
    head = {key: value for key, value in document.items() if key != "cases"}
    cases = ",\n".join(
        "    {\n" + ",\n".join(f"      {json.dumps(k)}: {_dumps(v)}" for k, v in case.items()) + "\n    }"
        for case in document["cases"]
    )
    lines = ",\n".join(f"  {json.dumps(key)}: {_dumps(value)}" for key, value in head.items())
    return f'{{\n{lines},\n  "cases": [\n{cases}\n  ]\n}}\n'


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Command line: a converted folder, the file it comes from, questions, an output file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the model in float32, as mlx-lm loads it")
    parser.add_argument("source", type=Path, help="the GGUF file that it was converted from")
    parser.add_argument("output", type=Path)
    parser.add_argument("questions", nargs="+")
    options = parser.parse_args()
    document = goldens(options.folder, options.source, options.questions)
    options.output.write_text(render(document), encoding="utf-8")


if __name__ == "__main__":
    main()
