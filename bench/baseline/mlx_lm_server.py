"""Runs mlx-lm's own HTTP server for the benchmark: ``mlx_lm_server.py <options of mlx_lm.server>``.

One thing differs from ``mlx_lm.server``: no token ends an answer, so that every request gets exactly its ``max_tokens``,
as from the worker.
"""

from __future__ import annotations

from typing import Any

from mlx_lm import server
from mlx_lm.generate import StopSequences


def _no_stop_sequences(_tokenizer: Any, _stop_words: Any = None) -> StopSequences:
    return StopSequences()


if __name__ == "__main__":
    server.make_stop_sequences = _no_stop_sequences
    server.main()
