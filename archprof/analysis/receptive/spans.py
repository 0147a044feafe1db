"""Which input positions a position sees, along one dimension, in whole numbers.

A span repeats itself: after `len(seen)` positions everything is the same again, `step` input positions further on. One
phase is enough for convolution and pooling; a factor-two upsampling needs two. Nothing is clipped at the borders of
the input: the padding counts as if there were more of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import NamedTuple


class Interval(NamedTuple):
    """Input positions, both ends included."""

    low: int
    high: int


class InputAxis(NamedTuple):
    """One dimension of one input; inputs of one shape lie over each other and share their axes."""

    input_number: int
    dim: int


class PositionSpan(NamedTuple):
    """Position q * len(seen) + r sees the interval seen[r], moved by q * step.

    Attributes:
        axis: the input dimension that is seen.
        step: in input positions.
        intervals: one interval per phase; `None` sees nothing (it lies between the points of a transposed convolution).
        aligned: all paths that joined were centred on the same input positions.
    """

    axis: InputAxis
    step: int = 1
    intervals: tuple[Interval | None, ...] = (Interval(0, 0),)
    aligned: bool = True

    @property
    def size(self) -> int:
        """Input positions from the first to the last seen, in the widest phase."""
        return max((interval.high - interval.low + 1 for interval in self.intervals if interval), default=0)

    @property
    def stride(self) -> Fraction:
        """Input positions between the centres of neighbours, on average over the phases."""
        return Fraction(self.step, len(self.intervals))

    @property
    def padding(self) -> Fraction:
        """What makes i * stride + (size - 1) / 2 - padding the centre of position i, on average over the phases."""
        centres = [Fraction(x.low + x.high, 2) - r * self.stride for r, x in enumerate(self.intervals) if x]
        return Fraction(self.size - 1, 2) - sum(centres, Fraction(0)) / len(centres) if centres else Fraction(0)

    def interval_at(self, position: int) -> Interval | None:
        """What one position sees; also for positions outside the tensor."""
        turns, phase = divmod(position, len(self.intervals))
        found = self.intervals[phase]
        return found and Interval(found.low + turns * self.step, found.high + turns * self.step)

    def read_by(self, period: int, shift: int, reads: Callable[[int], Iterable[int]]) -> PositionSpan:
        """The span of positions that read those of this one.

        Args:
            period, shift: position i + period reads what position i reads, moved by `shift`.
            reads: the positions of this span that a position reads.
        """
        turns = len(self.intervals) // math.gcd(len(self.intervals), shift)
        seen = tuple(hull(map(self.interval_at, reads(i))) for i in range(period * turns))
        return PositionSpan(self.axis, shift * turns * self.step // len(self.intervals), seen, self.aligned).simplify()

    def simplify(self) -> PositionSpan:
        """The same with as few phases as can be."""
        phases = len(self.intervals)
        for fewer in (n for n in range(1, phases) if phases % n == 0 and self.step * n % phases == 0):
            short = PositionSpan(self.axis, self.step * fewer // phases, self.intervals[:fewer], self.aligned)
            if all(short.interval_at(i) == found for i, found in enumerate(self.intervals)):
                return short
        return self


def hull(intervals: Iterable[Interval | None]) -> Interval | None:
    """The smallest interval that holds them all."""
    found = [interval for interval in intervals if interval]
    return Interval(min(x.low for x in found), max(x.high for x in found)) if found else None


def slide_window(span: PositionSpan, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> PositionSpan:
    """Convolution and pooling."""
    taps = range(-padding, kernel * dilation - padding, dilation)
    return span.read_by(1, stride, lambda i: [i * stride + tap for tap in taps])


def slide_transposed(span: PositionSpan, kernel: int, stride: int, padding: int, dilation: int) -> PositionSpan:
    """Transposed convolution: input position j is spread over j * stride - padding + tap * dilation."""
    taps = [tap * dilation - padding for tap in range(kernel)]
    return span.read_by(stride, 1, lambda i: [(i - tap) // stride for tap in taps if (i - tap) % stride == 0])


def shift_span(span: PositionSpan, start: int, step: int = 1) -> PositionSpan:
    """Every `step`-th position from `start` on: slices; a negative start is padding in front."""
    return span.read_by(1, step, lambda i: [start + i * step])


def repeat_span(span: PositionSpan, times: int) -> PositionSpan:
    """Every position `times` times."""
    return span.read_by(times, 1, lambda i: [i // times])


def pool_adaptively(span: PositionSpan, size: int, out: int) -> PositionSpan:
    """Adaptive pooling: window i goes from floor(i * size / out) to ceil((i + 1) * size / out)."""
    common = math.gcd(size, out)
    return span.read_by(out // common, size // common, lambda i: range(i * size // out, -(-(i + 1) * size // out)))


def resample_span(span: PositionSpan, ratio: Fraction, offset: Fraction, reach: tuple[int, int]) -> PositionSpan:
    """Interpolation: position i lies at i * ratio + offset and reads so many positions below and above that place.

    A place that falls on a position reads that one alone: the weights of the others are zero there.
    """

    def reads(i: int) -> Iterable[int]:
        place = i * ratio + offset
        below = math.floor(place)
        return [below] if place == below else range(below - reach[0], below + reach[1] + 1)

    return span.read_by(ratio.denominator, ratio.numerator, reads)


def average_span(span: PositionSpan, ratio: Fraction, reach: int) -> PositionSpan:
    """Interpolation that averages where it makes smaller: it reads what lies nearer than `reach` positions of the
    coarser of the two grids."""

    def reads(i: int) -> Iterable[int]:
        place, support = ratio * (2 * i + 1) / 2 - Fraction(1, 2), reach * max(ratio, Fraction(1))
        return range(math.floor(place - support) + 1, math.ceil(place + support))

    return span.read_by(ratio.denominator, ratio.numerator, reads)


def unite_spans(a: PositionSpan, b: PositionSpan, length: int) -> PositionSpan:
    """The union of two spans of one axis, of a dimension of that length.

    Where their strides differ the union grows from position to position; it is then written down for each, and
    positions outside the tensor follow the stride of the wider of the two.
    """
    if a == b:
        return a
    if a.stride != b.stride:
        wide = max(a, b, key=lambda span: span.size)
        turns = -(-length // len(wide.intervals))
        seen = tuple(hull((a.interval_at(i), b.interval_at(i))) for i in range(turns * len(wide.intervals)))
        return PositionSpan(a.axis, turns * wide.step, seen, aligned=False)
    phases = math.lcm(len(a.intervals), len(b.intervals))
    seen = tuple(hull((a.interval_at(i), b.interval_at(i))) for i in range(phases))
    aligned = a.aligned and b.aligned and _centre(a, b, phases) == _centre(b, a, phases)
    return PositionSpan(a.axis, phases * a.step // len(a.intervals), seen, aligned).simplify()


def _centre(span: PositionSpan, other: PositionSpan, phases: int) -> int:
    """The sum of the centres, doubled, over the phases in which both see something."""
    return sum(sum(found) for i in range(phases) if (found := span.interval_at(i)) and other.interval_at(i))
