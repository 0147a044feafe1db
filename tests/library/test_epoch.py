"""An epoch from a measured step, in numbers worked out on paper."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof.errors import UsageError
from archprof.library import epoch


def step(batch=64, **changes):
    return replace(builders.measured(mode="train", **changes), batch=batch)


def test_by_hand():
    """782 steps of 40 ms [39, 41] are 31.28 s [30.5, 32.1]; 64 images in 40 ms are 1,600 a second."""
    (row,) = epoch.tabulate_epochs([step()], 50_000).records()
    assert (row["model"], row["device"], row["batch"], row["steps"]) == ("net", "Test CPU", 64, 782)
    assert (row["step"], row["rate"]) == pytest.approx((0.040, 1600))
    assert (row["epoch"], row["low"], row["high"]) == pytest.approx((31.28, 782 * 0.039, 782 * 0.041))


def test_minutes_are_printed_as_minutes():
    text = epoch.tabulate_epochs([step()], 1_500_000).to_text()
    assert "[min]" in text
    assert "15.6" in text  # 23,438 steps of 40 ms: 937.52 s


def test_a_row_a_device():
    rows = epoch.tabulate_epochs([step(), step(device_name="Other CPU")], 50_000).records()
    assert [row["device"] for row in rows] == ["Test CPU", "Other CPU"]


def test_a_last_step_that_is_not_full_is_said():
    assert any("has 16 images of 64" in note for note in epoch.tabulate_epochs([step()], 50_000).notes)
    assert not any("images of" in note for note in epoch.tabulate_epochs([step(batch=50)], 50_000).notes)


@given(st.integers(1, 10**7), st.integers(1, 4096))
def test_steps_hold_every_image_and_no_step_is_empty(images, batch):
    steps = epoch.count_steps(images, batch)
    assert (steps - 1) * batch < images <= steps * batch
    assert steps == ceil(images / batch)


@pytest.mark.parametrize("profile", [builders.profile, builders.measured, builders.trained])
def test_what_holds_no_measured_step_is_refused(profile):
    with pytest.raises(UsageError, match="no measured training step"):
        epoch.tabulate_epochs([profile()], 100)


@pytest.mark.parametrize(("images", "batch"), [(0, 1), (1, 0), (-5, 8)])
def test_nothing_is_no_epoch(images, batch):
    with pytest.raises(UsageError, match="1 or more"):
        epoch.count_steps(images, batch)
