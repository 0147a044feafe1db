"""Ctrl-C wherever Python looks for signals: nothing of the model, of torch or of the process is left changed."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
import torch._dynamo  # its tables and its stance are part of what must not change
from torch import nn
from tracing.test_harm import nothing_changes

import archprof

WATCHED = str(Path(archprof.__file__).parent), contextlib.__file__
"""Where state is changed and put back."""

AT_EITHER_END = 120
"""Steps at the start and at the end of a pass, of which none is left out: there the state of the process changes."""


class Interrupt:
    """Ctrl-C at one step of a pass: where a function is entered, or where a call comes back. Without `at`, a count."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.steps, self.place = at, 0, "nowhere"

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" or not frame.f_code.co_filename.startswith(WATCHED) or is_not_looked_at(frame, event):
            return
        self.steps += 1
        if self.steps == self.at:
            self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}, {event}"
            raise KeyboardInterrupt  # after which Python does not call us again


def is_not_looked_at(frame: FrameType, event: str) -> bool:
    """Python does not look for signals where a generator is left, but where `next` comes back, nor as `with` begins."""
    code = frame.f_code
    return event == "return" and (bool(code.co_flags & inspect.CO_GENERATOR) or code.co_name == "__enter__")


def run_interrupted(interrupt: Interrupt, model: nn.Module, **how: Any) -> Interrupt:
    before = sys.getprofile()
    try:
        sys.setprofile(interrupt)
        archprof.profile(model, (2, 4), **how)
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(before)
    return interrupt


@functools.lru_cache
def make_scale(size: int) -> float:
    return 1 / size


class Scales(nn.Linear):
    """What its forward calls stands outside of the model."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * make_scale(4)


def make_model() -> nn.Module:
    return nn.Sequential(Scales(4, 4), nn.BatchNorm1d(4))


def count_steps(how: dict[str, Any]) -> int:
    return min(run_interrupted(Interrupt(), make_model(), **how).steps for _ in range(3))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what comes in a weak reference's call
def test_ctrl_c_leaves_nothing_changed() -> None:
    steps = count_steps({})
    between = random.Random(0).sample(range(AT_EITHER_END, steps - AT_EITHER_END), 40)
    check_moments([*range(1, AT_EITHER_END), *between, *range(steps - AT_EITHER_END, steps)], {})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", [{}, {"train": True, "amp": "bfloat16", "checkpoint": "1"}])
def test_ctrl_c_at_every_moment(how: dict[str, Any]) -> None:
    check_moments(range(1, count_steps(how)), how)


def check_moments(moments: Any, how: dict[str, Any]) -> None:
    model, places, cached = make_model(), set(), make_scale
    for at in moments:
        interrupt = Interrupt(at)
        try:
            with nothing_changes(model):
                run_interrupted(interrupt, model, **how)
        except AssertionError as error:
            raise AssertionError(f"Ctrl-C at {interrupt.place}") from error
        assert make_scale is cached, interrupt.place
        places.add(interrupt.place)
    assert len(places) > AT_EITHER_END / 4
