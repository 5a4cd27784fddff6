"""Cases of the tiny models, one file a group of families.

Each module has CASES, a dictionary from the case's name to a Case.
"""

from dataclasses import dataclass, field
from typing import Any

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 160,
    "max_position_embeddings": 512,
}
"""The part of config.json that most families share."""

Q4 = {"group_size": 32, "bits": 4}

RULES = [("norm", 1.0, 0.25), ("embed", 0.0, 0.25), ("", 0.0, 1.0)]
"""Parameters whose name has the first part are random numbers around the second, in a range as wide as
the third. The first rule that fits counts. Norms are near 1; embeddings are small, so that a tied head
does not echo its input."""


@dataclass
class Case:
    """A model: its configuration, and how its weights are made."""

    config: dict[str, Any]
    """config.json as mlx-lm reads it, with `quantization` if quantised."""
    stored: dict[str, Any] | None = None
    """config.json that the worker is given instead."""
    rules: list[tuple[str, float, float]] = field(default_factory=lambda: RULES)
    seed: int = 1


def quantized(case: Case, **quantization: Any) -> Case:
    """The same model, quantised."""
    return Case(
        case.config | {"quantization": quantization or Q4}, case.stored, case.rules, case.seed
    )
