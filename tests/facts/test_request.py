"""What is asked of a pass: each wrong value is refused once, in words that name it and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

import archprof
from archprof.errors import UsageError
from archprof.facts.request import MeasureRequest, PassRequest, request_measurement

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"batch": "8"}, "A batch cannot be '8'.", "A whole number"),
    ({"batch": 8.0}, "A batch cannot be 8.0.", "A whole number"),
    ({"batch": True}, "A batch cannot be True.", "A whole number"),
    ({"batch": "auto"}, "A batch cannot be 'auto'.", "to measure"),
    ({"batch": 0}, "A batch of 0", "1 or more"),
    ({"batch": -2}, "A batch of -2", "1 or more"),
    ({"dtype": "int64"}, "'int64'", "float32, float16, bfloat16, float64"),
    ({"dtype": 16}, "16", "float32, float16, bfloat16, float64"),
    ({"train": "yes"}, "'yes'", "True, False"),
    ({"causal": "some"}, "'some'", "full, half"),
    ({"set": {"seq": 0}}, "The length seq cannot be 0.", "1 or more"),
    ({"set": {"seq": "9"}}, "The length seq cannot be '9'.", "A whole number"),
    ({"phase": "train"}, "no phase 'train'", "prefill, decode"),
    ({"context": 9}, "A context is that of a phase.", "prefill, decode"),
    ({"phase": "decode", "context": 0}, "A context of 0 tokens", "1 or more"),
    ({"phase": "decode", "set": {"seq": 9}}, "one setting, their context", "--context"),
]
"""Keywords, what was given, and what is allowed."""


class Untouched(nn.Module):
    """Says so if it is run."""

    def forward(self, *_: Any) -> Any:
        raise AssertionError("a model was run")


@pytest.mark.parametrize(("options", "given", "allowed"), WRONG)
def test_a_wrong_value_is_told_before_a_model_runs(options: dict[str, Any], given: str, allowed: str) -> None:
    with pytest.raises(UsageError) as told:
        archprof.profile(Untouched(), (1, 3) if not {"set", "phase", "context"} & options.keys() else None, **options)
    assert given in told.value.given
    assert allowed in f"{told.value.allowed} {told.value.hint}"


@pytest.mark.parametrize("batch", ["8", 0, 2.5])
def test_every_function_that_takes_a_batch_refuses_the_same(batch: Any) -> None:
    calls = (
        lambda: archprof.profile(Untouched(), (1, 3), batch=batch),
        lambda: archprof.measure(Untouched(), (1, 3), batch=batch),
        lambda: archprof.table(Untouched(), (1, 3), batch=batch),
        lambda: archprof.compare(Untouched(), Untouched(), inputs=(1, 3), batch=batch),
        lambda: archprof.verify(Untouched(), (1, 3), batch=batch),
        lambda: archprof.whatif(Untouched(), (1, 3), batch=batch, no_fc=True),
        lambda: archprof.check(Untouched(), inputs=(1, 3), batch=batch, max_params=9),
    )
    said = set()
    for call in calls:
        with pytest.raises(UsageError) as told:
            call()
        said.add(str(told.value))
    assert len(said) == 1


def test_what_differs_from_the_default_has_the_names_that_users_know() -> None:
    assert PassRequest().list_changes() == {}
    asked = PassRequest(batch=2, train=True, lengths={"seq": 3})
    assert asked.list_changes() == {"batch": 2, "train": True, "set": {"seq": 3}}
    assert asked.list_sequence_changes() == {"set": {"seq": 3}}


def test_how_to_measure_needs_a_place() -> None:
    assert request_measurement(None) is None
    assert request_measurement("cpu", compiled=True) == MeasureRequest("cpu", compiled=True)
    with pytest.raises(UsageError, match="--channels-last, --compile says how to measure, but not where"):
        request_measurement(None, channels_last=True, compiled=True)
    with pytest.raises(UsageError, match=r"Nothing can be measured on 'tpu'\.\nAllowed: cpu, cuda\."):
        archprof.table(Untouched(), (1, 3), measure="tpu")


def test_lengths_and_phases_are_counted_and_not_measured() -> None:
    with pytest.raises(UsageError, match="--set cannot be measured"):
        archprof.table("hf:bert-base", set={"seq": 9}, measure="cpu")


def test_a_saved_profile_refuses_every_change(tmp_path: Path) -> None:
    """Also one that no pass could have: nothing can change what is saved."""
    path = str(tmp_path / "line.json")
    archprof.profile(nn.Linear(3, 2), (1, 3)).save(path)
    for option, value in {"batch": 0, "dtype": "int64", "train": True, "set": {"seq": 3}, "phase": "decode"}.items():
        with pytest.raises(UsageError, match=f"is a saved profile; {option} cannot change it"):
            archprof.profile(path, **{option: value})
    assert archprof.profile(path) == archprof.load(path)
