"""What makes two runs the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from unified_laws.errors import UsageError, nearest

# Raise it when code changes what an unchanged configuration computes; then old runs keep their
# ids and new ones get others.
NUMERICS_VERSION = 1

# Keys of the training configuration that change what is computed.
MEANING = (
    "model",  # without its name
    "data",  # as the checksums of the token store and the tokenizer
    "format",  # without its name, so that twins such as w4a16 and int4 are one run
    "optimizer",
    "schedule",
    "gradient_clip",
    "before_step",
    "seed",
    "precision",  # as resolved on the device
    "validation",
    "num_tokens",  # as resolved to whole steps
)

# Keys that change where, how fast or how loudly it is computed.
INCIDENTAL = (
    "tokens_per_param",  # enters through num_tokens
    "runs_dir",
    "cache_dir",
    "device",
    "devices",
    "num_nodes",
    "threads",
    "micro_batch_size",
    "compile",
    "checkpoint",
    "save_weights",
    "log_every",
    "logger",
    "progress",
    "trusted_packages",
)


def canonical(value: Any) -> Any:
    """A form that hashes the same for equal meanings: key order, 1 and 1.0, list and tuple.

    Raises:
        UsageError: the value has no stable form (an object, a function).
    """
    if isinstance(value, Mapping):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UsageError(f"the configuration holds {value!r}, which has no stable form to hash")


def identity_of(config: Mapping[str, Any], **resolved: Any) -> dict[str, Any]:
    """The meaning of a configuration.

    Args:
        config: the resolved training configuration, plain containers.
        resolved: values known only at run time that replace those of the same name
            (``data`` checksums, ``precision``, ``num_tokens``).

    Raises:
        UsageError: a key is in neither list, so nobody decided whether it changes results.
    """
    undecided = sorted(set(config) - set(MEANING) - set(INCIDENTAL))
    if undecided:
        known = sorted({*MEANING, *INCIDENTAL})
        raise UsageError(
            f"unknown key {undecided[0]!r} of a run; {nearest(undecided[0], known)}allowed: "
            f"{', '.join(known)} (a new key belongs to MEANING or INCIDENTAL in "
            "unified_laws/records/identity.py)"
        )
    identity = {key: config.get(key) for key in MEANING} | resolved
    for group in ("model", "format"):
        given = identity.get(group)
        if isinstance(given, Mapping):
            identity[group] = {k: v for k, v in given.items() if k != "name"}
    identity["numerics_version"] = NUMERICS_VERSION
    return dict(canonical(identity))


def run_id(identity: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits of the SHA-256 of a canonical identity."""
    text = json.dumps(canonical(identity), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
