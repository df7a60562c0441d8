"""The record of one run: what `collect` reads, and the truth that dashboards mirror."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from unified_laws.errors import UsageError
from unified_laws.records.files import read_json, write_json

Status = Literal["running", "finished", "diverged", "failed"]
SCHEMA = 1


@dataclass(frozen=True)
class RunRecord:
    """Everything a later reader needs to know about one run, with units in the names.

    Attributes:
        run_id: hash of what the run means (`records.identity`).
        status: ``diverged`` is a result; ``running`` after the process is gone means interrupted.
        format: canonical name of the compressed representation.
        label: the name as the user typed it.
        num_params: non-embedding parameters, the N of the law.
        num_params_total: with embedding and head.
        num_tokens: tokens trained on, the D of the law.
        unique_tokens: distinct training tokens seen; ``epochs`` = num_tokens / unique_tokens.
        val_loss: nats per token on the fixed validation windows; None unless finished.
        val_loss_stderr: its standard error over windows, in nats.
        val_bits_per_byte: the same loss per byte of text.
        seconds: training time of all attempts together, validation excluded.
        config: the resolved configuration.
        identity: what was hashed into run_id.
    """

    run_id: str
    status: Status
    format: str
    label: str
    model: str
    num_params: int
    num_params_total: int
    num_tokens: int
    tokens_per_param: float
    unique_tokens: int
    epochs: float
    seed: int
    steps: int
    val_loss: float | None = None
    val_loss_stderr: float | None = None
    val_bits_per_byte: float | None = None
    train_loss: float | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    attempts: int = 1
    message: str = ""
    started: str = ""
    ended: str = ""
    git_commit: str = ""
    git_dirty: bool | None = None
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    swap: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


def write_record(record: RunRecord, folder: Path) -> None:
    """Write ``folder/record.json`` atomically. Non-finite numbers become null."""
    content = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in dataclasses.asdict(record).items()
    }
    write_json(folder / "record.json", content)


def read_record(folder: Path) -> RunRecord:
    """Read ``folder/record.json`` strictly.

    Raises:
        UsageError: missing, not JSON, a field is missing or unknown, the status is none of ours.
    """
    path = folder / "record.json"
    content = read_json(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no record; move the folder away or restore the file")
    names = {f.name for f in dataclasses.fields(RunRecord)}
    required = {
        f.name
        for f in dataclasses.fields(RunRecord)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing, unknown = sorted(required - set(content)), sorted(set(content) - names)
    if missing or unknown or content.get("status") not in get_args(Status):
        raise UsageError(
            f"{path} is not a record of this version: missing {missing or 'nothing'}, unknown "
            f"{unknown or 'nothing'}, status {content.get('status')!r}; move the folder away to "
            "train the run again"
        )
    loss = content.get("val_loss")
    if content["status"] == "finished" and not isinstance(loss, (int, float)):
        raise UsageError(
            f"{path} is of a finished run, but its val_loss is {loss!r}; move the folder away to "
            "train the run again"
        )
    return RunRecord(**content)
