"""Run as a script: hides private names of torch from archprof, then profiles small models and prints what came.

    python hidden.py NAME ...

"entry" makes `nn.Module.__call__` ask for no entry; "compiling", "measuring", "casting" and "asking" add a profile.
Prints one line per profile, or the error; and on the last line the names that were looked for.
"""

from __future__ import annotations

import importlib
import json
import operator
import sys
from typing import Any

import torch
from torch import nn

real_getter, real_import = operator.attrgetter, importlib.import_module
hidden, looked_for = set(sys.argv[1:]), set()


def hiding_getter(name: str) -> Any:
    def get(thing: Any) -> Any:
        if thing is torch:
            looked_for.add(name)
        if name in hidden:
            raise AttributeError(name)
        return real_getter(name)(thing)

    return get


def hiding_import(name: str, *rest: Any, **more: Any) -> Any:
    looked_for.add(name.removeprefix("torch."))
    if name.removeprefix("torch.") in hidden:
        raise ImportError(name)
    return real_import(name, *rest, **more)


class Attends(nn.Module):
    """Linear 4 -> 4 over 6 rows (96 MACs), attention of 3 on 3 (2 heads of 2 x 3 x 3, twice) and an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.head, self.lstm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.line(x).relu())
        with torch.autocast("cpu", enabled=False):
            return self.lstm(nn.functional.scaled_dot_product_attention(x, x, x))[0]


class Asks(Attends):
    """The gradients of the line's weight and of the LSTM's, under `enable_grad` in evaluation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            y = self.lstm(self.head(self.line(x)))[0]
            weights = [self.line.weight, self.lstm.weight_ih_l0]
            return torch.autograd.grad(y.sum(), weights)[0]


class Compiles(Attends):
    """The same, with a function that torch's compiler is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.compile(lambda t: t * 2, backend="eager")(x))


def say_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def say(make: Any, does: str = "profile", **options: Any) -> None:
    import archprof

    try:
        profile = getattr(archprof, does)(make(), torch.zeros(2, 3, 4), **options)
    except archprof.errors.ArchprofError as error:
        say_line(json.dumps({"error": type(error).__name__, "said": str(error)}))
        return
    profile.check()
    rows = [
        [layer.path, layer.call, cost.macs, cost.backward_macs]
        for layer, cost in zip(profile.layers, profile.costs, strict=True)
    ]
    notes = [*profile.notes, *(profile.measurement.notes if profile.measurement else ())]
    say_line(json.dumps({"rows": rows, "complete": profile.totals.complete, "notes": notes}))


def hide() -> None:
    """From archprof alone: torch goes on with what it has."""
    operator.attrgetter = hiding_getter
    try:
        private = real_import("archprof.torchside.private")
    finally:
        operator.attrgetter = real_getter
    private.attrgetter, private.import_module = hiding_getter, hiding_import


def main() -> None:
    if "entry" in hidden:
        nn.Module.__call__ = nn.Module._call_impl
    try:
        hide()
        say(Attends)
        say(Attends, train=True)
        if "compiling" in sys.argv:
            say(Compiles)
        if "measuring" in sys.argv:
            say(Attends, "measure")
        if "casting" in sys.argv:
            say(Attends, amp="bfloat16")
        if "asking" in sys.argv:
            say(Asks)
    except Exception as error:  # as archprof was imported
        say_line(json.dumps({"error": type(error).__name__, "said": str(error)}))
    say_line(json.dumps(sorted(looked_for)))


main()
