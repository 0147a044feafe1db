"""Predicted times as sums: of a row, of the rows of a kind, of the pass; never mixed with what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archprof.facts.overlays import RowKey
from archprof.facts.predicted import Bound, LatencyPrediction, PredictedRow, Seconds, Standing
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.analysis.counts import Counts

PREDICTED_KEYS = ("predicted", "predicted_bound", "predicted_low", "predicted_high", "share_predicted")

LIMIT_WORDS: dict[Bound, str] = {"arithmetic": "arithmetic", "memory": "memory", "launch": "launches"}

NOT_PREDICTED_NOTE = "Nothing was predicted here, so predicted columns are empty: add --device NAME."

STANDING_WORDS: dict[Standing, str] = {
    "refined": "corrected by measurements on it",
    "calibrated": "by its calibration",
    "seen": "by its datasheet; such a device was among those measured",
    "unseen": "by its datasheet; others of its maker were measured, and it was not",
    "bound": "nothing like it was measured, a bound",
}


@dataclass(frozen=True, slots=True)
class PredictedTime:
    """Predicted seconds of one row, or the sum over several.

    Attributes:
        seconds: the middle.
        least, most: between what a row lies nine times of ten; of several, the sums of theirs, which is wider than need
            be, since errors of rows partly cancel.
        arithmetic, memory, launch: what of `seconds` each is the limit of.
        whole: of the pass that it is part of: its interval is that of the sum of all rows.
    """

    seconds: float = 0.0
    least: float = 0.0
    most: float = 0.0
    arithmetic: float = 0.0
    memory: float = 0.0
    launch: float = 0.0
    whole: Seconds | None = None

    def __add__(self, other: PredictedTime) -> PredictedTime:
        return PredictedTime(
            self.seconds + other.seconds, self.least + other.least, self.most + other.most,
            self.arithmetic + other.arithmetic, self.memory + other.memory, self.launch + other.launch,
            self.whole or other.whole,
        )  # fmt: skip

    def __radd__(self, zero: int) -> PredictedTime:
        """So that `sum` can start from nothing."""
        return self

    def __bool__(self) -> bool:
        return bool(self.seconds)

    @property
    def is_whole(self) -> bool:
        """All rows of the pass are in it."""
        return self.whole is not None and math.isclose(self.seconds, self.whole.p50, rel_tol=1e-9)

    @property
    def low(self) -> float:
        return self.whole.low if self.whole and self.is_whole else self.least

    @property
    def high(self) -> float:
        return self.whole.high if self.whole and self.is_whole else self.most

    @property
    def half_interval(self) -> float:
        """A tenth of half the interval: one digit more than is sure is printed, so that rows can be told apart."""
        return (self.high - self.low) / 20

    below_resolution = False
    resolution = 0.0

    @property
    def bound(self) -> Bound | None:
        """What most of it goes to; `None` where it takes no time."""
        parts: dict[Bound, float] = {"arithmetic": self.arithmetic, "memory": self.memory, "launch": self.launch}
        largest = max(parts, key=parts.__getitem__)
        return largest if self.seconds else None


NO_TIME = PredictedTime()


def convert_row(row: PredictedRow, whole: Seconds) -> PredictedTime:
    """The sum of one."""
    return PredictedTime(*row.seconds, row.arithmetic, row.memory, row.launch, whole)


def collect_row_predictions(profile: Profile) -> Sequence[PredictedTime | None]:
    """What each row's own work should take, in the order of `Profile.layers`; `None` where nothing was predicted."""
    found = profile.prediction
    if found is None:
        return [None] * len(profile.layers)
    known = {row.key: convert_row(row, found.whole) for row in found.layers}
    nothing = PredictedTime(whole=found.whole)
    return [known.get(row.call_index, nothing) if row.call_index is not None else nothing for row in profile.layers]


def collect_outside_predictions(profile: Profile) -> dict[RowKey, PredictedTime]:
    """What belongs to no call; it closes the sum."""
    found = profile.prediction
    return {row.key: convert_row(row, found.whole) for row in found.rest} if found else {}


def _read(name: str) -> Any:
    def value(counts: Counts, total: Counts) -> float | None:
        found: PredictedTime | None = counts.predicted
        return None if found is None else getattr(found, name)

    return value


def _name_limit(counts: Counts, total: Counts) -> str | None:
    limit = counts.predicted.bound if counts.predicted else None
    return limit and LIMIT_WORDS[limit]


def _share(counts: Counts, total: Counts) -> float | None:
    return counts.predicted.seconds / total.predicted.seconds if counts.predicted and total.predicted else None


_TIME = {"unit": "seconds", "family": "latency", "reads": ("predicted",), "bound": "unknown"}
COLUMNS: tuple[dict[str, Any], ...] = (
    {"key": "predicted", "header": "Predicted", "rank": 1, "adds": "sum", "value": _read("seconds"),
     "meaning": "predicted time of its own work on --device, the middle of its interval; never a measured one",
     "by_row": lambda view: collect_row_predictions(view.profile),
     "whole": "predicted time of the whole pass on --device",
     "whole_value": lambda view: view.profile.prediction and view.profile.prediction.whole.p50, **_TIME},
    {"key": "predicted_low", "header": "Pred. low", "rank": 2, "adds": "part", "value": _read("low"),
     "meaning": "nine of ten measured times are above it, and below the next; of a sum, wider than need be",
     "whole": "nine of ten measured times are above it, and below the next",
     "whole_value": lambda view: view.profile.prediction and view.profile.prediction.whole.low, **_TIME},
    {"key": "predicted_high", "header": "Pred. high", "rank": 2, "adds": "part", "value": _read("high"),
     "meaning": "see the one before",
     "whole_value": lambda view: view.profile.prediction and view.profile.prediction.whole.high, **_TIME},
    {"key": "share_predicted", "header": "Predicted", "rank": 3, "adds": "share", "unit": "share", "family": "share",
     "meaning": "share of the predicted time of the pass", "value": _share, "reads": ("predicted",)},
    {"key": "predicted_bound", "header": "Limit", "rank": 2, "adds": "part", "unit": "text", "value": _name_limit,
     "meaning": "what most of the predicted time goes to: arithmetic, memory, or launches",
     "whole_value": lambda view: view.profile.prediction and LIMIT_WORDS[view.profile.prediction.bound],
     "reads": ("predicted",)},
)  # fmt: skip
"""The columns, as `archprof.analysis.metrics` makes them."""


def describe_prediction(profile: Profile) -> Iterator[str]:
    """On what device, how it was run, and what a reader must know to trust it."""
    found = profile.prediction
    if found is None:
        return
    yield f"Predicted, not measured, on {found.device}: {describe_way(found)}; {STANDING_WORDS[found.standing]}."
    if not found.complete:
        yield "Not all of the pass was counted: predicted times are lower bounds."
    yield from found.notes


def describe_way(found: LatencyPrediction) -> str:
    """How the pass is taken to run: `eager`, or `captured, compiled, channels last`."""
    words = ["eager" if found.eager else "captured in a graph"]
    words += ["compiled"] * found.compiled + ["channels last"] * found.channels_last
    return ", ".join(words)
