"""Whole processes against `python -c "import torch"`, in turn, median of the ratios pair by pair.

python tests/benchmarks/process.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

FLOOR = [sys.executable, "-c", "import torch"]
COMMANDS = {
    "archprof table vgg16": [sys.executable, "-m", "archprof", "table", "vgg16"],
    "archprof table resnet152": [sys.executable, "-m", "archprof", "table", "resnet152"],
    "archprof memory resnet50": [
        sys.executable, "-m", "archprof", "memory", "resnet50", "--train", "--optimizer", "adamw",
    ],
    "archprof --help": [sys.executable, "-m", "archprof", "--help"],
}  # fmt: skip


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for label, command in COMMANDS.items():
        seconds(command), seconds(FLOOR)  # once each to warm the file cache
        pairs = [(seconds(command), seconds(FLOOR)) for _ in range(rounds)]
        ours, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{label:28s} {ours:6.3f} s   import torch {floor:6.3f} s   ratio {ratio:5.2f}", flush=True)


if __name__ == "__main__":
    main()
