"""Masks that training moves: GMP, masks held for k steps, RigL; resuming them to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.compression.builders import compressor
from unified_laws.cli.build import load_format
from unified_laws.cli.entry import compose
from unified_laws.compression.backward_mask.forward import ForwardMask
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.compression.sparsifier.refreshed import Refreshed
from unified_laws.compression.sparsifier.rigl import RigL
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.swap import swap_linears, unswap_linears
from unified_laws.errors import UsageError
from unified_laws.records.record import RunRecord
from unified_laws.train import plan_run, run
from unified_laws.training.checkpoint import load_weights
from unified_laws.training.run import build_module


def trained(overrides: list[str], progress: Any = None) -> tuple[RunRecord, Path]:
    record, _, folder = run(compose("train", overrides), progress)
    return record, folder


def elsewhere(tiny: list[str], name: str) -> str:
    runs = next(o for o in tiny if o.startswith("runs_dir="))
    return f"{runs}-{name}"


def stop_at(step: int) -> Any:
    def progress(done: int, _: int) -> None:
        if done == step:
            raise RuntimeError("the cable was pulled")

    return progress


@pytest.mark.parametrize(
    "name",
    [
        "gmp50",
        "sparse50every3",
        "int4_sparse2of4every3",
        "int4_gmp75_rbbm50",
        "rigl50every3",
        "int4_rigl50every1",
    ],
)
def test_a_pulled_cable_changes_no_bit(tiny: list[str], name: str) -> None:
    settings = [*tiny, f"+format={name}", "checkpoint.steps=4"]
    if "gmp" in name:
        settings.append("format.weight.sparsifier.schedule.every=1")
    calm, calm_folder = trained([*settings, elsewhere(tiny, "calm")])
    for step in (6, 13):
        with pytest.raises(RuntimeError, match="cable"):
            trained(settings, stop_at(step))
    resumed, folder = trained(settings)
    assert resumed.attempts == 3
    assert (resumed.val_loss, resumed.train_loss) == (calm.val_loss, calm.train_loss)
    first, second = load_weights(folder), load_weights(calm_folder)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in second)
    masks = [value for key, value in first.items() if key.endswith("sparsifier.mask")]
    assert len(masks) == 5


def test_every_step_is_the_stateless_format_to_the_bit(tiny: list[str]) -> None:
    for held, plain in (
        ("sparse50every1", "sparse50"),
        ("int4_sparse75every1", "int4_sparse75"),
        ("int4_sparse2of4every1", "int4_sparse2of4"),
        ("sparse4of8pairsevery1", "sparse4of8pairs"),
    ):
        first, one = trained([*tiny, f"+format={held}"])
        second, two = trained([*tiny, f"+format={plain}"])
        assert first.run_id != second.run_id
        assert first.val_loss == second.val_loss
        weights = load_weights(one)
        assert all(torch.equal(weights[k], v) for k, v in load_weights(two).items())
    rare, _ = trained([*tiny, "+format=sparse50every7"])
    assert rare.val_loss != trained([*tiny, "+format=sparse50"])[0].val_loss


def test_stateless_formats_keep_their_keys(tiny: list[str]) -> None:
    plain, _ = plan_run(compose("train", [*tiny, "+format=bf16"]))
    sparse, _ = plan_run(compose("train", [*tiny, "+format=int4_sparse50_rbbm50"]))
    gmp, _ = plan_run(compose("train", [*tiny, "+format=gmp50"]))
    keys = list(build_module(plain)[0].state_dict())
    assert list(build_module(sparse)[0].state_dict()) == keys
    held = build_module(gmp)[0].state_dict()
    assert {k for k in held if k not in keys} == {k for k in held if k.endswith(".mask")}
    assert all(torch.equal(held[k], v) for k, v in build_module(plain)[0].state_dict().items())


class Watch:
    """A hook that notes the pruned share, the mask, the weight and its gradient at each step."""

    def __init__(self) -> None:
        self.module: nn.Module | None = None
        self.seen: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def __call__(
        self, name: str, master: nn.Parameter, projected: Tensor, *, step: int, steps: int
    ) -> None:
        assert master.grad is not None
        del step, steps
        row = (projected != 0, master.detach().clone(), master.grad.clone())
        self.seen.setdefault(name, []).append(row)


def watched(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()

    def with_hook(config: Any, **kwargs: Any) -> Any:
        plan, store = plan_run(config, **kwargs)
        return dataclasses.replace(plan, before_step=[watch]), store

    monkeypatch.setattr("unified_laws.train.plan_run", with_hook)
    trained(overrides)
    return watch


def test_gmp_follows_the_cubic_at_every_step(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*tiny, "+format=gmp80", "format.weight.sparsifier.schedule.every=2"]
    for rows in watched(settings, monkeypatch).seen.values():
        assert len(rows) == 20
        for step, (kept, _, _) in enumerate(rows):
            done = min(step // 2 * 2 / 15, 1.0) if step < 15 else 1.0
            sparsity = 0.8 * (1 - (1 - done) ** 3)
            assert kept.sum().item() == round((1 - sparsity) * kept.numel())


@pytest.mark.parametrize("name", ["sparse2of4", "sparse4of8pairs", "sparse50"])
def test_a_held_mask_moves_every_k_steps_and_keeps_its_pattern(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    watch = watched([*tiny, f"+format={name}every5"], monkeypatch)
    moved: set[int] = set()
    for rows in watch.seen.values():
        for step, (kept, _, _) in enumerate(rows):
            if name == "sparse2of4":
                assert (kept.view(-1, 4).sum(1) == 2).all()
            elif name == "sparse4of8pairs":
                pairs = kept.view(-1, 4, 2)
                assert torch.equal(pairs[..., 0], pairs[..., 1])
                assert (pairs[..., 0].sum(1) == 2).all()
            else:
                assert kept.sum() == round(0.5 * kept.numel())
            if step and not torch.equal(kept, rows[step - 1][0]):
                moved.add(step)
    assert moved == {5, 10, 15}


@pytest.mark.parametrize("every", [1, 4])
def test_rigl_moves_the_mask_and_keeps_the_count(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    watch = watched([*tiny, f"+format=rigl75every{every}"], monkeypatch)
    for rows in watch.seen.values():
        moved = []
        for step, (kept, master, gradient) in enumerate(rows):
            # a grown connection starts from an exact zero, so the share is that of the gradient
            passing = gradient != 0
            assert passing.sum() <= round(0.25 * kept.numel())
            assert (master[passing & ~kept] == 0).all()
            if step:
                moved.append(bool((passing & ~(rows[step - 1][2] != 0)).any()))
        updates = [step > 0 and step % every == 0 and step < 15 for step in range(1, 20)]
        assert all(update for update, move in zip(updates, moved, strict=True) if move)
        assert sum(moved) >= sum(updates) - 2  # late updates exchange less than one value


def rigl(sparsity: float = 0.5, every: int = 10) -> RigL:
    return RigL(sparsity=sparsity, every=every, stop=0.75, fraction=0.3)


def test_rigl_drops_the_smallest_and_grows_the_largest_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    y, gradient = torch.randn(2, 20, 30, generator=generator)
    own = rigl()
    own.attach(y)
    assert own.mask is not None
    before = own.mask.clone()
    y = torch.where(before, y, 5 * y)  # pruned magnitudes play no part
    grown = own.before_update(y, gradient, step=10, steps=100)
    count = round(own.share(step=10, steps=100) * 300)
    assert own.share(step=10, steps=100) == pytest.approx(0.15 * (1 + 0.9135454576426009))
    assert grown is not None
    assert own.mask.sum() == before.sum() == 300
    kept = y[before].abs().sort().values
    dropped = before & ~own.mask
    assert y[dropped].abs().max() <= kept[count - 1]
    assert torch.equal(grown, own.mask & ~before)
    candidates = ~before | (before & (y.abs() <= kept[count - 1]))
    largest = gradient[candidates].abs().sort().values[-count]
    assert gradient[grown].abs().min() >= largest
    for step in (0, 5, 75, 80):
        assert own.before_update(y, gradient, step=step, steps=100) is None


def test_rigl_refuses_what_hides_the_gradient() -> None:
    with pytest.raises(UsageError, match=r"RigL: got the backward mask .*take backward_mask full"):
        compressor(sparsifier=rigl(), backward_mask=ForwardMask())
    with pytest.raises(UsageError, match=r"RigL every: got 0"):
        rigl(every=0)
    with pytest.raises(UsageError, match=r"RigL fraction: got 0"):
        RigL(sparsity=0.5, every=1, stop=0.5, fraction=0)


@pytest.mark.parametrize("name", ["gmp50", "rigl50", "sparse50every10", "sparse2of4every10"])
def test_swap_and_unswap(name: str) -> None:
    model = nn.Sequential(nn.Linear(32, 16))
    w = model[0].weight
    swap_linears(model, load_format(name), within="")
    layer = model[0]
    assert isinstance(layer, CompressedLinear)
    assert layer.weight is w
    # Right after the swap: the representation of the end of training.
    assert (layer.projected_weight() == 0).sum().item() == 256
    other = nn.Sequential(nn.Linear(32, 16))
    swap_linears(other, load_format(name), within="")
    other.load_state_dict(model.state_dict())
    x = torch.randn(3, 32)
    assert torch.equal(other(x), model(x))
    unswap_linears(model)
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert model[0].weight is w


def test_a_mask_is_refreshed_of_what_chooses_by_values() -> None:
    for base in (rigl(), Dense()):
        with pytest.raises(UsageError, match=r"refreshed base: got .*take semi_structured"):
            Refreshed(base, 5)
    with pytest.raises(UsageError, match=r"refreshed refresh: got 0"):
        Refreshed(SemiStructured(2, 4), 0)
    with pytest.raises(UsageError, match=r"got in_features 30, allowed are multiples of 4"):
        Refreshed(SemiStructured(2, 4), 5).bind(30)


def test_a_held_mask_has_the_shape_of_a_weight() -> None:
    format = load_format("gmp50")
    wrong = dataclasses.replace(format, weight=None, activation=format.weight)
    with pytest.raises(UsageError, match="on activations, allowed is it on weights alone"):
        wrong.bind(32)


@pytest.mark.parametrize("name", ["gmp50", "rigl75", "sparse50every10"])
def test_unattached_it_is_the_end_of_the_schedule(name: str) -> None:
    weight = load_format(name).weight
    assert weight is not None
    assert isinstance(weight.sparsifier, HeldSparsifier)
    x = torch.randn(16, 16)
    assert torch.equal(weight(2 * x), 2 * weight(x))
    assert (weight(x) != 0).sum().item() == round(weight.sparsifier.kept_fraction * 256)


@pytest.mark.parametrize("name", ["gmp50", "rigl50", "sparse50every10"])
def test_banded_masks_need_a_mask_of_this_step(name: str) -> None:
    if name == "gmp50":
        assert load_format(f"{name}_rbbm50").name == "gmp50_rbbm50"
    else:
        with pytest.raises(UsageError):
            load_format(f"{name}_rbbm50")
