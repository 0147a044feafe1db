"""Times of ops that are remembered: the same whoever asked before, and no more of them than so many."""

from __future__ import annotations

from dataclasses import replace

import pytest

import archprof
from archprof.facts.records import Profile
from archprof.predicting.devices import resolve_device
from archprof.predicting.latency import passes, predict_latency, times


@pytest.fixture
def nothing_known() -> None:
    passes._last.clear()
    passes._steps.clear()
    times._share_table.cache_clear()


def count_ops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of the ops whose time is worked out from now on."""
    found: list[str] = []
    work = times._time_step

    def note(step: passes.Step, *rest: object) -> times.Time:
        found.append(step.kind)
        return work(step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(times, "_time_step", note)
    return found


def test_equal_ops_are_timed_once_in_all_profiles(nothing_known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG-11 has eight convolutions, the last two equal; VGG-13 has ten, the last two equal, and all of those too."""
    timed = count_ops(monkeypatch)
    device = resolve_device("t4")
    predict_latency(archprof.profile("vgg11"), device)
    assert timed.count("conv") == 7
    predict_latency(archprof.profile("vgg11"), device)
    assert timed.count("conv") == 7
    predict_latency(archprof.profile("vgg13"), device)
    assert timed.count("conv") == 9
    predict_latency(archprof.profile("vgg13"), resolve_device("l4"))
    assert timed.count("conv") == 18


def test_what_is_remembered_changes_no_number(nothing_known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    step = archprof.profile("lenet5", batch=4, train=True, optimizer="adam")
    wide = archprof.profile("lenet5", batch=64)

    def predict(profile: Profile) -> list[object]:
        asked = [("t4", {}), ("4090", {"compiled": True}), ("t4", {"channels_last": True}), ("t4", {"eager": False})]
        return [predict_latency(profile, resolve_device(name), **how) for name, how in asked]  # type: ignore[arg-type]

    first = predict(step), predict(wide)
    assert (predict(wide), predict(step)) == (first[1], first[0])
    monkeypatch.setattr(passes, "REMEMBERED", 3)
    monkeypatch.setattr(times, "REMEMBERED_STEPS", 3)
    assert (predict(replace(step)), predict(replace(wide))) == first
    assert len(passes._steps) <= 3
