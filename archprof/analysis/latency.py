"""How long passes should take on devices that nobody ran them on: in whole, by row, and what limits each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archprof.analysis.predicted import (
    LIMIT_WORDS,
    PREDICTED_KEYS,
    STANDING_WORDS,
    describe_way,
)
from archprof.analysis.table import Column, Row, Table
from archprof.analysis.tables.layers import tabulate_layers
from archprof.facts.predicted import LatencyPrediction, Standing
from archprof.facts.records import Profile
from archprof.predicting.latency.predict import BOUND_NOTE
from archprof.predicting.runs import add_prediction

COLUMNS = (
    Column("device", "Device", "path", "its name in the catalogue", 0),
    Column("phase", "Phase", "text", "of a decoder: prefill, or decode for one token", 0),
    Column("batch", "Batch", "count", "samples, or sequences side by side", 0),
    Column("dtype", "Dtype", "text", "of the pass", 4),
    Column("predicted", "Predicted", "seconds", "the middle of the interval", 0, "latency"),
    Column("low", "Low", "seconds", "nine of ten measured times are above it", 0, "latency"),
    Column("high", "High", "seconds", "and below it", 0, "latency"),
    Column("limit", "Limit", "text", "what most of the time goes to: arithmetic, memory, or launches", 2),
    Column("rate", "Samples/s", "count", "by the middle; tokens in a phase of a decoder", 3),
    Column("cost", "Per 1M", "money", "a million samples or tokens at the price of an hour, by the middle", 0),
    Column("standing", "Standing", "text", "how well the device is known; a bound where nothing like it is", 1),
)
MILLION, HOUR = 1e6, 3600.0

HEADERS_OF_TOKENS = {"rate": "Tokens/s"}


@dataclass(frozen=True)
class LatencyAnswer:
    """What `archprof.predict` returns. It prints as its tables.

    Attributes:
        passes: the profile of each pass, with its prediction, in the order in which devices, batches and dtypes vary.
        prices: of an hour on the device of each pass; empty where none were given.
        by: "layer", "stage" or "kind" where the rows of each pass were asked for, too.
        notes: what must be known of the names of the devices.
    """

    passes: tuple[tuple[Profile, LatencyPrediction], ...]
    prices: tuple[float, ...] = ()
    by: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def predictions(self) -> tuple[LatencyPrediction, ...]:
        """One for each device, batch and dtype."""
        return tuple(prediction for _, prediction in self.passes)

    def tables(self) -> tuple[Table, ...]:
        """All passes, a row each; then the rows of each, where they were asked for or there is one pass alone."""
        by = self.by or ("layer" if len(self.passes) == 1 else None)
        rows = [self.tabulate_rows(*each, by=by) for each in self.passes] if by else []
        return self.tabulate_passes(), *rows

    def table(self) -> Table:
        """One table: of the passes or, where they were asked for, of the rows of all of them."""
        return self.tabulate_passes() if self.by is None else self.tabulate_all_rows(self.by)

    def tabulate_passes(self) -> Table:
        """A row for each pass on each device."""
        decoding = any(profile.decoding for profile, _ in self.passes)
        shown = {"phase": decoding, "cost": bool(self.prices)}
        columns = [column for column in COLUMNS if shown.get(column.key, True)]
        named = [
            replace(column, header=HEADERS_OF_TOKENS.get(column.key) or column.header) if decoding else column
            for column in columns
        ]
        rows = tuple(self._make_row(place, [column.key for column in columns]) for place in range(len(self.passes)))
        return Table(f"Predicted latency of {self.model}", tuple(named), rows, notes=tuple(self.list_notes()))

    @property
    def model(self) -> str:
        """As it was asked for."""
        return self.passes[0][0].model

    def _make_row(self, place: int, keys: Sequence[str]) -> Row:
        profile, prediction = self.passes[place]
        whole = prediction.whole
        cells: dict[str, Any] = {
            "device": prediction.device,
            "phase": profile.decoding and profile.decoding.phase,
            "batch": prediction.batch,
            "dtype": profile.dtype_words,
            "predicted": whole.p50,
            "low": whole.low,
            "high": whole.high,
            "limit": LIMIT_WORDS[prediction.bound],
            "rate": find_rate(profile, prediction),
            "cost": self.price_million(place),
            "standing": prediction.standing,
        }
        digits = (whole.high - whole.low) / 20
        within = {key: digits for key in ("predicted", "low", "high") if digits}
        bounds = frozenset(() if prediction.complete else ("predicted", "low", "high", "cost"))
        return Row(tuple(cells[key] for key in keys), half_intervals=within, bounds=bounds)

    def price_million(self, place: int) -> float | None:
        """What a million samples of a pass cost on its device; `None` where no price was given."""
        if not self.prices:
            return None
        profile, prediction = self.passes[place]
        return prediction.whole.p50 / count_samples(profile) * MILLION / HOUR * self.prices[place]

    def list_notes(self) -> Iterator[str]:
        """What was asked, how it is taken to run, what the interval is, and which numbers are no predictions."""
        profile, first = self.passes[0]
        yield f"Input {', '.join(profile.inputs) or 'none'}; {profile.mode} pass; {describe_way(first)}."
        yield (
            "Predicted, not measured: the middle, and between what nine of ten measured times should lie; what that "
            "rests on: archprof guide latency."
        )
        yield from self.notes
        if known := [f"{word}: {STANDING_WORDS[word]}" for word in self._list_standings() if word != "bound"]:
            yield f"Standing: {'; '.join(known)}."
        yield from _describe_bounds(self.predictions)
        if not all(prediction.complete for prediction in self.predictions):
            unknown = dict.fromkeys(
                op.name for profile, _ in self.passes for op in profile.ops if op.status == "unknown"
            )
            why = f": {', '.join(unknown)}" if unknown else ""
            yield f"Not all of the pass was counted{why}. These times are lower bounds, and no rate follows from them."
        yield from dict.fromkeys(note for one in self.predictions for note in one.notes if note != BOUND_NOTE)
        yield from profile.notes

    def _list_standings(self) -> list[Standing]:
        return list(dict.fromkeys(prediction.standing for prediction in self.predictions))

    def tabulate_rows(self, profile: Profile, prediction: LatencyPrediction, by: str) -> Table:
        """The rows of one pass on one device."""
        made = add_prediction(profile, prediction)
        table = tabulate_layers(made, by=by, columns=_COLUMNS_OF_ROWS[by])
        where = f"{prediction.device}, batch {prediction.batch}, {profile.dtype_words}"
        return replace(table, title=f"{profile.model} by {by} on {where}", notes=())

    def tabulate_all_rows(self, by: str) -> Table:
        """The rows of all passes in one table, behind the device, the batch and the dtype that they are of."""
        tables = [self.tabulate_rows(*each, by=by) for each in self.passes]
        columns = (*(column for column in COLUMNS if column.key in ("device", "batch", "dtype")), *tables[0].columns)
        rows = []
        for (profile, prediction), table in zip(self.passes, tables, strict=True):
            asked = (prediction.device, prediction.batch, profile.dtype_words)
            rows += [replace(row, cells=(*asked, *row.cells), name=None) for row in table.rows if not row.subtotal]
        return Table(f"{self.model} by {by}, predicted", columns, tuple(rows), notes=tuple(self.list_notes()))

    def to_json(self) -> str:
        """`{"predictions": [{"device", "batch", "dtype", "mode", "eager", "latency_seconds", "layers"}]}`."""
        from archprof.analysis.latency_json import write_answer

        return write_answer(self)

    def __str__(self) -> str:
        return "\n".join(map(str, self.tables()))


_COLUMNS_OF_ROWS = {
    "layer": [*PREDICTED_KEYS, "kind", "call", "output", "macs"],
    "stage": [*PREDICTED_KEYS, "macs", "first", "last"],
    "kind": [*PREDICTED_KEYS, "calls", "macs"],
}
ROW_GROUPINGS = tuple(_COLUMNS_OF_ROWS)


def _describe_bounds(predictions: Sequence[LatencyPrediction]) -> Iterator[str]:
    """Which devices are known by nothing like them."""
    names = dict.fromkeys(prediction.device for prediction in predictions if prediction.standing == "bound")
    if names:
        yield (
            f"A bound, since nothing like it was ever measured: {', '.join(names)}. Low is what the datasheet allows "
            "at least; the rest is a guess with the efficiencies of other devices."
        )


def count_samples(profile: Profile) -> int:
    """Samples in a pass; in a phase of a decoder tokens."""
    if profile.decoding is not None and profile.decoding.phase == "prefill":
        return profile.batch * profile.decoding.context
    return profile.batch


def find_rate(profile: Profile, prediction: LatencyPrediction) -> float | None:
    """Samples or tokens a second, by the middle; `None` where that is a lower bound."""
    seconds = prediction.whole.p50
    return count_samples(profile) / seconds if seconds and prediction.complete else None
