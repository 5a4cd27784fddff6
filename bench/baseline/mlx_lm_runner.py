"""Runs mlx-lm for the benchmark: one JSON object a line on stdin, one a line on stdout, answered in order.

Every reply is ``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``. The first line is sent unasked once
mlx-lm is imported. Commands (field ``cmd``):

- ``load``: ``model`` (folder or Hugging Face id, never downloaded) → versions, device, dtype, EOS ids.
- ``answer``: one question, timed → text, token ids, ``ttft_ms``, ``total_ms``.
- ``margins``: the same question again, greedy and untimed → token ids and the top-1 minus top-2 logit of each step.
- ``batch``: prompts at once through ``batch_generate``, greedy, end tokens ignored → token ids, ``wall_ms``, and its
  own count and rate of generated tokens.
- ``check_blas``: times a matrix product → milliseconds, and whether OpenBLAS really did it.
- ``quit``.

The times run from the question's arrival to the first and the last token, and cover the chat template,
tokenizing, prefill, decode and detokenizing, as on the worker's side. JSON and pipes are not in them.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

# Libraries print to descriptor 1; replies get a descriptor of their own.
_replies: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

import mlx.core as mx  # noqa: E402
from mlx_lm import load, stream_generate  # noqa: E402
from mlx_lm.generate import batch_generate, generate_step  # noqa: E402
from mlx_lm.sample_utils import make_sampler  # noqa: E402

BLAS_CHECK_SIZE = 1024
"""Side of the square float32 product that check_blas times."""

OPENBLAS_AT_LEAST_GFLOPS = 10.0
"""Below this the reference BLAS must be at work: it reaches 2 to 6 on one core, OpenBLAS 50 and more."""

Message = dict[str, Any]


class Runner:
    """One loaded model and the commands on it."""

    def __init__(self) -> None:
        """Nothing is loaded until the ``load`` command."""
        self._model: Any = None
        self._tokenizer: Any = None

    def load(self, request: Message) -> Message:
        """Loads weights and tokenizer; everything is in memory when this returns."""
        started = time.perf_counter()
        self._model, self._tokenizer = load(request["model"])
        load_ms = (time.perf_counter() - started) * 1e3
        return {
            "load_ms": load_ms,
            "versions": versions(),
            "device": device(),
            "dtype": str(self._activation_dtype()).removeprefix("mlx.core."),
            "chat_template": bool(self._tokenizer.has_chat_template),
            "eos_token_ids": sorted(self._tokenizer.eos_token_ids),
        }

    def answer(self, request: Message) -> Message:
        """Generates one answer through mlx_lm.stream_generate."""
        started = time.perf_counter()
        self._end_at(request)
        if request.get("seed") is not None:
            mx.random.seed(request["seed"])
        prompt = self._prompt(request)
        text: list[str] = []
        tokens: list[int] = []
        first_token_at = finish_reason = None
        for response in stream_generate(
            self._model,
            self._tokenizer,
            prompt,
            max_tokens=request["max_tokens"],
            sampler=make_sampler(temp=request["temperature"]),
        ):
            if first_token_at is None:
                first_token_at = time.perf_counter()
            tokens.append(response.token)
            text.append(response.text)
            finish_reason = response.finish_reason
        ended = time.perf_counter()
        return {
            "text": "".join(text),
            "token_ids": tokens,
            "prompt_tokens": len(prompt),
            "finish_reason": finish_reason,
            "ttft_ms": (first_token_at - started) * 1e3,
            "total_ms": (ended - started) * 1e3,
        }

    def margins(self, request: Message) -> Message:
        """Greedy decode through mlx_lm.generate_step, keeping each step's top-1 minus top-2 logit."""
        self._end_at(request)
        prompt = self._prompt(request)
        tokens: list[int] = []
        margins: list[float] = []
        for token, logprobs in generate_step(mx.array(prompt), self._model, max_tokens=request["max_tokens"]):
            second, first = mx.sort(mx.topk(logprobs.astype(mx.float32), 2)).tolist()
            tokens.append(token)
            margins.append(first - second)
            if token in self._tokenizer.eos_token_ids and not request.get("ignore_eos"):
                break
        return {"prompt_ids": prompt, "token_ids": tokens, "margins": margins}

    def batch(self, request: Message) -> Message:
        """Generates so many tokens for every prompt through mlx_lm.batch_generate; the time is that of the call."""
        end_ids = self._tokenizer.eos_token_ids
        self._tokenizer.eos_token_ids = set()
        try:
            started = time.perf_counter()
            response = batch_generate(
                self._model,
                self._tokenizer,
                request["prompts"],
                max_tokens=request["max_tokens"],
                return_token_ids=True,
                prefill_batch_size=request["prefill_batch_size"],
                completion_batch_size=len(request["prompts"]),
            )
            ended = time.perf_counter()
        finally:
            self._tokenizer.eos_token_ids = end_ids
        return {
            "wall_ms": (ended - started) * 1e3,
            "token_ids": response.token_ids,
            "generation_tokens": response.stats.generation_tokens,
            "generation_tps": response.stats.generation_tps,
        }

    def check_blas(self, _request: Message) -> Message:
        """Times a float32 product and says whether the preloaded OpenBLAS is in use."""
        side = BLAS_CHECK_SIZE
        left, right = mx.random.normal((side, side)), mx.random.normal((side, side))
        mx.eval(left, right)
        best = min(_seconds(lambda: mx.eval(left @ right)) for _ in range(3))
        gflops = 2 * side**3 / best / 1e9
        mapped = _is_mapped("libscipy_openblas")
        return {
            "matmul_ms": best * 1e3,
            "gflops": gflops,
            "openblas": mapped and gflops >= OPENBLAS_AT_LEAST_GFLOPS,
            "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
        }

    def _prompt(self, request: Message) -> list[int]:
        """The prompt's ids: as given, or of messages through the chat template, or of a text as it is."""
        if request.get("prompt_ids") is not None:
            return request["prompt_ids"]
        if request.get("messages") is not None:
            return self._tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True)
        text, bos = request["prompt"], self._tokenizer.bos_token
        return self._tokenizer.encode(text, add_special_tokens=bos is None or not text.startswith(bos))

    def _end_at(self, request: Message) -> None:
        """Adds the ids at which the other engine ends, so that both do the same work."""
        ids = request.get("eos_token_ids")
        if ids:
            self._tokenizer.eos_token_ids = self._tokenizer.eos_token_ids | set(ids)

    def _activation_dtype(self) -> mx.Dtype:
        """The dtype of the logits that the model returns."""
        return self._model(mx.array([[0]])).dtype


def versions() -> dict[str, str]:
    """Versions of what the baseline consists of."""
    names = ("mlx", "mlx-lm", "transformers", "tokenizers")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def device() -> str:
    """``cpu`` or ``gpu``: where MLX computes by default in this process."""
    return "gpu" if mx.default_device() == mx.gpu else "cpu"


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _is_mapped(library: str) -> bool:
    maps = Path("/proc/self/maps")
    return maps.exists() and library in maps.read_text(encoding="utf-8")


def _reply(message: Message) -> None:
    _replies.write(json.dumps(message) + "\n")
    _replies.flush()


def main() -> None:
    """Serves commands until ``quit`` or the end of stdin."""
    runner = Runner()
    commands = {
        "load": runner.load,
        "answer": runner.answer,
        "margins": runner.margins,
        "batch": runner.batch,
        "check_blas": runner.check_blas,
    }
    _reply({"ok": True})
    for line in sys.stdin:
        request = json.loads(line)
        name = request.get("cmd")
        if name == "quit":
            return
        if name not in commands:
            _reply({"ok": False, "error": f"unknown command {name!r}; known: {', '.join(commands)}, quit"})
            continue
        try:
            _reply({"ok": True, **commands[name](request)})
        except Exception as error:  # noqa: BLE001 - one failed question must not end the run
            _reply({"ok": False, "error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
