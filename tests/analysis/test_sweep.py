"""Batch sizes and dtypes side by side."""

from __future__ import annotations

import builders
import pytest

from archprof.analysis.tables import sweep
from archprof.analysis.tables.sweep import SweepCell
from archprof.facts.overlays import Outside


def records(*cells):
    return sweep.tabulate_sweep("net", cells).records()


def test_a_measured_cell_by_hand():
    """One image in 40 ms are 25 a second."""
    (row,) = records(SweepCell(1, "float32", builders.measured()))
    assert (row["batch"], row["dtype"]) == ("1", "float32")
    assert (row["latency"], row["low"], row["high"]) == pytest.approx((0.040, 0.039, 0.041))
    assert row["rate"] == pytest.approx(25)
    assert (row["peak_measured"], row["act"]) == (4096, 3112)
    assert row["gap"] == pytest.approx(38.5402 / 40 - 1)
    assert "note" not in row  # nothing to say


def test_what_does_not_fit_is_a_row():
    rows = records(
        SweepCell(1, None, builders.measured()), SweepCell(256, "float32", None, "does not fit at batch 256")
    )
    assert rows[1]["note"] == "does not fit at batch 256"
    assert {rows[1][key] for key in ("latency", "rate", "peak_measured", "gap")} == {None}
    assert rows[0]["note"] is None
    assert (
        "does not fit at batch 256"
        in sweep.tabulate_sweep("net", [SweepCell(256, None, None, "does not fit at batch 256")]).to_text()
    )


def test_doubts_are_said():
    shaky = builders.LATENCY._replace(whole=builders.timing(Outside.WHOLE, 40, 30, 50))
    rows = records(
        SweepCell(1, None, builders.measured(latencies=(shaky,), interrupted=True)),
        SweepCell(8, None, builders.measured(latencies=(), interrupted=True)),
    )
    assert rows[0]["note"] == "unstable, interrupted"
    assert rows[1]["note"] == "not measured"


def test_what_is_the_same_is_said_once():
    table = sweep.tabulate_sweep(
        "net", [SweepCell(1, None, builders.measured()), SweepCell(1, None, builders.measured())]
    )
    assert len([note for note in table.notes if note.startswith("Latency on Test CPU")]) == 1
    assert not any("Sum of the rows" in note for note in table.notes)
    assert "[ms]" in table.to_text()
    assert " 40.0 " in table.to_text()


@pytest.mark.parametrize("form", ["to_csv", "to_markdown", "to_json", "to_latex", "to_text"])
def test_every_format(form):
    text = getattr(
        sweep.tabulate_sweep(
            "net", [SweepCell(1, None, builders.measured()), SweepCell(2, None, None, "does not fit")]
        ),
        form,
    )()
    assert "does not fit" in text
