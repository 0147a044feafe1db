"""What a strip of a network holds: blocks in order, what flows between them, and lanes of numbers.

Plain values, and the words for them; drawing them does no arithmetic but that of the layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from archprof import units
from archprof.analysis import phrases
from archprof.analysis.network.flows import Edge
from archprof.analysis.table import Table
from archprof.units import Unit

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One column.

    Attributes:
        name: "conv1", "layer3.1–35".
        label: the same without what all names beside it start with.
        kind: the class of the module, or of the one that works most; an op where a module works itself.
        count: how many equal ones it stands for.
        members: modules in one of these, where they take turns.
        layers: calls in one of them.
        shape: what comes out, without the batch; `None` where that is no tensor.
        rows: the rows of the table of layers that it is made of, by name, in order.
        inner: what is inside one of them; `None` where there is nothing more, or no room.
    """

    name: str
    label: str
    kind: str
    count: int
    members: int
    layers: int
    shape: Shape | None
    rows: tuple[str, ...]
    inner: Network | None = None

    @property
    def repeats(self) -> str:
        """How many it stands for: "35", or "3×2" where two take turns."""
        return f"{self.count}×{self.members}" if self.members > 1 else f"{self.count:,}"

    @property
    def words(self) -> str:
        """What it is: "35 equal: Bottleneck, 9 layers"."""
        many = f"{self.repeats} equal: " if self.count > 1 else ""
        layers = f", {self.layers:,} layers" if self.layers > 1 else ""
        return f"{many}{self.kind}{layers}"


class Lane(NamedTuple):
    """One number of every block.

    Attributes:
        key: "macs", "params" or "latency".
        title: what stands beside it.
        unit: of the raw values.
        values: of each block, all repeats together.
        total: of the whole model, of which values are shown as shares.
        is_bound: a lower bound.
        is_predicted: told by no clock.
        source: where it is from; "" for what is counted.
        total_text: the total as other places print it, with its interval; "" for one that is exact.
    """

    key: str
    title: str
    unit: Unit
    values: tuple[float, ...]
    total: float
    is_bound: bool = False
    is_predicted: bool = False
    source: str = ""
    total_text: str = ""

    @property
    def total_words(self) -> str:
        return self.total_text or f"{'≥ ' if self.is_bound else ''}{units.show_quantity(self.total, self.unit)}"

    @property
    def words(self) -> str:
        """What stands behind its title: the total, and where it is from."""
        return f"{self.total_words}{f', {self.source}' if self.source else ''}"

    @property
    def largest(self) -> int:
        """The block with most of it."""
        return max(range(len(self.values)), key=self.values.__getitem__, default=0)

    def show(self, at: int) -> str:
        return units.show_quantity(self.values[at], self.unit)

    def share(self, at: int) -> float | None:
        """Of the whole model; `None` where that has none."""
        return self.values[at] / self.total if self.total else None

    def show_share(self, at: int) -> str:
        """ "66%", "<1%", "0"."""
        share = self.share(at)
        return "0" if not share else "<1%" if share < 0.005 else f"{share:.0%}"


class LiveLane(NamedTuple):
    """Live bytes along the strip.

    Attributes:
        curves: for each column the bytes at moments of its forward, in order.
        backward: for each column the most while its backward runs; `None` without one.
        weights: bytes of parameters and buffers, which are there all the time.
        peak: the most of the whole pass.
        peak_column: where that is; `None` where it is in none.
        peak_name: the layer, as its table calls it.
        peak_phase: "forward", "backward" or "optimizer".
    """

    curves: tuple[tuple[int, ...], ...]
    backward: tuple[int | None, ...]
    weights: int
    peak: int
    peak_column: int | None
    peak_name: str
    peak_phase: str

    @property
    def words(self) -> str:
        """What stands behind its title: the peak, where it is, and the weights of it."""
        phase = "" if self.peak_phase == "forward" else f", {self.peak_phase}"
        where = f" in {self.peak_name}{phase}" if self.peak_name else ""
        if self.peak_name and self.peak_column is None:
            return f"above the weights; the peak of the model is {phrases.say_bytes(self.peak)}{where}"
        return f"peak {phrases.say_bytes(self.peak)}{where}, of this weights {phrases.say_bytes(self.weights)}"

    def most(self, at: int) -> int | None:
        """The most in a column, forward or backward; `None` where no op of it ran."""
        return max([*self.curves[at], *([] if self.backward[at] is None else [self.backward[at] or 0])], default=None)

    def above(self, at: int) -> int | None:
        """The most in a column above the weights; `None` where no op of it ran."""
        most = self.most(at)
        return None if most is None else max(most - self.weights, 0)

    def show_above(self, at: int) -> str:
        """The same in words, with one prefix along the lane: "+11.3 MiB"."""
        above = self.above(at)
        if above is None:
            return ""
        largest = max(self.above(i) or 0 for i in range(len(self.curves)))
        scale = units.choose_unit_scale([largest], "bytes")
        scale = replace(scale, digits=0 if largest >= 100 * scale.factor or scale.factor == 1 else 1)
        text = f"{scale.format(above)} {scale.symbol}"
        return text if text.startswith("<") else f"+{text}"


@dataclass(frozen=True, slots=True)
class Network:
    """What a strip shows.

    Attributes:
        title: the model, or the block that is opened.
        blocks: the columns, in the order of the pass.
        edges: what flows between them.
        lanes: MACs and parameters, and time where there is one.
        live: the memory.
        notes: what the reader must know to trust the numbers; none of a block that is opened.
    """

    title: str
    blocks: tuple[Block, ...]
    edges: tuple[Edge, ...]
    lanes: tuple[Lane, ...]
    live: LiveLane
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The strip in words."""
        lanes = "; ".join(
            f"{lane.title} {lane.total_words}, most in {self.blocks[lane.largest].name}"
            for lane in self.lanes
            if lane.total and self.blocks
        )
        return f"{self.title} along its length, {len(self.blocks)} blocks. {lanes}."

    def describe_block(self, at: int) -> Iterator[str]:
        """Everything known of a block, a line each."""
        block, live = self.blocks[at], self.live.most(at)
        yield block.name
        yield block.words
        if block.shape is not None:
            yield f"to {show_shape(block.shape)}"
        for lane in self.lanes:
            if lane.total:
                yield f"{lane.title} {lane.show(at)} ({lane.show_share(at)})"
        if live is not None:
            yield f"Live up to {phrases.say_bytes(live)}"

    def table(self) -> Table:
        """The blocks as rows: the same numbers for every other format."""
        from archprof.analysis.network.tabulate import tabulate_network

        return tabulate_network(self)

    def to_svg(self) -> str:
        """The drawing, as a file that stands alone."""
        from archprof.analysis.printing import formats

        return formats.network_svg(self)

    def _repr_html_(self) -> str:
        return self.to_svg()

    def __str__(self) -> str:
        return str(self.table())


def show_shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a number"
