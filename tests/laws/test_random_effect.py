"""Variance components: the closed form of balanced designs, planted blocks, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, RHO
from unified_laws.errors import UsageError
from unified_laws.laws.block_effect import fit_random_effect, label_groups
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.replicates import pooled_noise
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable

SIZES, RATIOS, SEEDS = (1e6, 4e6, 1.6e7), (20.0, 80.0), 4


def blocks_table(sigma_block: float, sigma_run: float, seed: int) -> RunTable:
    """Every format in every (N, D, seed): what the formats of a block share cancels in rho."""
    generator = np.random.default_rng(seed)
    rows, loss = [], []
    for n in SIZES:
        for ratio in RATIOS:
            for replicate in range(SEEDS):
                shared = sigma_block * generator.standard_normal()
                for name, rho in RHO.items():
                    own = sigma_run * generator.standard_normal()
                    rows.append((name, n, n * ratio, replicate))
                    loss.append(float(LAW.predict(n, n * ratio, rho)) * math.exp(shared + own))
    return RunTable(
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        np.array(loss),
        np.array([row[3] for row in rows], dtype=np.int64),
        np.full(len(rows), np.nan),
    )


def fit(table: RunTable, effect: str | None, **options: str) -> LawsResult:
    return fit_laws(
        table,
        dense="bf16",
        delta=1e-3,
        starts=8,
        bootstrap=0,
        seed=0,
        objective="least_squares",
        random_effect=effect,
        **options,  # type: ignore[arg-type]
    )


def test_planted_components_are_found_and_rho_narrows() -> None:
    """Pooled over ten tables: each component within 4 standard errors; rho near 1 narrows.

    A rho far from 1 rests on alpha, which only differences between blocks tell: its interval may
    widen, and rightly, as the plain fit takes the runs of a block for independent evidence.
    """
    found, hits, ratios = [], [], []
    for seed in range(10):
        table = blocks_table(0.01, 0.002, seed)
        plain, mixed = fit(table, None), fit(table, "block")
        assert mixed.components is not None
        found.append((mixed.components.sigma_group, mixed.components.sigma_run))
        assert mixed.components.p < 1e-6
        assert mixed.components.groups == len(SIZES) * len(RATIOS) * SEEDS
        for name in list(RHO)[1:]:
            wide, narrow = plain.capacity(name), mixed.capacity(name)
            if name == "int4":
                ratios.append((narrow.high - narrow.low) / (wide.high - wide.low))
            hits.append(narrow.low <= RHO[name] <= narrow.high)
    mean = np.mean(found, axis=0)
    # 24 blocks less the law's 5 parameters: relative error 1/sqrt(2*19) each, ten tables.
    assert mean[0] == pytest.approx(0.01, rel=4 / math.sqrt(2 * 19 * 10))
    # 120 runs less 24 blocks and 4 capacities.
    assert mean[1] == pytest.approx(0.002, rel=4 / math.sqrt(2 * 92 * 10))
    # Without the block its noise of .01 is in every comparison.
    assert max(ratios) < 0.6
    # 40 intervals that share their blocks by four: as ten, one or two may miss.
    assert np.mean(hits) >= 0.8


def test_balanced_one_way_layout_is_the_analysis_of_variance() -> None:
    """REML of a mean and balanced groups is (MSB - MSW)/m and MSW (Searle et al. 1992, §3.8)."""
    generator = np.random.default_rng(3)
    groups, size = 12, 5
    index = np.repeat(np.arange(groups), size)
    noise = generator.standard_normal(groups)[index] + generator.standard_normal(groups * size)
    from unified_laws.laws.block_effect import _best_ratio, _criterion

    design = np.ones((groups * size, 1))
    ratio = _best_ratio(noise, design, index, "reml")
    _, variance = _criterion(ratio, noise, design, index, "reml")
    means = noise.reshape(groups, size).mean(axis=1)
    within = float(np.square(noise - means[index]).sum()) / (groups * (size - 1))
    between = size * float(np.square(means - means.mean()).sum()) / (groups - 1)
    assert variance == pytest.approx(within, rel=1e-5)
    assert ratio * variance == pytest.approx((between - within) / size, rel=1e-4)
    quiet = noise - means[index]  # groups that agree better than chance: the effect is zero
    assert _best_ratio(quiet, design, index, "reml") == 0.0
    ratio = _best_ratio(noise, design, index, "ml")
    _, variance = _criterion(ratio, noise, design, index, "ml")
    biased = (between * (groups - 1) / groups - within) / size
    assert ratio * variance == pytest.approx(biased, rel=1e-4)


def test_no_block_effect_changes_next_to_nothing() -> None:
    table = blocks_table(0.0, 0.002, 1)
    plain, mixed = fit(table, None), fit(table, "block")
    assert mixed.components is not None
    assert mixed.components.sigma_group < 0.001
    assert mixed.components.p > 0.01
    for name in RHO:
        assert mixed.capacity(name).rho == pytest.approx(plain.capacity(name).rho, rel=5e-3)


def test_a_misfit_shared_by_seeds_is_a_configuration_effect() -> None:
    """Seeds that agree on a misfit: said, and treated as one piece of evidence on request."""
    table = blocks_table(0.0, 0.0, 0)
    generator = np.random.default_rng(9)
    labels = label_groups(table, "configuration")
    shared = {label: 0.01 * generator.standard_normal() for label in dict.fromkeys(labels)}
    loss = table.val_loss * np.exp(
        [shared[label] for label in labels] + 0.001 * generator.standard_normal(len(table))
    )
    table = RunTable(
        table.formats, table.num_params, table.num_tokens, loss, table.seed, table.epochs
    )
    plain, mixed = fit(table, None), fit(table, "configuration")
    assert plain.replicates is not None
    assert plain.replicates.stderr_log == pytest.approx(0.001, rel=0.3)
    assert plain.replicates.misfit_p < 1e-6
    assert any("seeds of one configuration are not independent" in t for t in plain.fit.warnings)
    narrow, honest = plain.capacity("int4"), mixed.capacity("int4")
    # Four seeds that say the same thing are one run: intervals twice as wide.
    assert (honest.high - honest.low) / (narrow.high - narrow.low) == pytest.approx(2, rel=0.35)


def test_replicates_pool_what_seeds_scatter() -> None:
    table = blocks_table(0.0, 0.003, 4)
    found = pooled_noise(table)
    assert found is not None
    assert found.degrees_of_freedom == len(table) - len(table) // SEEDS
    assert found.stderr_log == pytest.approx(0.003, rel=4 / math.sqrt(2 * found.degrees_of_freedom))
    auto = fit_laws(table, dense="bf16", delta="auto", starts=4, bootstrap=0, seed=0)
    assert auto.delta == pytest.approx(1.345 * found.stderr_log)
    assert "seeds of one configuration scatter by" in auto.summary()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"random_effect": "size"}, "random_effect is 'size'; allowed is null, block"),
        ({"components": "mle"}, "components is 'mle'; allowed is reml, ml"),
        ({"objective": "huber"}, "set objective=least_squares"),
    ],
)
def test_wrong_settings(options: dict[str, str], said: str) -> None:
    usual = {"random_effect": "block", "objective": "least_squares"}
    with pytest.raises(UsageError, match=said):
        fit_laws(
            blocks_table(0.01, 0.002, 0),
            dense="bf16",
            delta=1e-3,
            starts=2,
            bootstrap=0,
            seed=0,
            **{**usual, **options},  # type: ignore[arg-type]
        )


def test_blocks_need_seeds_and_company() -> None:
    table = blocks_table(0.01, 0.002, 0)
    unknown = RunTable(
        table.formats,
        table.num_params,
        table.num_tokens,
        table.val_loss,
        np.full(len(table), -1, dtype=np.int64),
        table.epochs,
    )
    with pytest.raises(UsageError, match="needs the seed of every run, and 120 have none"):
        label_groups(unknown, "block")
    keep = [i for i in range(len(table)) if table.formats[i] == "bf16"]
    alone = RunTable(
        tuple(table.formats[i] for i in keep),
        table.num_params[keep],
        table.num_tokens[keep],
        table.val_loss[keep],
        table.seed[keep],
        table.epochs[keep],
    )
    with pytest.raises(UsageError, match="needs runs that share N, D and seed, and no two do"):
        label_groups(alone, "block")


def test_blocks_are_resampled_whole() -> None:
    table = blocks_table(0.01, 0.002, 0)
    laws = fit_laws(
        table,
        dense="bf16",
        delta=math.inf,
        starts=4,
        bootstrap=40,
        seed=0,
        objective="least_squares",
        random_effect="block",
    )
    drawn = laws.interval_of("rho of int4", "bootstrap")
    profile = laws.interval_of("rho of int4", "profile")
    assert (drawn.high - drawn.low) / (profile.high - profile.low) == pytest.approx(1, rel=0.5)
    estimate = estimate_law(table, dense="bf16", delta=math.inf, starts=4, fixed={})
    labels = label_groups(table, "block")
    found, components = fit_random_effect(estimate, labels, group="block", method="reml")
    assert components.sigma_group == pytest.approx(laws.components.sigma_group)  # type: ignore[union-attr]
    assert found.objective.whiten is not None
