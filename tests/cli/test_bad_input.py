"""What a user's mistake gets: one line that says what is allowed, exit code 2, nothing left."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import assert_one_line_error, run_module
from unified_laws.cli.entry import compose
from unified_laws.cli.instantiate import instantiate
from unified_laws.errors import UsageError
from unified_laws.train import plan_run, run

TRAIN = [
    (["+format=intt4"], ["unknown format 'intt4'", "did you mean int4"]),
    (["+format=int0"], ["bits", "got 0", "from 1 to 8"]),
    (["+format=int9"], ["bits", "got 9", "from 1 to 8"]),
    (["+format=sparse0"], ["sparsity", "got 0", "between 0 and 1"]),
    (["+format=sparse100"], ["sparsity", "got 1", "between 0 and 1"]),
    (["+format=sparse-5"], ["sparsity", "got -0.05"]),
    (["+format=int4_int8"], ["set twice"]),
    (["+format=sparse3of2"], ["3", "2"]),
    (["+format=int4", "format.weight.transform.block=128"], ["128", "32"]),
    (["+format=int4", "format.weight.transform.block=48"], ["48", "power of two"]),
    (["model=micro_10kk"], ["unknown model 'micro_10kk'", "did you mean micro_10k", "llama_30m"]),
    (["optimizer=adam"], ["unknown optimizer 'adam'", "adamw"]),
    (["model.num_heads=3"], ["width 32 over 3 heads"]),
    (["seeed=1"], ["unknown key 'seeed'", "did you mean seed"]),
    (["model.widht=64"], ["unknown key 'model.widht'", "did you mean width"]),
    (["format=int4"], ["+format=NAME"]),
    (["device=tpu"], ["'tpu'", "auto, cpu, cuda"]),
    (["precision=16"], ["allowed: auto"]),
    (["devices=0"], ["devices is 0", "from 1"]),
    (["+format=bf16,int4"], ["Ambiguous", "needs -m"]),
    (["num_tokens=10"], ["10 tokens are less than one step"]),
    (["optimizer._target_=os.system"], ["'os.system' is not allowed"]),
    (["schedule.warmup_share=2"], ["warmup_share is 2"]),
    (["+format=int01"], ["unknown format 'int01'", "did you mean int1"]),
    (["+format=w04a16"], ["unknown format 'w04a16'"]),
    (["+format=int4", "format.weight.quantizer.bitz=3"], ["did you mean bits", "statistics"]),
    (["+format=int4", "format.weight.quantizer=null"], ["quantizer", "_target_"]),
    (["seed=-1"], ["seed is -1", "whole number from 0"]),
    (["seed=0.5"], ["seed is 0.5"]),
    (["model.batch_size=0"], ["model.batch_size is 0", "from 1"]),
    (["devices=two"], ["devices is 'two'"]),
    (["model.learning_rate=abc"], ["model.learning_rate is 'abc'"]),
    (["gradient_clip=inf"], ["gradient_clip is inf"]),
    (["num_tokens=0"], ["num_tokens is 0"]),
    (["log_every=0"], ["log_every is 0"]),
    (["optimizer=null"], ["Config group override", "choose an option by its name"]),
]


@pytest.mark.parametrize(("arguments", "words"), TRAIN, ids=[" ".join(a) for a, _ in TRAIN])
def test_train_in_process(
    arguments: list[str], words: list[str], tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        run(compose("train", [*tiny, *arguments]))
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("train", ["+format=intt4"], ["unknown format 'intt4'", "did you mean int4"]),
        ("train", ["+format=int4,intt4", "-m"], ["unknown format 'intt4'"]),
        ("train", ["nonsense"], ["nonsense"]),
        ("gmse", ["formats=[int4,sparse0]"], ["sparsity", "got 0"]),
        ("gmse", ["formats=int4"], ["give a list"]),
        ("gmse", ["format=int4"], ["did you mean formats", "samples"]),
        ("collect", ["runs_dir=nowhere"], ["no folder nowhere"]),
        ("fit", [], ["runs"]),
        ("fit", ["runs=absent.csv"], ["no such file: absent.csv"]),
        ("report", ["action=board", "runs=a", "laws=b"], ["unknown action 'board'", "page"]),
        ("sweep", ["sweep=demo", "action=start"], ["unknown action 'start'", "plan", "launch"]),
        ("sweep", ["sweep=dmeo"], ["unknown sweep 'dmeo'", "demo"]),
    ],
)
def test_modules_as_processes(
    module: str, arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    done = run_module(module, *arguments, cwd=tmp_path)
    assert_one_line_error(done, words)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".csv", ".log")]


RUNS = "format,num_params,num_tokens,val_loss\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        ("format,num_params,val_loss\nbf16,1,2\n", ["num_tokens"]),
        (RUNS + "bf16,100,1000,nan\n", ["val_loss", "nan"]),
        (RUNS + "bf16,100,1000,inf\n", ["val_loss", "inf"]),
        (RUNS + "bf16,0,1000,3.0\n", ["num_params", "0"]),
        (RUNS + "bf16,100,1000,3.0\n", ["1"]),
        (RUNS + "int4,100,1000,3.0\nint4,200,1000,2.9\n", ["bf16", "int4"]),
    ],
)
def test_fit_refuses_bad_tables(content: str, words: list[str], tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text(content)
    done = run_module("fit", f"runs={table}", f"out={tmp_path / 'out'}")
    assert_one_line_error(done, words)
    assert not (tmp_path / "out").exists()
    assert table.read_text() == content


def test_a_full_disk_is_one_line_and_loses_nothing(tiny: list[str], tmp_path: Path) -> None:
    """A real tmpfs of 64 KiB: the record fits, the weights do not."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("mounting a tmpfs needs root")
    try:
        done = run_module("train", *tiny, f"runs_dir={small}")
        assert_one_line_error(done, ["cannot write", str(small)])
        left = {path.name for path in small.rglob("*") if path.is_file()}
        assert left <= {"record.json", "metrics.jsonl", ".lock"}
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_read_only_place_is_one_line(tiny: list[str], tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    done = run_module("train", *tiny, f"runs_dir={blocked}/runs")
    assert_one_line_error(done, ["cannot write", "choose another runs_dir"])
    if os.geteuid() != 0:  # root writes anywhere
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
        assert_one_line_error(run_module("train", *tiny, f"runs_dir={locked}"), ["cannot write"])


def test_a_damaged_record_stops_train_and_collect_and_stays(tiny: list[str]) -> None:
    plan, _ = plan_run(compose("train", tiny))
    runs = Path(next(o for o in tiny if o.startswith("runs_dir="))[9:])
    (runs / plan.run_id).mkdir(parents=True)
    (runs / plan.run_id / "record.json").write_text('{"status": "fin')
    for done in (run_module("train", *tiny), run_module("collect", f"runs_dir={runs}")):
        assert_one_line_error(done, ["record.json", "not valid JSON"])
    assert (runs / plan.run_id / "record.json").read_text() == '{"status": "fin'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00bad", "UTF-8"),
        (b"too short\n<|endoftext|>\nto train on\n", "vocab"),
    ],
)
def test_bad_corpora(content: bytes, words: str, tiny: list[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        run(compose("train", [*tiny, f"data.source.path={text}"]))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="absent"):
        run(compose("train", [*tiny, f"data.source.path={tmp_path / 'absent.txt'}"]))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "unified_laws.training.provenance.subprocess",
        "unified_laws.records.files.os.system",
        "unified_laws.train.run",
        "unified_laws.no.such.Thing",
        "torch.load",
        "hydra.utils.call",
    ],
)
def test_instantiate_allows_exact_classes_only(target: str) -> None:
    with pytest.raises(UsageError, match=target.rpartition(".")[2]):
        instantiate({"a": [{"_target_": target}]})


def test_instantiate_refuses_what_hydra_would_resolve_later(tmp_path: Path) -> None:
    """An interpolation that is still there could hide a target from the check."""
    hidden = "${oc.create:'{_target_: pathlib.Path.touch, self: " + str(tmp_path / "made") + "}'}"
    node = {
        "_target_": "unified_laws.training.schedule.OneCycleCosine",
        "warmup_share": 0.1,
        "start_factor": 0.1,
        "final_factor": hidden,
    }
    with pytest.raises(UsageError, match="unresolved"):
        instantiate(node)
    assert not list(tmp_path.iterdir())


def test_instantiate_trusts_packages_by_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="not allowed"):
        instantiate({"_target_": "mine.Thing"})
    assert type(instantiate({"_target_": "mine.Thing"}, ["mine"])).__name__ == "Thing"
