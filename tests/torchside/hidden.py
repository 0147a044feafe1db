"""Run as a script: hides private names of torch from archprof, then profiles small models and prints what came.

Reads lines of names, and answers each with one line: a list of the profiles, or their errors, and of the names that
were looked for. torch is imported once, and every line is answered by a child of its own that saw nothing of others.
"entry" makes `nn.Module.__call__` ask for no entry; "compiling", "measuring", "casting" and "asking" add a profile.
"""

from __future__ import annotations

import importlib
import json
import operator
import os
import sys
from typing import Any

import torch
from torch import nn

real_getter, real_import = operator.attrgetter, importlib.import_module
hidden, looked_for = set[str](), set[str]()
answers: list[Any] = []


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


def say(make: Any, does: str = "profile", **options: Any) -> None:
    import archprof

    try:
        profile = getattr(archprof, does)(make(), torch.zeros(2, 3, 4), **options)
    except archprof.errors.ArchprofError as error:
        answers.append({"error": type(error).__name__, "said": str(error)})
        return
    profile.check()
    rows = [
        [layer.path, layer.call, cost.macs, cost.backward_macs]
        for layer, cost in zip(profile.layers, profile.costs, strict=True)
    ]
    notes = [*profile.notes, *(profile.measurement.notes if profile.measurement else ())]
    answers.append({"rows": rows, "complete": profile.totals.complete, "notes": notes})


def hide() -> None:
    """From archprof alone: torch goes on with what it has."""
    operator.attrgetter = hiding_getter
    try:
        private = real_import("archprof.torchside.private")
    finally:
        operator.attrgetter = real_getter
    private.attrgetter, private.import_module = hiding_getter, hiding_import


def answer() -> None:
    """What comes without the names in `hidden`."""
    if "entry" in hidden:
        nn.Module.__call__ = nn.Module._call_impl
    try:
        hide()
        say(Attends)
        say(Attends, train=True)
        if "compiling" in hidden:
            say(Compiles)
        if "measuring" in hidden:
            say(Attends, "measure", rounds=2, seconds=0.1)
        if "casting" in hidden:
            say(Attends, amp="bfloat16")
        if "asking" in hidden:
            say(Asks)
    except Exception as error:  # as archprof was imported
        answers.append({"error": type(error).__name__, "said": str(error)})
    sys.stdout.write(json.dumps([*answers, sorted(looked_for)]) + "\n")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            hidden.update(line.split())
            answer()
            os._exit(0)
        if os.waitpid(child, 0)[1]:  # it crashed, and whoever asked should not wait
            sys.stdout.write("null\n")
            sys.stdout.flush()


main()
