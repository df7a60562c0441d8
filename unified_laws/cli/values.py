"""Values of the wrong kind, refused before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from unified_laws.errors import UsageError

# key -> (kind, smallest, whether null is allowed); "above" excludes the smallest itself
Rule = tuple[type, float, bool]
RULES: dict[str, Rule] = {
    "seed": (int, 0, False),
    "tokens_per_param": (float, 0, False),
    "num_tokens": (float, 1, True),
    "gradient_clip": (float, 0, False),
    "devices": (int, 1, False),
    "num_nodes": (int, 1, False),
    "threads": (int, 1, False),
    "micro_batch_size": (int, 1, True),
    "log_every": (int, 1, False),
    "checkpoint.minutes": (float, 0, False),
    "checkpoint.steps": (int, 1, True),
    "validation.max_tokens": (int, 1, True),
    "model.num_layers": (int, 1, False),
    "model.num_heads": (int, 1, False),
    "model.width": (int, 1, False),
    "model.mlp_width": (int, 1, False),
    "model.seq_len": (int, 1, False),
    "model.batch_size": (int, 1, False),
    "model.init_std": (float, 0, False),
    "model.learning_rate": (float, 0, False),
}


def check_values(config: Mapping[str, Any], rules: Mapping[str, Rule] = RULES) -> None:
    """Hold a configuration against its rules.

    Raises:
        UsageError: a value is of another kind, not finite, or too small.
    """
    for key, (kind, smallest, nullable) in rules.items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None and nullable:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        whole = kind is not int or isinstance(value, int)
        if not (number and whole and math.isfinite(value) and value >= smallest):
            word = "a whole number" if kind is int else "a number"
            null = ", or null" if nullable else ""
            raise UsageError(f"{key} is {value!r}; allowed is {word} from {smallest:g}{null}")
