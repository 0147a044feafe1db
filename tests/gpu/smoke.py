"""Every command that the README and the guide show for a GPU, and every option of theirs, side by side.

    PYTHONPATH=. python tests/gpu/smoke.py FOLDER [--seconds 90] [--rehearse]

Only whether they end well is looked at: times that are taken side by side say nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from gpu.limited import Ended, run_limited, say  # noqa: E402  found by the line above

COMMANDS = """
table resnet50 --cuda
compare alexnet vgg11 --cuda
table resnet18 --cuda --batch 1,8,64 --dtype float32,bfloat16
table resnet18 --cuda --batch auto
table resnet18 --cuda --train
table resnet18 --cuda --train --amp bfloat16
table resnet18 --cuda --channels-last --batch 8
table resnet18 --cuda --compile
table resnet18 --cuda --compile --train
table vit_b_16 --cuda --by kind --sort latency --top 5
table resnet50 --cuda --batch 8 -o measured.json
graph resnet18 --cuda
report resnet50 --cuda -o x.html
report alexnet vgg11 --cuda -o both.html
epoch vgg16 --images 50000 --batch 64 --cuda
check net.py:Net --max-latency 5ms --cuda
calibrate -o calibration.json
probe lenet5 --batch 8 --cuda
train lenet5 --data digits --epochs 1 --batch 64 --cuda -o run
train lenet5 --data digits --epochs 1 --batch 64 --cuda --no-amp -o run-without-amp
""".strip().splitlines()

NET = """
import torch
from torch import nn


def Net():
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    return nn.Sequential(*layers), torch.zeros(1, 3, 32, 32)
"""

SIDE_BY_SIDE = 6

SMALL = dict.fromkeys(["resnet50", "resnet18", "alexnet", "vgg11", "vgg16", "vit_b_16"], "lenet5") | {
    "64": "2", "1,8,64": "1,2", "auto": "4",
}  # fmt: skip
"""What a rehearsal says instead."""

NOT_REHEARSED = ("probe", "train", "calibrate")
"""They ask torch for the GPU themselves, or take minutes of a processor."""


def list_commands(rehearse: bool) -> list[list[str]]:
    """The words of each command; in a rehearsal those that can be, with small nets."""
    found = [shlex.split(line) for line in COMMANDS]
    if not rehearse:
        return found
    kept = [words for words in found if words[0] not in NOT_REHEARSED and "--compile" not in words]
    return [[SMALL.get(word, word) for word in words] for words in kept]


def run_all(folder: Path, commands: list[list[str]], seconds: float, rehearse: bool) -> list[Ended]:
    """Run them side by side, each in a process of its own, and say of each how it ended as soon as it did."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(NET, encoding="utf-8")
    program = [sys.executable, str(HERE / "rehearsed.py")] if rehearse else [sys.executable, "-m", "archprof"]
    with ThreadPoolExecutor(1 if rehearse else SIDE_BY_SIDE) as pool:
        started = [
            pool.submit(run_limited, [*program, *words], seconds, folder / f"{at:02}.txt", folder, shown=words)
            for at, words in enumerate(commands, 1)
        ]
        found = []
        for each in as_completed(started):
            found.append(each.result())
            say(found[-1].describe())
            if not found[-1].ok:
                say("".join(f"    {line}\n" for line in found[-1].log.read_text().splitlines()[-6:]).rstrip())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=90.0, help="the most that one command may take")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, on small nets")
    parser.add_argument("--first", type=int, help="only so many commands")
    given = parser.parse_args()
    commands = list_commands(given.rehearse)[: given.first]
    found = run_all(given.folder.resolve(), commands, given.seconds, given.rehearse)
    say(f"{sum(each.ok for each in found)} of {len(found)} commands ended well")
    sys.exit(not all(each.ok for each in found))


if __name__ == "__main__":
    main()
