"""The largest setting inside a predicted time."""

from __future__ import annotations

import pytest

import archprof


def test_the_largest_batch_inside_a_time() -> None:
    table = archprof.fit("lenet5", over="batch", max_latency="1ms", device="t4")
    rows = {row["setting"]: row for row in table.records()}
    best = next(row for name, row in rows.items() if row["fits"] == "yes" and f"{name}." in table.notes[0])
    over = next(row for row in rows.values() if row["fits"] == "no")
    batch = int(str(best["setting"]).split()[1])
    (own,) = archprof.predict("lenet5", device="t4", batch=batch).predictions
    assert best["predicted"] == own.whole.p50 <= 1e-3
    assert over["predicted"] > 1e-3
    assert "1.00 ms latency on NVIDIA T4" in table.title
    assert any("Predicted, not measured" in note for note in table.notes)


def test_a_time_and_the_memory_of_the_device_both_count() -> None:
    table = archprof.fit("lenet5", over="batch", max_latency=1e-3, device="t4")
    assert "memory" in table.title
    assert "GiB memory, 1.00 ms latency" in table.title


def test_a_device_of_whose_memory_nothing_is_known() -> None:
    table = archprof.fit("lenet5", over="batch", max_latency="1ms", device="EPYC 7763")
    assert "memory" not in table.title
    both = archprof.fit("lenet5", over="batch", max_latency="1ms", max_memory="2.5GiB", device="t4")
    assert "at most 2.50 GiB memory, 1.00 ms latency" in both.title


def test_a_time_needs_a_device_and_is_more_than_none() -> None:
    with pytest.raises(archprof.UsageError, match="none was named"):
        archprof.fit("lenet5", max_latency="5ms")
    with pytest.raises(archprof.UsageError, match="no budget"):
        archprof.fit("lenet5", max_latency="0ms", device="t4")
    with pytest.raises(archprof.UsageError, match="cannot be read"):
        archprof.fit("lenet5", max_latency="5", device="t4")
