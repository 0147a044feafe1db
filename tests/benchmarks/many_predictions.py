"""What a saved profile costs to read, and to predict on ten devices: `python tests/benchmarks/many_predictions.py`.

Printed in CPU milliseconds, the least of several rounds, and as multiples of parsing the same JSON: times differ from
machine to machine, and from hour to hour on a shared one, and their ratio much less. `--profiles 1000` reads and
predicts copies of the same files until there are so many, each read anew, and prints the seconds of all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import archprof
from archprof.facts import store
from archprof.facts.records import Profile
from archprof.predicting.latency import predict_latency
from archprof.predicting.runs import choose_devices

MODELS = ("resnet18", "resnet50", "vgg16", "densenet121", "mobilenet_v2", "vit_b_16", "swin_t", "regnet_y_400mf")
DEVICES = "t4,l4,a10,2080ti,3090,4090,v100,a100,h100 sxm5,mi300x"
ROUNDS = 5


def save_profiles(folder: Path) -> list[Path]:
    """The models, forward, batch 1."""
    paths = [folder / f"{model}.json" for model in MODELS]
    for model, path in zip(MODELS, paths, strict=True):
        store.save(archprof.profile(f"torchvision:{model}", ["3x224x224"]), path)
    return paths


def time_least(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """CPU seconds of the quickest round."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=0)
    asked = parser.parse_args()
    devices = [one.device for one in choose_devices(DEVICES)]
    with TemporaryDirectory() as folder:
        paths = save_profiles(Path(folder))
        texts = [path.read_text() for path in paths]

        def read() -> list[Profile]:
            return [store.load(path) for path in paths]

        def predict(profiles: list[Profile]) -> None:
            for profile in profiles:
                for device in devices:
                    predict_latency(profile, device)

        parse = time_least(lambda: [json.loads(text) for text in texts])
        both = time_least(lambda: predict(read()))
        for name, seconds in (("read", time_least(read)), ("read and predict on ten devices", both)):
            print(f"{name}: {1e3 * seconds / len(paths):.1f} ms a profile, {seconds / parse:.1f} x parsing its JSON")
        if asked.profiles:
            start = time.perf_counter(), time.process_time()
            for _ in range(asked.profiles // len(paths)):
                predict(read())
            print(f"{asked.profiles} profiles: {time.perf_counter() - start[0]:.1f} s, "
                  f"{time.process_time() - start[1]:.1f} s of CPU")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
