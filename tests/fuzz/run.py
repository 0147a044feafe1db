"""Check archprof on generated modules: `python -m fuzz.run --count 20000 --seed 0`, from the folder `tests`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

import torch
from fuzz.generator import generate
from fuzz.oracle import activation_elements, counted_macs, parameters

import archprof


def differences(seed: int) -> list[str]:
    """What archprof says of one module that an oracle does not."""
    model, inputs, count, train = generate(seed)
    profile = archprof.profile(model, tuple(inputs), train=train)
    profile.check()
    totals = profile.totals
    forward, backward = counted_macs(model, inputs, train=train)
    expected = {
        "params by formula": (totals.params, sum(count.params.values()) + count.late),
        "params by torch": (totals.params - count.unlisted, parameters(model, inputs)),
        "macs by formula": (totals.macs, count.macs),
        "macs by torch": (totals.macs, forward),
        "backward macs by formula": (totals.backward_macs or 0, count.backward),
        "backward macs by torch": (totals.backward_macs or 0, backward),
        "activation elements": (totals.activation_elements, activation_elements(model, inputs, train=train)),
        "complete": (totals.complete, True),
        "on meta": (profile.ran.device, "meta"),
    }
    return [f"{what}: {ours}, and it is {theirs}" for what, (ours, theirs) in expected.items() if ours != theirs]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    wrong, start = 0, time.perf_counter()
    for seed in range(options.seed, options.seed + options.count):
        try:
            found = differences(seed)
        except Exception:
            found = [traceback.format_exc(limit=-3)]
        if found:
            wrong += 1
            say("\n  ".join([f"seed {seed}", *found]))
    seconds = time.perf_counter() - start
    say(f"{options.count} modules from seed {options.seed}: {wrong} differ, {seconds:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
