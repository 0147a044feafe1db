"""The network along its length: a pass cut into blocks in order, with what each costs and what flows between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

from archprof import units
from archprof.analysis import elapsed
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.network.columns import MAX_COLUMNS, PieceColumn, arrange_pieces, choose_columns
from archprof.analysis.network.flows import find_edges, map_ops
from archprof.analysis.network.live import LiveBytes, draw_live_lane, measure_live_bytes
from archprof.analysis.network.naming import name_range
from archprof.analysis.network.pieces import Piece, cut_pass
from archprof.analysis.network.strip import Block, Lane, Network, Shape
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.tables import notes
from archprof.analysis.tables.call_tree import OWN_LABEL, ROOT_LABEL
from archprof.analysis.view import ProfileView
from archprof.errors import UsageError
from archprof.facts.records import Profile

INNER_COLUMNS = 120
"""Columns of all opened blocks together, at most: a page holds every one."""


class CallTimes(NamedTuple):
    """Seconds of the own work of calls, from whatever told them.

    Attributes:
        seconds: by index into `Profile.calls`.
        source: "measured on …", or the device they are predicted for.
        is_predicted: no clock told them.
        outside: seconds of the pass that belong to no call.
        whole: of the pass, where that was told as one; the tiles and the tables have it too.
        is_bound: of a pass of which not all was counted.
    """

    seconds: Mapping[int, float]
    source: str
    is_predicted: bool = False
    outside: float = 0.0
    whole: Elapsed | PredictedTime | None = None
    is_bound: bool = False

    @property
    def words(self) -> str:
        """Where they are from, and what is in no block."""
        if self.outside <= 0:
            return self.source
        return f"{units.show_quantity(self.outside, 'seconds')} of it in no layer, {self.source}"


def build_network(
    profile: Profile | ProfileView,
    *,
    depth: int | None = None,
    times: CallTimes | None = None,
    most: int = MAX_COLUMNS,
    inner: int = INNER_COLUMNS,
) -> Network:
    """The network of a profile.

    Args:
        depth: calls inside calls that are opened; left out: as many as `most` columns allow.
        times: left out: what was measured or else predicted, if anything was.
        most: columns.
        inner: columns of all blocks that are opened; 0 for none.

    Raises:
        UsageError: for a depth below 1.
    """
    validate_depth(depth)
    view = profile if isinstance(profile, ProfileView) else ProfileView(profile)
    times = times or find_measured_times(view.profile) or find_predicted_times(view.profile)
    builder = _Builder(view, times, cut_pass(view.profile, _row_seconds(view.profile, times)))
    return builder.build_whole(most, depth, inner)


def validate_depth(depth: int | None) -> None:
    """Raise `UsageError` for a depth below 1."""
    if depth is not None and depth < 1:
        raise UsageError(
            f"A depth of {depth} shows nothing.", "Allowed: 1 and more.", "Left out, it is as deep as fits."
        )


def find_measured_times(profile: Profile) -> CallTimes | None:
    """What a clock told of each call; `None` where none did."""
    rows, measurement = elapsed.collect_row_times(profile), profile.measurement
    if measurement is None or not any(rows):
        return None
    seconds = {
        layer.call_index: time.seconds
        for layer, time in zip(profile.layers, rows, strict=True)
        if time is not None and layer.call_index is not None
    }
    whole = elapsed.find_model_time(profile)
    outside = whole.seconds - sum(seconds.values()) if whole else 0.0
    return CallTimes(seconds, f"measured on {measurement.device_title}", outside=outside, whole=whole)


def find_predicted_times(profile: Profile) -> CallTimes | None:
    """What was predicted for each call; `None` where nothing was."""
    found = profile.prediction
    if found is None:
        return None
    seconds = {row.key: row.seconds.p50 for row in found.layers if isinstance(row.key, int)}
    outside = sum(row.seconds.p50 for row in found.rest)
    source, whole = f"predicted on {found.device}", PredictedTime(*found.whole)
    return CallTimes(seconds, source, True, outside, whole, is_bound=not found.complete)


def _row_seconds(profile: Profile, times: CallTimes | None) -> list[float | None] | None:
    if times is None:
        return None
    return [None if row.call_index is None else times.seconds.get(row.call_index) for row in profile.layers]


class _Builder:
    """Networks of one profile: of the whole, and of what is inside its blocks."""

    def __init__(self, view: ProfileView, times: CallTimes | None, whole: Piece) -> None:
        self.view, self.profile, self.times, self.whole = view, view.profile, times, whole
        self.live: LiveBytes = measure_live_bytes(view.profile)

    def build_whole(self, most: int, depth: int | None, inner: int) -> Network:
        columns = choose_columns(self.whole.parts or [self.whole], self.whole, most, depth)
        made = self._build(self.view.name, columns)
        said = (*notes.describe_pass(self.profile), notes.CONVENTION_NOTE, *notes.list_reservations(self.profile))
        return replace(self._open_blocks(made, columns, inner), notes=said)

    def _build(self, title: str, columns: Sequence[PieceColumn], is_inner: bool = False) -> Network:
        ops = map_ops(columns)
        return Network(
            title=title,
            blocks=tuple(map(self._block, columns, _shorten([self._name(column) for column in columns]))),
            edges=find_edges(self.profile, ops),
            lanes=tuple(self._lanes(columns, is_inner)),
            live=draw_live_lane(self.profile, self.live, columns, ops.column, self._peak_name()),
        )

    def _open_blocks(self, outer: Network, columns: Sequence[PieceColumn], room: int) -> Network:
        """With what is inside the blocks: first of the outer ones, the largest first, while there is room."""
        inside: dict[int, tuple[list[PieceColumn], Network]] = {}
        order = sorted(
            range(len(columns)), key=lambda at: -max(lane.values[at] / (lane.total or 1) for lane in outer.lanes)
        )
        for at in order:
            found = self._inside(columns[at])
            if 1 < len(found) <= room:
                inside[at] = found, self._build(outer.blocks[at].name, found, is_inner=True)
                room -= len(found)
        blocks = list(outer.blocks)
        for at, (found, network) in inside.items():
            share = room // len(inside)
            blocks[at] = replace(blocks[at], inner=self._open_blocks(network, found, share) if share > 1 else network)
        return replace(outer, blocks=tuple(blocks))

    def _inside(self, column: PieceColumn) -> list[PieceColumn]:
        """The columns inside one block."""
        if not column.can_open:
            return []
        pieces = column.pieces if len(column.pieces) > 1 else column.pieces[0].parts
        made = choose_columns(pieces, self.whole)
        return made if len(made) > 1 else arrange_pieces(pieces, Piece("", "", None))

    def _block(self, column: PieceColumn, label: str) -> Block:
        main = self._main(column)
        working = [piece for piece in column.pieces if piece.parts]
        return Block(
            name=self._name(column),
            label=label,
            kind=f"{len(column.pieces)} not called" if self._is_uncalled(column) else main.kind or _name_kinds(main),
            count=column.count,
            members=max(len(working), 1) if column.count > 1 else 1,
            layers=sum(piece.layers for piece in column.pieces),
            shape=self._shape([*column.pieces, main]),
            rows=tuple(dict.fromkeys(self._row_names(column.every))),
        )

    def _main(self, column: PieceColumn) -> Piece:
        """The piece that a column is named after: that with most MACs, or parameters."""
        flops = self.whole.macs == 0
        return max(column.pieces, key=lambda piece: (piece.macs, piece.flops if flops else 0, piece.params))

    def _is_uncalled(self, column: PieceColumn) -> bool:
        """Several layers that no call of this pass reaches, such as an auxiliary head's."""
        rows = [piece.row for piece in column.pieces]
        return len(rows) > 1 and all(row is not None and self.profile.layers[row].call is None for row in rows)

    def _name(self, column: PieceColumn) -> str:
        main = self._main(column)
        if self._is_uncalled(column):
            return name_range(*(column.pieces[at].path.partition(".")[0] for at in (0, -1)))
        if main.row is None:
            working = [piece for piece in main.parts if piece.macs] or main.parts
            return name_range(working[0].path, working[-1].path)
        if column.count == 1:
            return f"{main.path} {OWN_LABEL}".strip() if main.is_own else main.path or ROOT_LABEL
        at = column.pieces.index(main) if not any(piece.parts for piece in column.pieces) else 0
        last = [piece for piece in column.every if piece.parts] or column.every[at :: len(column.pieces)]
        return name_range(column.every[at].path, last[-1].path)

    def _row_names(self, pieces: Iterable[Piece]) -> Iterable[str]:
        for piece in pieces:
            if piece.row is None:
                yield from self._row_names(piece.parts)
            elif piece.is_own:
                yield self.view.row_name(piece.row)
            else:
                layer = self.profile.layers[piece.row]
                yield (layer.path or ROOT_LABEL) + layer.repeat_mark

    def _shape(self, pieces: Sequence[Piece]) -> Shape | None:
        """Of the last that makes a tensor, without the batch."""
        outputs = next((piece.outputs for piece in reversed(pieces) if piece.outputs), None)
        if not outputs:
            return None
        shape = outputs[0].shape
        return shape[1:] if len(shape) > 1 and shape[0] == self.profile.batch else shape

    def _lanes(self, columns: Sequence[PieceColumn], is_inner: bool) -> Iterable[Lane]:
        """Inside a block, shares are of what one of it has."""
        for key in ("macs", "params"):
            values = tuple(sum(getattr(piece, key) for piece in column.every) for column in columns)
            total = sum(values) if is_inner else getattr(self.whole, key)
            yield Lane(key, METRIC_BY_KEY[key].title, "count", values, total, key in self.view.bounds)
        if self.times is not None:
            seconds = tuple(max(sum(piece.seconds or 0.0 for piece in column.every), 0.0) for column in columns)
            whole = None if is_inner else self.times.whole
            total = (
                max(whole.seconds, sum(seconds)) if whole else sum(seconds) + (0.0 if is_inner else self.times.outside)
            )
            source = self.times.source if is_inner else self.times.words
            title = "Predicted" if self.times.is_predicted else "Time"
            bound = self.times.is_bound
            shown = f"{'≥ ' if bound else ''}{elapsed.show_with_interval(whole)}" if whole else ""
            yield Lane("latency", title, "seconds", seconds, total, bound, self.times.is_predicted, source, shown)

    def _peak_name(self) -> str:
        if self.live.peak_op is None:
            return ""
        row = self.profile.row_of(self.profile.ops[self.live.peak_op])
        return self.view.row_name(row) if self.view.layer(row).path else "the model itself"


def _shorten(names: Sequence[str]) -> list[str]:
    """The names without the words that all of them start with."""
    above = [name.split(".")[:-1] for name in names]
    shared = sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*above, strict=False)))
    return [".".join(name.split(".")[shared if len(names) > 1 else 0 :]) for name in names]


def _name_kinds(run: Piece) -> str:
    """What a run is made of: "3 InceptionA", "7 blocks"."""
    working = [piece for piece in run.parts if piece.macs] or run.parts
    kinds = {piece.kind for piece in working}
    return f"{len(working):,} {kinds.pop() if len(kinds) == 1 else 'blocks'}"
