"""A sweep on this machine: what becomes of each kind of cell, of a limit, of Ctrl-C, and of asking again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import builders
import pytest

import archprof
from archprof.analysis.tables.swept import tabulate_swept
from archprof.errors import ArchprofError, UsageError
from archprof.facts.swept import Cell, fail_row
from archprof.facts.swept_files import read_swept
from archprof.sweeping import device_lock, oom_kills, process_pool, supervisor
from archprof.sweeping.cell import run_cell
from archprof.sweeping.supervisor import describe_worker
from archprof.sweeping.versions import OtherVersion, check_versions, read_versions

NETS = Path(__file__).with_name("failing_nets.py")
LIMIT = 4


class AnswersAtOnce:
    """An executor whose workers find every cell too large, without a process."""

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if call is describe_worker:
            future.set_result({"worker": "w", "versions": read_versions(), "devices": ["cpu"]})
        else:
            future.set_result([fail_row(task.empty_row, "out of memory", "Too large.") for task in args[0]])
        return future


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sweep")
    shutil.copy(NETS, made / "nets.py")
    return made


@pytest.fixture(scope="module")
def frame(folder: Path) -> Any:
    """One sweep over every kind of net."""
    names = ("prints", "killed_once", "crashes", "exits", "slow", "raises", "gone", "fine", "full")
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = [f"nets.py:{name}" for name in names]
        return archprof.sweep(words, "3", batch=[2], path="runs.csv", jobs=2, limit=LIMIT).set_index("model")
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("net", "status", "tries", "why"),
    [
        ("fine", "ok", 1, ""),
        ("prints", "ok", 1, ""),
        ("killed_once", "ok", 2, ""),
        ("crashes", "error", 2, "Its process was lost 2 times: signal SIGSEGV."),
        ("exits", "error", 1, "could not be built: SystemExit: no more"),
        ("slow", "time limit", 1, f"It took more than {LIMIT} s."),
        ("raises", "error", 1, 'could not be built: RuntimeError: <b>bold</b>, "quoted" and more'),
        ("full", "out of memory", 1, "could not be built: MemoryError"),
        ("gone", "error", 1, "There is no model in nets.py called 'gone'."),
    ],
)
def test_each_kind_of_net_is_a_row(frame: Any, net: str, status: str, tries: int, why: str) -> None:
    row = frame.loc[f"nets.py:{net}"]
    assert (row["status"], row["tries"]) == (status, tries)
    assert why in (row["why"] or "")
    if status == "ok":
        assert (row["params"], row["macs"], row["complete"]) == (3 * 4 + 4, 2 * 3 * 4, True)  # batch 2
    else:
        assert row[["params", "macs", "flops", "live_bytes"]].isna().all()
        assert not row["complete"]


def test_what_was_done_again_says_so(frame: Any) -> None:
    assert frame.loc["nets.py:killed_once"]["note"] == "Its worker was lost (signal SIGKILL), and it was done again."
    assert frame["note"].notna().sum() == 1
    assert "2 cells begun more than once, since the worker was lost." in frame.attrs["notes"]


def test_asked_again_nothing_is_run(frame: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = Path("runs.csv").read_bytes()
    words = [*frame.index, "nets.py:fine"]
    again = archprof.sweep(words, "3", batch="2,2", path="runs.csv", limit=LIMIT, engine=None)  # which is no engine
    assert again["key"].tolist() == frame["key"].tolist()
    assert again.attrs["notes"][1:3] == ["9 of them were there already.", "9 repetitions of a cell: each is done once."]
    assert Path("runs.csv").read_bytes() == before


def test_another_sweep_extends_the_file(frame: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    shutil.copy("runs.csv", "more.csv")
    ask: dict[str, Any] = {"inputs": "3", "path": "more.csv", "engine": AnswersAtOnce()}
    less = archprof.sweep(["nets.py:slow", "nets.py:full"], batch=2, limit=LIMIT - 1, **ask)
    assert less["engine"].tolist() == ["local", "local"]  # it took more than that
    more = archprof.sweep(["nets.py:slow", "nets.py:fine"], batch=[2, 3], limit=LIMIT + 1, **ask)
    assert more["engine"].tolist() == ["AnswersAtOnce", "AnswersAtOnce", "local", "AnswersAtOnce"]
    assert more.attrs["notes"][1:3] == ["1 of them were there already.", "7 rows of other sweeps in the file: kept."]
    assert len(read_swept("more.csv")) == 9 + 2
    retried = archprof.sweep(["nets.py:raises", "nets.py:fine"], batch=2, retry=True, **ask)
    assert retried["engine"].tolist() == ["AnswersAtOnce", "local"]
    assert len(read_swept("more.csv")) == 11


def test_a_changed_file_is_another_cell(tmp_path: Path) -> None:
    path, keys = tmp_path / "net.py", []
    for text in ("# one\n", "# two\n", "# two\n"):
        path.write_text(text)
        keys += archprof.sweep(f"{path}:Net", "3", engine=AnswersAtOnce())["key"].tolist()
    assert keys[0] != keys[1] == keys[2]


def test_a_table_leaves_out_what_nothing_stands_in(frame: Any, folder: Path) -> None:
    table = tabulate_swept(read_swept(folder / "runs.csv"))
    keys = [column.key for column in table.columns]
    assert {"model", "batch", "status", "why", "tries", "macs"} <= set(keys)
    assert not {"device", "predicted_seconds", "measured_seconds", "mode"} & set(keys)
    assert "<b>bold</b>" in table.to_text()
    assert "&lt;b&gt;bold" in table._repr_html_()


def test_a_measured_cell_has_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hand-built pass takes 40 ms, and its rounds are told."""
    made = builders.measured()
    monkeypatch.setattr("archprof.measuring.run.measure_model", lambda *asked: made)
    row = run_cell(Cell("vgg16", measure="cpu"), "k", {"source": f"archprof {archprof.__version__}"})
    whole = made.measurement.latencies[0].whole
    assert (row.status, row.measured_seconds) == ("ok", pytest.approx(0.040))
    assert (row.measured_low, row.measured_high) == (min(whole.medians), max(whole.medians))


@pytest.mark.slow
def test_measuring_runs_each_in_a_process_of_its_own(tmp_path: Path) -> None:
    net = tmp_path / "net.py"
    net.write_text("from torch import nn\nnet = nn.Linear\n")
    frame = archprof.sweep(f"{net}:net(in_features=3, out_features=4)", "3", batch=[1, 2], measure="cpu", jobs=2)
    assert frame["status"].tolist() == ["ok", "ok"]
    assert (frame["measured_low"] <= frame["measured_seconds"]).all()
    assert (frame["measured_seconds"] <= frame["measured_high"]).all()
    assert frame["macs"].tolist() == [12, 24]
    assert frame["worker"].nunique() == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"batch": 0}, "A batch of 0"),
        ({"batch": "1,x"}, "no batch size"),
        ({"batch": []}, "no batch or no dtype"),
        ({"dtype": "float31"}, "A pass cannot run in 'float31'"),
        ({"device": "t4000"}, "no device"),
        ({"measure": "tpu"}, "Nothing can be measured on 'tpu'"),
        ({"channels_last": True}, "How to run is said, and not where"),
        ({"optimizer": "adamw"}, "no training"),
        ({"train": True, "optimizer": "adamq"}, "adamq"),
        ({"limit": 0}, "A cell cannot take 0 s"),
        ({"limit": float("nan")}, "A cell cannot take nan s"),
        ({"inputs": "3xx"}, "cannot be read"),
        ({"inputs": [3]}, "inputs are words"),
        ({"models": []}, "no model to sweep"),
        ({"models": [int]}, "a model of type type"),
        ({"path": "x.md"}, "names no format of a sweep"),
        ({"measure": "cpu", "set": {"seq": 3}}, "cannot be measured"),
    ],
)
def test_bad_words_are_said_before_any_work(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        archprof.sweep(**{"models": "lenet5", "engine": None, **more})


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("dusk", "no engine called 'dusk'"),
        ("dask:", "no engine called"),
        ("dask://127.0.0.1", "no address of an engine"),
        ("dask://127.0.0.1:1", r"dask://127\.0\.0\.1:1 cannot be reached"),
        ("ray://127.0.0.1:1", "cannot be reached"),
        ("ray://h:99999", "no address"),
        ("slurm:partition", "no options of Slurm"),
        ("slurm", "there is no sbatch|which cannot be imported"),
        (3, "An engine cannot be of type int"),
    ],
)
def test_an_engine_that_is_none_is_said_before_any_work(engine: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArchprofError, match=said):
        archprof.sweep("lenet5", engine=engine, path=tmp_path / "runs.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="0 cells cannot run at once"):
        archprof.sweep("lenet5", jobs=0)


def test_other_versions_are_refused() -> None:
    here = {"archprof": "1.0", "torch": "2.14", "timm": "1.0"}
    check_versions(here, {**here, "timm": "0.9"}, (), "w")
    for other, packages, said in (
        ({**here, "archprof": "0.9"}, (), r"The worker w has archprof 0\.9, and this is 1\.0"),
        ({**here, "torch": "2.13"}, (), "has torch"),
        ({**here, "timm": "0.9"}, ("timm",), "has timm"),
        ({"archprof": "1.0", "torch": "2.14"}, ("timm",), "has no timm"),
    ):
        with pytest.raises(OtherVersion, match=said):
            check_versions(here, other, packages, "w")


def test_a_full_memory_is_told_from_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("oom_kill_disable 0\noom_kill 3\n")
    assert oom_kills.count_oom_kills((counter, tmp_path / "none")) == 3
    counts = iter([3, 4])
    monkeypatch.setattr(supervisor, "count_oom_kills", lambda: next(counts))

    def lose(task: supervisor.Task) -> Any:
        raise supervisor.Lost(-signal.SIGKILL, "w:1")

    monkeypatch.setattr(supervisor, "_try_once", lose)
    task = supervisor.Task(Cell("m"), "k", {}, None, ".", {}, ())
    (row,) = supervisor.run_tasks([task])
    assert (row.status, row.worker) == ("out of memory", "w:1")


def test_two_timed_cells_of_a_device_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holds it: ours gets it only afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = (
        "import sys, time; from archprof.sweeping.device_lock import hold_device\n"
        "with hold_device('cpu'):\n print('held', flush=True); time.sleep(0.5); print(time.time(), flush=True)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with device_lock.hold_device("cpu"):
        got = time.time()
    assert got >= float(other.stdout.readline())
    other.wait()


@pytest.mark.slow
def test_code_that_changes_torch_changes_no_other_cell(tmp_path: Path) -> None:
    """A file that makes every linear layer wider, then one of another file, and one of a zoo: 3 x 4 + 4 by hand."""
    plain = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Linear(3, 4))\n"
    wide = "import torch\ntorch.nn.Linear = lambda a, b: torch.nn.modules.Linear(a, 10 * b)\n"
    (tmp_path / "wide.py").write_text(wide + plain)
    (tmp_path / "plain.py").write_text(plain)
    words = [f"{tmp_path}/wide.py:net", f"{tmp_path}/wide.py:net()", f"{tmp_path}/plain.py:net", "linear-4"]
    frame = archprof.sweep(words, "3", jobs=1)
    assert frame["params"].tolist() == [3 * 40 + 40, 3 * 40 + 40, 16, 16]
    assert frame["worker"].nunique() == 3


class Idle:
    """Stands for a process."""

    pid = 1

    def __init__(self) -> None:
        self.ended = False

    def wait_until_warm(self) -> None: ...

    def is_alive(self) -> bool:
        return not self.ended

    def kill(self) -> None:
        self.ended = True


def test_a_process_that_ran_code_of_a_user_is_kept_for_that_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "CellProcess", Idle)
    pool = process_pool.ProcessPool()
    first = pool.take("a")
    pool.give_back(first, "a")
    assert pool.take("a") is first
    pool.give_back(first, "a")
    second = pool.take("")
    assert second is not first
    assert first.ended  # so that no more wait than are needed
    pool.give_back(second, "")
    assert pool.take("b") is second
    pool.give_back(second, "b")
    assert pool.take("") is not second
    pool.close()
    with pytest.raises(ArchprofError, match="The sweep was stopped"):
        pool.take("")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("timm 1.0.31", ""),
        ("archprof 0.1.0", ""),
        ("sha256 0123456789abcdef", "sha256 0123456789abcdef"),
        ("commit 0123", "commit 0123"),
        ("pkg 1.0, sha256 01", "pkg 1.0, sha256 01"),
        ("", "?"),
    ],
)
def test_whose_code_a_cell_runs(source: str, code: str) -> None:
    assert supervisor.Task(Cell("m"), "k", {"source": source}, None, ".", {}, ()).code == code
