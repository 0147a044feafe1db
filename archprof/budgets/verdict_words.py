"""How a verdict reads: a row per limit, and a sentence on what is not kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from archprof import units
from archprof.analysis.phrases import tenths_of_percent
from archprof.analysis.table import Column, Row, Table
from archprof.units import Unit

if TYPE_CHECKING:
    from archprof.budgets.verdicts import LimitCheck

COLUMNS = (
    Column("metric", "Metric", "text", "what is limited", 0),
    Column("value", "Value", "text", "what the model has", 0),
    Column("limit", "Limit", "text", "the most it may have", 0),
    Column("over", "Over by", "text", "value - limit where the limit is broken, and as a share of the limit", 0),
    Column("change", "Change", "text", "the value against the baseline, as a share of it", 1),
    Column("source", "Set by", "text", "where the limit comes from", 2),
    Column("verdict", "Verdict", "text", "ok, broken, unknown where the value is a lower bound; or does not run", 0),
)
"""Counts and sizes stand in one column here, so each cell has its own prefix; the raw numbers are in `LimitCheck`."""


def tabulate_checks(title: str, checks: Sequence[LimitCheck], notes: Sequence[str]) -> Table:
    """One row per limit; under it what is not kept and where that sits, and what a baseline could be lowered to."""
    compared = any(check.change is not None for check in checks)
    columns = [column for column in COLUMNS if compared or column.key != "change"]
    said = [describe_check(check) for check in checks if check.status != "ok" or check.interval]
    return Table(
        title=title,
        columns=tuple(columns),
        rows=tuple(_make_row(check, [column.key for column in columns]) for check in checks),
        notes=(*said, *_list_improvements(checks), *notes),
    )


def _make_row(check: LimitCheck, keys: list[str]) -> Row:
    value, most = _show_both(check.value, check.limit.most, check.metric.unit)
    cells = {
        "metric": check.word,
        "value": f"at least {value}" if check.is_lower_bound else value,
        "limit": most,
        "over": _say_excess(check),
        "change": None if check.change is None else tenths_of_percent(check.change, signed=True),
        "source": check.limit.source,
        "verdict": _say_status(check),
    }
    return Row(tuple(cells[key] for key in keys), bounds=frozenset({"value", "over"} if check.is_lower_bound else ()))


def _say_status(check: LimitCheck) -> str:
    if check.refusal:
        return "does not run"
    return f"{check.status}, too close to say" if check.is_close else check.status


def _say_excess(check: LimitCheck) -> str | None:
    """By how much the limit is broken: `557.03 k (2.2%)`."""
    if check.over is None:
        return None
    share = f" ({tenths_of_percent(check.over_share)})" if check.over_share is not None else ""
    return units.show_quantity(check.over, check.metric.unit) + share


def _list_improvements(checks: Iterable[LimitCheck]) -> list[str]:
    """A line for what is below its baseline."""
    below = [(check.word, check.change) for check in checks if check.status == "ok" and check.change]
    better = [f"{header} {tenths_of_percent(change)}" for header, change in below if change < 0]
    return [f"Below the baseline: {', '.join(better)}: update the baseline?"] if better else []


def describe_check(check: LimitCheck) -> str:
    """How the value stands to its limit and, where that is broken, by how much and where it sits."""
    value, most = _show_both(check.value, check.limit.most, check.metric.unit)
    text = f"{check.word}: {'at least ' if check.is_lower_bound else ''}{value}, limit {most}"
    if check.interval:
        advice = "too close to say" if check.is_close else "measure again to be sure"
        text += f" inside its interval {check.interval}: {advice}"
    if check.refusal:
        return f"{text}. {check.refusal}"
    if check.status == "ok":
        return f"{text}."
    if check.over is None:
        return f"{text}; the value is a lower bound, so it is not known whether the limit is kept."
    largest = ", ".join(_say_part(check, *item) for item in check.largest_layers)
    return f"{text}; over by {_say_excess(check)}. Most of it: {largest}."


def _say_part(check: LimitCheck, path: str, value: float) -> str:
    share = tenths_of_percent(Fraction(value) / Fraction(check.value))
    return f"{path} ({units.show_quantity(value, check.metric.unit)}, {share})"


def _show_both(value: float, most: float, unit: Unit) -> tuple[str, str]:
    """Both numbers, to the last digit where they would look alike and are not."""
    first, second = units.show_quantity(value, unit), units.show_quantity(most, unit)
    if value != most and first == second:
        symbol, factor = units.UNIT_LADDERS[unit][0]
        whole = (number if factor == 1 else round(number / factor, 3) for number in (value, most))
        first, second = (f"{number:,} {symbol}".rstrip() for number in whole)
    return first, second
