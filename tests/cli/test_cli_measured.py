"""Measuring by command: what is printed, what is still printed when it fails, and the exit codes.

What takes time is replaced by hand-built measurements; one small model is really run.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import builders
import pytest

import archprof
from archprof.cli import options, profiles, progress
from archprof.errors import ArchprofError, DoesNotFit, UsageError
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.measuring import run
from archprof.torchside import free_memory

NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10))
"""


class Bench:
    """Stands for `measure_model`: notes what it is asked, and answers with a hand-built profile or an error."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object, PassRequest, MeasureRequest]] = []
        self.answers: list[object] = []

    def __call__(
        self, model: str, inputs: object, request: PassRequest, how: MeasureRequest, progress: object = None
    ) -> archprof.Profile:
        self.asked.append((model, inputs, request, how))
        answer = self.answers.pop(0) if self.answers else builders.measured()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(run, "measure_model", made)
    return made


def test_a_table_shows_latency_beside_the_counts(command: Callable, bench: Bench) -> None:
    shown = command("table", "net", "--measure", "cpu", "--batch", "8", "--channels-last", "--compile", "--train")
    assert shown.exit_code == 0
    assert "Params" in shown.stdout
    assert "Latency" in shown.stdout
    assert "gap -3.6%" in " ".join(shown.stdout.split())
    request, how = PassRequest(batch=8, train=True), MeasureRequest("cpu", channels_last=True, compiled=True)
    assert bench.asked == [("net", None, request, how)]


@pytest.mark.parametrize("words", [["--cuda"], ["--measure", "cuda"], ["--cuda", "--measure", "cuda"]])
def test_cuda_is_a_device(words: list[str], command: Callable, bench: Bench) -> None:
    assert command("table", "net", *words).exit_code == 0
    assert bench.asked == [("net", None, PassRequest(), MeasureRequest("cuda"))]


@pytest.mark.parametrize("words", [["table", "lenet5"], ["compare", "lenet5", "lenet5(num_classes=5)"]])
def test_what_cannot_be_measured_is_counted(words: list[str], command: Callable, bench: Bench) -> None:
    """The counted answer on stdout, the reason on stderr, exit code 1."""
    counted = command(*words).stdout
    bench.answers = [ArchprofError("There is no CUDA device here.", "torch is a CPU build.", "Try --measure cpu.")]
    shown = command(*words, "--cuda")
    assert (shown.exit_code, shown.stdout) == (1, counted)
    assert shown.stderr.startswith("archprof: There is no CUDA device here.")
    assert "--measure cpu" in shown.stderr
    assert len(bench.asked) == 1


def test_no_cuda_on_a_machine_without_one(command: Callable) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    counted, shown = command("table", "lenet5"), command("table", "lenet5", "--cuda", "--columns", "macs")
    assert shown.exit_code == 1
    assert "416.5" in counted.stdout
    assert "Total" in shown.stdout
    assert "--measure cpu" in shown.stderr
    assert "CUDA" in shown.stderr


def test_a_broken_model_is_not_counted_twice(command: Callable, bench: Bench) -> None:
    bench.answers = [UsageError("This does not fit.")]
    shown = command("table", "lenet5", "--measure", "cpu")
    assert (shown.exit_code, shown.stdout) == (2, "")


def test_ctrl_c_prints_what_was_measured_so_far(command: Callable, bench: Bench) -> None:
    bench.answers = [builders.measured(interrupted=True)]
    shown = command("table", "net", "--measure", "cpu")
    assert shown.exit_code == 130
    assert "Interrupted: these numbers are of what was measured until then." in shown.stdout
    assert "block.conv2" in shown.stdout or "conv2" in shown.stdout
    assert "interrupted" in shown.stderr


@pytest.mark.parametrize("words", [["epoch", "net", "--images", "10"], ["check", "net", "--max-latency", "1s"]])
def test_ctrl_c_before_there_is_an_answer(words: list[str], command: Callable, bench: Bench) -> None:
    """Neither a verdict nor an error: half a measurement holds no step, and decides nothing."""
    bench.answers = [builders.measured(interrupted=True, latencies=(), mode="train")]
    shown = command(*words, "--measure", "cpu")
    assert (shown.exit_code, shown.stdout) == (130, "")
    assert shown.stderr == "archprof: interrupted.\n"


def test_a_saved_measurement_that_was_interrupted_is_read(command: Callable, tmp_path: Path) -> None:
    builders.measured(interrupted=True).save(tmp_path / "net.json")
    shown = command("table", str(tmp_path / "net.json"))
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "Interrupted: these numbers are of what was measured until then." in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--measure", "tpu"], "Allowed: cpu, cuda"),
        (["--measure", "cpu", "--cuda"], "contradict"),
        (["--channels-last"], "--channels-last says how to measure"),
        (["--batch", "1,8"], "nothing to measure"),
        (["--batch", "auto"], "nothing to measure"),
        (["--dtype", "float32,bfloat16"], "nothing to measure"),
        (["--batch", "1,x", "--measure", "cpu"], "'1,x' is no batch size"),
        (["--batch", "1.5"], "'1.5' is no batch size"),
        (["--batch", "1,8", "--measure", "cpu", "--format", "html"], "not written as html"),
    ],
)
def test_wrong_words_are_told_before_any_work(words: list[str], said: str, command: Callable, bench: Bench) -> None:
    shown = command("table", "net", *words)
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert not bench.asked


def test_a_sweep_is_a_row_a_batch_and_dtype(command: Callable, bench: Bench) -> None:
    bench.answers = [builders.measured(), DoesNotFit("net", "cpu", 256)] * 2
    shown = command(
        "table", "net", "--measure", "cpu", "--batch", "1,256", "--dtype", "float32,bfloat16", "--format", "csv"
    )
    assert [(request.batch, request.dtype) for _, _, request, _ in bench.asked] == [
        (1, "float32"), (256, "float32"), (1, "bfloat16"), (256, "bfloat16"),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert len(rows) == 4
    assert float(rows[0]["latency"]) == pytest.approx(0.040)
    assert (rows[1]["latency"], rows[1]["note"]) == ("", "net does not fit on the cpu at batch 256")


def test_ctrl_c_ends_a_sweep_and_prints_it(command: Callable, bench: Bench) -> None:
    bench.answers = [builders.measured(), builders.measured(interrupted=True)]
    shown = command("table", "net", "--measure", "cpu", "--batch", "1,8,64")
    assert (shown.exit_code, len(bench.asked)) == (130, 2)
    assert "interrupted" in shown.stdout


def test_compare_has_latency_in_the_summary_and_the_rows(command: Callable, bench: Bench) -> None:
    shown = command("compare", "a", "b", "--measure", "cpu", "--format", "json")
    tables = json.loads(shown.stdout)
    for name, key in (("summary", "latency_change"), ("stages", "latency_b"), ("layers", "latency_b")):
        assert key in tables[name]["rows"][0], name


def test_a_report_says_that_it_is_measured(command: Callable, bench: Bench, here) -> None:
    assert command("report", "net", "--measure", "cpu", "-o", "x.html").exit_code == 0
    page = (here / "x.html").read_text()
    assert ">measured</span>" in page
    assert "id=area-latency" in page
    assert "[39.0,\xa041.0]\xa0ms; Test CPU" in page


# An epoch


def trained(**changes: object) -> archprof.Profile:
    return builders.measured(mode="train", **changes)


def test_an_epoch_follows_from_the_step(command: Callable, bench: Bench) -> None:
    bench.answers = [trained()]
    shown = command("epoch", "net", "--images", "50000", "--batch", "64", "--format", "json")
    assert bench.asked == [("net", None, PassRequest(batch=64, train=True), MeasureRequest("cpu"))]
    row = json.loads(shown.stdout)["rows"][0]
    assert row["steps"] == 50_000  # the hand-built pass is of one image
    assert row["epoch"] == pytest.approx(2000)


def test_an_epoch_of_no_images_is_wrong_usage(command: Callable, bench: Bench) -> None:
    assert command("epoch", "net", "--images", "0").exit_code == 2
    assert not bench.asked


def test_an_epoch_needs_what_can_be_measured(command: Callable, bench: Bench) -> None:
    bench.answers = [ArchprofError("There is no CUDA device here.")]
    shown = command("epoch", "lenet5", "--images", "10", "--cuda")
    assert (shown.exit_code, shown.stdout) == (1, "")


# Budgets


@pytest.mark.parametrize(("most", "code"), [("50ms", 0), ("30ms", 3)])
def test_a_limit_of_latency_measures(most: str, code: int, command: Callable, bench: Bench) -> None:
    shown = command("check", "net", "--max-latency", most, "--measure", "cpu")
    assert shown.exit_code == code
    assert "40.00 ms" in shown.stdout


def test_a_limit_of_latency_reads_a_measured_profile(command: Callable, here) -> None:
    builders.measured().save(here / "net.json")
    assert command("check", "net.json", "--max-latency", "50ms").exit_code == 0
    assert command("check", "net.json", "--max-latency", "39ms").exit_code == 3
    builders.profile().save(here / "counted.json")
    assert "--measure cpu" in command("check", "counted.json", "--max-latency", "50ms").stderr


def test_where_to_measure_can_stand_in_the_settings(command: Callable, bench: Bench, here) -> None:
    (here / "pyproject.toml").write_text(
        '[[tool.archprof.check]]\nmodel = "net"\nmeasure = "cuda"\nmax-latency = "50ms"\n'
        '[[tool.archprof.check]]\nmodel = "lenet5"\nmeasure = "cuda"\nmax-params = "1M"\n'
    )
    shown = command("check")
    assert shown.exit_code == 0
    assert bench.asked == [("net", None, PassRequest(), MeasureRequest("cuda"))]  # lenet5 is counted


# The real thing


def test_a_small_model_is_really_measured(command: Callable, here) -> None:
    (here / "net.py").write_text(NET)
    assert command("table", "net.py:Net", "--input", "3x16x16", "--measure", "cpu", "-o", "net.json").exit_code == 0
    profile = archprof.load(here / "net.json")
    assert profile.measurement is not None
    assert profile.measurement.latency is not None
    paths = {row.call_index: row.path for row in profile.layers}
    assert {paths[timing.key] for timing in profile.measurement.latency.layers} >= {"0", "1", "3"}
    shown = command("table", "net.json", "--columns", "latency,low,high,least,peak_measured")
    assert "(unattributed)" in shown.stdout
    assert "gap" in shown.stdout


# The bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_says_how_long_it_takes_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds pass between two words of a clock that the test holds."""
    screen, clock = Terminal(), iter(range(0, 1000, 10))
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("COLUMNS", "80")
    with progress.show_progress("Measuring net") as tell:
        tell(0.25, 31.4)
    first, *blanks = screen.getvalue().split("\r")[1:]
    assert first.strip() == "Measuring net [#####...............] 25%, 31 s left"
    assert not "".join(blanks).strip()


@pytest.mark.parametrize(
    ("device", "largest", "said"),
    [
        ("cpu", False, "Measuring net"),
        ("cpu", True, "Measuring net at the largest batch that fits in 900.00 MiB"),  # nine tenths of what is free
        ("cuda", True, "Measuring net at the largest batch that fits"),
    ],
)
def test_a_search_says_before_how_far_it_goes(
    device: str, largest: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(free_memory, "read_free_bytes", lambda: 1000 * 2**20)
    monkeypatch.setattr(run, "measure_model", lambda *_: builders.measured())
    monkeypatch.setattr(profiles, "show_progress", lambda what: nullcontext(told.append(what)))
    profiles.measure_model("net", None, PassRequest(), MeasureRequest(device=device, largest_batch=largest))
    assert told == [said]


def test_the_words_are_cut_before_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = Terminal(), iter(range(0, 1000, 10))
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("COLUMNS", "60")
    with progress.show_progress(f"Measuring {'x' * 80}") as tell:
        tell(0.25, 31.4)
    line = screen.getvalue().split("\r")[1]
    assert line == f"Measuring {'x' * 9} [#####...............] 25%, 31 s left"
    assert len(line) == 60 - len("^C ")


def test_no_bar_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress("Measuring net") as tell:
        tell(0.5, 1.0)
        sys.stdout.write("what a model prints\n")
    assert capsys.readouterr() == ("", "what a model prints\n")


def test_batches_and_dtypes_in_words() -> None:
    assert options.parse_batches("1, 8,auto") == [1, 8, "auto"]
    assert options.parse_batches("4") == [4]
    assert options.parse_dtypes("float32, bfloat16") == ["float32", "bfloat16"]
    assert options.parse_dtypes(None) == [None]
