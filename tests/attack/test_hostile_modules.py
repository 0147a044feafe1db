"""Hostile modules: the module, torch and the process are as they were, and the profile is right or says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack.hostile_modules import HOSTILE, Mourns, Remembers, X
from test_peers_damage import of_model, of_process
from torch import nn
from tracing.test_harm import of_python
from zoo.harm import differences

import archprof
from archprof.errors import ArchprofError
from archprof.facts import store

pytestmark = pytest.mark.filterwarnings("ignore")


def look(model: nn.Module, x: torch.Tensor) -> dict[str, Any]:
    """All that a pass must leave."""
    return {
        "model": of_model(model),
        "torch": of_process(),
        "python": of_python(),
        "names": {name: sorted(vars(each)) for name, each in model.named_modules()},
        "outside": [getattr(model, "count", None), len(Remembers.seen), len(Mourns.died), type(model).__name__],
        "input": [x.tolist(), x.data_ptr(), x._version],
    }


WAYS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "forward": archprof.profile,
    "train": lambda model, x: archprof.profile(model, x, train=True),
    "measure": lambda model, x: archprof.measure(model, x, seconds=0.02),
    "probe": lambda model, x: archprof.probe(model, data=[x]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_the_module_and_the_process_are_as_they_were(kind: str, way: str) -> None:
    """And the MACs are those of a hand count, where they are said to be complete."""
    make, macs, trained = HOSTILE[kind]
    model, x = make(), X.clone()
    before = look(model, x)
    expected = trained if trained is not None and way in ("train", "probe") else macs
    try:
        profile = WAYS[way](model, x)
        assert store.from_json(profile.to_json()).totals == profile.totals
        assert expected is None or (profile.totals.macs, profile.totals.complete) == (expected, True)
    except ArchprofError:
        assert expected is None
    assert not differences(before, look(model, x))


@pytest.mark.parametrize(("kind", "params"), [("a layer swapped in forward", 20), ("a layer made in forward", 40)])
@pytest.mark.parametrize("train", [False, True])
def test_a_layer_in_the_place_of_another_is_not_one_more(kind: str, params: int, train: bool) -> None:
    assert archprof.profile(HOSTILE[kind].make(), X, train=train).totals.params == params
