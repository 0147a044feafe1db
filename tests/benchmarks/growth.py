"""Time and memory of a profile against the number of layers, which should grow in proportion.

python tests/benchmarks/growth.py
"""

from __future__ import annotations

import statistics
import time
import tracemalloc

import torch
from models import stack

import archprof


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'layers':>8} {'ms':>9} {'us a layer':>11} {'MiB kept':>9} {'bytes a layer':>14} {'MiB peak':>9}")
    for layers in (100, 300, 1000, 3000, 10_000):
        with torch.device("meta"):
            model = stack(layers // 2, width=16)
        times = []
        for _ in range(5):
            start = time.process_time()
            archprof.profile(model, (1, 16))
            times.append(time.process_time() - start)
        seconds = statistics.median(times)
        tracemalloc.start()
        kept = archprof.profile(model, (1, 16))
        size, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(
            f"{layers:8,} {seconds * 1e3:9.1f} {seconds / layers * 1e6:11.1f} {size / 2**20:9.2f}"
            f" {size / layers:14.0f} {peak / 2**20:9.2f}"
        )
        del kept


if __name__ == "__main__":
    main()
