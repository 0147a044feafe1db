"""Ctrl-C at any moment of any command: exit code 130, one line, no file half written, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

COMMANDS = {
    "table": ["table", "resnet18", "-o", "out.json"],
    "python": ["table", "net.py:Net", "--input", "4", "-o", "out.csv"],
    "measured": ["table", "vgg16", "--measure", "cpu", "-o", "out.json"],
    "compare": ["compare", "alexnet", "vgg11", "-o", "out.md"],
    "report": ["report", "alexnet", "-o", "out.html"],
    "check": ["check", "resnet18", "--max-params", "1G", "--format", "junit", "-o", "out.xml"],
    "whatif": ["whatif", "vgg11", "--add-bn", "-o", "out.py"],
    "inputs": ["inputs", "alexnet", "--where", "features.0=55x55"],
    "fit": ["fit", "alexnet", "--max-macs", "1G"],
    "memory": ["memory", "alexnet", "--train"],
    "verify": ["verify", "alexnet"],
    "epoch": ["epoch", "lenet5", "--images", "1000"],
    "calibrate": ["calibrate", "--cpu", "-o", "out.json"],
    "models": ["models", "resnet"],
    "devices": ["devices"],
    "guide": ["guide", "ci"],
    "sweep": ["sweep", "alexnet", "vgg11", "--batch", "1,2,4"],
    "shard": ["shard", "alexnet", "--mesh", "fsdp=2", "--train", "-o", "out.csv"],
    "predict": ["predict", "alexnet", "--device", "h100,t4", "-o", "out.md"],
    "train": ["train", "lenet5", "--data", "digits", "--epochs", "50", "-o", "run"],
    "probe": ["probe", "alexnet", "--batch", "8", "-o", "out.json"],
    "mesh": ["fit", "alexnet", "--over", "mesh", "--gpus", "8", "--device", "h100", "--train"],
    "graph": ["graph", "vgg11", "-o", "out.csv"],
}  # fmt: skip

AT_ONCE = {"guide"}
"""Ends within the time that Python takes to begin."""

PACKAGE = Path(__file__).parents[2] / "archprof"

ENDS = {"json": "}\n", "html": "</html>\n", "xml": ">\n", "md": "\n", "csv": "\n", "py": "\n"}


def interrupt(words: list[str], folder: Path, seconds: float) -> tuple[int, str]:
    """The exit code and the messages of a command that is interrupted after so many seconds."""
    (folder / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n"
    )
    place = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": place, "OF_THIS_COMMAND": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-m", "archprof", *words],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    with pytest.raises(ProcessLookupError):  # of its session nothing is left
        os.killpg(process.pid, 0)
    assert not list_processes(f"OF_THIS_COMMAND={folder}"), "a process in a session of its own goes on"
    return process.returncode, said


def list_processes(setting: str) -> list[Path]:
    """Of those that run those with this setting in their environment, which a process has from whoever started it."""
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            found += [each] if setting.encode() in each.read_bytes().split(b"\0") else []
    return found


def attack(name: str, folder: Path, seconds: float) -> str:
    """Interrupt a command, and say whether it was at work, had ended, or Python had not come to it."""
    code, said = interrupt(COMMANDS[name], folder, seconds)
    out = next(folder.glob("out.*"), None)
    where = f"{name} after {seconds:.3f} s: exit code {code}\n{said}"
    if out is not None:
        assert out.read_text().endswith(ENDS[out.suffix[1:]]), where
    assert not list(folder.glob(".archprof-*")), where
    if code == 0:
        return "ended"
    if code in (1, -signal.SIGINT) and str(PACKAGE) not in said and "archprof: " not in said:  # Python was starting
        return "not begun"
    assert code == 130, where
    lines = said.splitlines()
    assert lines[-1] == "archprof: interrupted.", where
    assert all(line.startswith("Wrote ") for line in lines[:-1]), where
    return "interrupted"


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.7, 1.5])
def test_a_command_is_interrupted_in_words(seconds: float, tmp_path: Path) -> None:
    attack("table", tmp_path, seconds)


def test_a_measurement_is_interrupted_in_words(tmp_path: Path) -> None:
    """It takes many seconds, so that it has surely not ended; Python may take as long to begin on a busy machine."""
    found = "not begun"
    for seconds in (3, 10, 30):
        found = attack("measured", tmp_path, seconds) if found == "not begun" else found
    assert found == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_random_moments(name: str, tmp_path: Path) -> None:
    """13 of each of 23 commands, most of them in the first second."""
    rng, found = Random(name), []
    for number in range(13):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(attack(name, folder, rng.uniform(0.02, 1) if number % 3 else rng.uniform(1, 5)))
    assert "interrupted" in found or name in AT_ONCE


WRITES = """
import sys
from pathlib import Path
from archprof import files
files.write_whole(Path("out.json"), b"x" * 2**29)
"""


def test_a_file_that_is_being_written_when_the_process_is_terminated_is_not_left(tmp_path: Path) -> None:
    """And what was there before it is there. The exit code is that of a signal."""
    (tmp_path / "out.json").write_text("before")
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    process = subprocess.Popen([sys.executable, "-c", WRITES], cwd=tmp_path, env=env)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(".archprof-*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert (tmp_path / "out.json").read_text() == "before"
