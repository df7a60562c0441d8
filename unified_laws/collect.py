"""Records into one table: python -m unified_laws.collect runs_dir=runs out=runs.csv."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from unified_laws.cli.entry import Config, entry
from unified_laws.records.collect import collect_records, to_csv
from unified_laws.records.files import write_text


def _collect(config: Config) -> None:
    records = collect_records(Path(config["runs_dir"]))
    out = Path(config["out"])
    write_text(out, to_csv(records))
    counts = Counter(record.status for record in records)
    print(f"{len(records)} runs ({', '.join(f'{n} {s}' for s, n in counts.items())}) -> {out}")
    repeated = sum(record.epochs > 1 for record in records)
    if repeated:
        print(f"{repeated} of them repeat text (epochs > 1); fit leaves them out unless told")


main = entry("collect", {"collect": _collect})

if __name__ == "__main__":
    main()
