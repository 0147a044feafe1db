"""One thing that is counted, measured or said, and how it adds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from archprof.analysis.table import Column, Value
from archprof.facts.records import Cost, Op
from archprof.units import Unit

if TYPE_CHECKING:
    from archprof.analysis.counts import Counts
    from archprof.analysis.view import ProfileView

AddsUp = Literal["sum", "part", "maximum", "ratio", "share", "fact"]
Bound = Literal["", "unsized", "stopped", "unknown"]
CountsValue = Callable[["Counts", "Counts"], Value]
RowValues = Callable[["ProfileView"], Sequence[Any]]

EVERY_GROUPING = ("layer", "stage", "kind", "op")
BY_ROWS = ("layer", "stage", "kind")
"""The groupings of rows: what is known of a module call, and not of an op."""


def divide(value: float | None, by: float | None) -> float | None:
    """`None` where there is nothing to divide, or nothing to divide by."""
    return None if value is None or not by else value / by


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is counted, measured or said.

    Attributes:
        key: its name in `--columns`, in JSON and in CSV.
        header: its name at the head of a column.
        unit: of the raw values.
        meaning: of the value of a row, in one line.
        rank: see `Column`; of the layer tables.
        adds: how a group is made of its parts: "sum", "part" (of such a sum, as its interval), "maximum" (of a call
            with all that it calls), "ratio" of two sums of the group, "share" of the model's sum, or "fact" (of one
            row, which no group has).
        family: columns of one family are read against each other, and print with one prefix.
        name: in a sentence; left out: the header.
        label: where the dtype is said elsewhere; left out: the header.
        whole: its meaning for a whole model; left out: `meaning`.
        bound: what makes it a lower bound: an op that is "unknown" or a forward that "stopped", the last alone, a
            parameter that is "unsized", or none of these.
        by: the groupings that have it as a column.
        reads: the sums that it is made of.
        value: of a line, from its sums and those of the model; a fact has none.
        of_op: what an op adds to the sum.
        of_cost: the sum read off what some ops cost together, given the dtype of the pass.
        by_row: the value of each row of a profile, in the order of `Profile.layers`.
        whole_value: of a whole model, where that is not the sum over its rows.
        measured: it needs a measurement.
        trained: it is that of a backward pass, and `None` without one.
    """

    key: str
    header: str
    unit: Unit
    meaning: str
    rank: int = 9
    adds: AddsUp = "fact"
    family: str = ""
    name: str = ""
    label: str = ""
    whole: str = ""
    bound: Bound = ""
    by: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    value: CountsValue | None = None
    of_op: Callable[[Op], int] | None = None
    of_cost: Callable[[Cost, str], Any] | None = None
    by_row: RowValues | None = None
    whole_value: Callable[[ProfileView], Any] | None = None
    measured: bool = False
    trained: bool = False

    @property
    def short_label(self) -> str:
        """Its name where the dtype is said elsewhere."""
        return self.label or self.header

    @property
    def column(self) -> Column:
        """Its column in the layer tables."""
        adds = self.adds in ("sum", "share")
        return Column(self.key, self.header, self.unit, self.meaning, self.rank, self.family, is_sum=adds)

    def column_of_model(self, rank: int, **other: Any) -> Column:
        """Its column in a table with a row for each model; `other` fields are set as given."""
        said = {"key": self.key, "header": self.header, "unit": self.unit, "meaning": self.whole or self.meaning}
        return Column(**{**said, "rank": rank, **other})

    @property
    def short_word(self) -> str:
        """Its header as it stands inside a line: "params", "MACs"."""
        return self.header if self.header[1:2].isupper() else self.header.lower()

    @property
    def word(self) -> str:
        """Its name inside a sentence: "parameters", "MACs"."""
        return self.name or self.short_word

    @property
    def title(self) -> str:
        """Its name at the start of a line: "Parameters", "MACs"."""
        return self.word[:1].upper() + self.word[1:]
