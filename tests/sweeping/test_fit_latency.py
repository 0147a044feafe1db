"""The largest setting inside a predicted time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import archprof
from archprof.analysis.compare.predicted_times import compare_predicted_times
from archprof.analysis.view import ProfileView
from archprof.predicting.runs import add_prediction


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


@pytest.fixture
def uncounted() -> Iterator[torch.nn.Module]:
    """A convolution, and an op of which nobody said what it costs."""
    library = torch.library.Library("fitted", "FRAGMENT")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", torch.empty_like, "Meta")
    yield torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Mystery())
    library._destroy()


class Mystery(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.fitted.mystery(x)  # type: ignore[no-any-return]


def test_a_time_of_which_not_all_was_counted_is_a_lower_bound(uncounted: torch.nn.Module) -> None:
    table = archprof.fit(uncounted, ["3x8x8"], over="batch", max_latency="1ms", device="t4")
    assert all({"macs", "memory", "predicted"} <= row.bounds for row in table.rows)
    assert not any({"params", "activation"} & row.bounds for row in table.rows)  # every tensor was seen
    assert any("memory and latency are lower bounds" in note for note in table.notes)
    assert any("takes at least" in note for note in table.notes)
    assert not any("nine of ten" in note for note in table.notes)


def test_every_table_of_such_a_time_says_so(uncounted: torch.nn.Module) -> None:
    answer = archprof.predict(uncounted, ["3x8x8"], device="t4")
    profile = add_prediction(answer.passes[0][0], answer.predictions[0])
    for table in (profile.table(), profile.graph().table(), *answer.tables()):
        total = table.total or table.rows[0]
        assert "predicted" in total.bounds
    layers = profile.table()
    of_rows = {row.cells[0]: row.bounds for row in layers.rows}
    assert ["predicted" in of_rows[name] for name in ("0", "1")] == [False, True]


def test_no_ratio_to_a_time_that_may_be_longer(uncounted: torch.nn.Module) -> None:
    """The longer one may be a lower bound; of the shorter one nothing is known then."""
    answer = archprof.predict(uncounted, ["3x8x8"], device="t4")
    short = add_prediction(answer.passes[0][0], answer.predictions[0])
    known = archprof.predict("vgg11", ["3x224x224"], device="t4", batch=64)
    long = add_prediction(known.passes[0][0], known.predictions[0])
    (found,) = compare_predicted_times([ProfileView(short), ProfileView(long)], [])
    assert "cannot be told apart" in found.finding.text
    assert "against at least" in found.finding.text
