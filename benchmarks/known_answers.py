"""Published fits against ours: python -m benchmarks.known_answers --data FOLDER --out FILE.

FOLDER holds the public loss tables (its README says where each comes from); without ``--out`` the
page is printed. docs/known_answers.md is its output.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.published_fits import QUEST_COLUMNS, SECTIONS, STARTS, Section
from unified_laws.laws.forms.catalogue import all_forms
from unified_laws.laws.forms.comparison import compare_laws
from unified_laws.laws.forms.observations import observe
from unified_laws.laws.forms.scores import Comparison
from unified_laws.laws.table import read_runs
from unified_laws.records.files import write_text


def preference(data: Path) -> Comparison:
    """Which law the QuEST runs prefer, of those whose columns the table has."""
    table = read_runs(data / "quest_qat_runs.csv", columns=QUEST_COLUMNS, dense="BF16")
    # The file says 16 bits for FP4 (W4A4), whose quantizer takes no number of bits.
    fp4 = np.array([label.startswith("FP4") for label in table.formats])
    bits = {name: np.where(fp4, 4.0, values) for name, values in table.covariates.items()}
    return compare_laws(
        observe(replace(table, covariates=bits), dense="BF16"),
        tuple(all_forms().values()),
        objective="huber",
        delta=1e-3,
        starts=STARTS,
        folds=10,
        seed=0,
        rank_by="aicc",
    )


def page(sections: Sequence[Section], comparison: Comparison) -> str:
    """Markdown of all sections."""
    lines = [
        "# Known answers",
        "",
        "Published fits to public tables of losses beside ours, written by "
        "`benchmarks/known_answers.py`. A dash: nothing is published.",
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.text, ""]
        lines += ["| quantity | published | ours | difference | |", "|---|---|---|---|---|"]
        for a in section.answers:
            difference = "–" if math.isnan(a.published) else f"{a.ours - a.published:+.1e}"
            lines.append(
                f"| {a.quantity} | {a.published:.{a.digits}g} | {a.ours:.{a.digits}g} "
                f"| {difference} | {a.note} |"
            )
    lines += [
        "",
        "## Which law do the QuEST runs prefer",
        "",
        f"{comparison.num_runs} runs, Huber {comparison.delta:g}. k counts fitted constants; "
        "largest: the runs of the largest N predicted from the others; folds: "
        f"{comparison.folds} random parts, each predicted from the others. The law of precision "
        "sees bits only: the same for 4-bit formats with and without Hadamard or sparsity.",
        "",
        "| law | k | log likelihood | ΔAICc | ΔBIC | rms % | largest % | folds % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    least = min(s.aicc for s in comparison.scores)
    least_bic = min(s.bic for s in comparison.scores)
    lines += [
        f"| {s.name} | {s.num_parameters} | {s.log_likelihood:.1f} | {s.aicc - least:.1f} "
        f"| {s.bic - least_bic:.1f} | {100 * s.rmse_log:.2f} | {100 * s.held_out_largest:.2f} "
        f"| {100 * s.held_out_folds:.2f} |"
        for s in comparison.scores
    ]
    lines += ["", comparison.verdict()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compute and write the page."""
    parser = argparse.ArgumentParser(description="Published fits against ours.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the loss tables")
    parser.add_argument("--out", type=Path, help="Markdown file; printed without")
    arguments = parser.parse_args()
    sections = [make(arguments.data) for make in SECTIONS.values()]
    text = page(sections, preference(arguments.data))
    if arguments.out is None:
        print(text)
    else:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
