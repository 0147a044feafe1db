"""From an output size back to the input sizes that give it."""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.facts.records import Layer, Op, Profile, Window
from archprof.facts.request import LARGEST_SIZE, PLAIN_PASS, PassRequest
from archprof.sweeping.resizable_model import Attempt, ResizableModel
from archprof.units import show_whole
from archprof.wording import show_shape

MAX_LISTED_SIZES = 1024
"""Input sizes that one answer may list; each is traced."""

SizePair = tuple[int, int]
"""Height and width."""


class SizeCondition(NamedTuple):
    """A condition: the output of the layer at `path` (its first call) is `size` = (height, width)."""

    path: str
    size: SizePair

    def __str__(self) -> str:
        return f"{self.path}={show_size(self.size)}"


@dataclass(frozen=True, slots=True)
class TracedSize:
    """One input size and what the model makes of it.

    Attributes:
        size: height and width of the input.
        layer_sizes: the output of each layer that was asked for; `None` where the forward did not get there.
        outputs: the shapes that the model returns; empty if its forward failed.
        problem: where and why it failed.
    """

    size: SizePair
    layer_sizes: tuple[SizePair | None, ...]
    outputs: tuple[tuple[int, ...], ...]
    problem: str | None


@dataclass(frozen=True, slots=True)
class InputSizes:
    """The input sizes that meet the conditions.

    Attributes:
        model: as it was asked for.
        conditions: the conditions.
        lo, hi: the smallest and the largest size that was looked for.
        square: only inputs as high as they are wide.
        found: all that meet the conditions, each traced.
        near: for comparison: the sizes just below and above, and the model's default.
    """

    model: str
    conditions: tuple[SizeCondition, ...]
    lo: int
    hi: int
    square: bool
    found: tuple[TracedSize, ...]
    near: tuple[TracedSize, ...]


def find_input_sizes(
    model: Any,
    where: str | Iterable[str],
    *,
    lo: int = 1,
    hi: int = MAX_LISTED_SIZES,
    square: bool | None = None,
    inputs: Any = None,
    request: PassRequest = PLAIN_PASS,
) -> InputSizes:
    """The input sizes that give these output sizes at these layers.

    Every size in the answer was traced. If only convolutions, poolings and what keeps the size lie before a layer, the
    same ones at each size that was looked at, then its output never shrinks as the input grows, and the ends of the
    answer are found by bisection; else every size from `lo` to `hi` is traced.

    Args:
        model, inputs: as for `archprof.profile`; one input is an image.
        where: "features.0=55x55", one or several; all must hold.
        lo, hi: look among these sizes.
        square: only inputs as high as they are wide; `None`: if every condition is square. Otherwise height and width
            are solved one after the other.

    Raises:
        UsageError: for a condition that cannot be read, a path that the model has not, more than `MAX_LISTED_SIZES`.
        ArchprofError: where height and width depend on each other, so that they cannot be solved apart.
    """
    conditions = tuple(map(parse_condition, [where] if isinstance(where, str) else where))
    if not conditions:
        raise UsageError("There is no condition.", "One or several of PATH=HEIGHTxWIDTH.", "Try: features.0=55x55")
    if not 1 <= lo <= hi <= LARGEST_SIZE:
        sizes = f"{show_whole(lo)} to {show_whole(hi)}"
        raise UsageError(f"Sizes from {sizes} cannot be looked for.", f"1 <= lo <= hi <= {LARGEST_SIZE}.")
    search = _InputSearch(ResizableModel(model, inputs, request), conditions, range(lo, hi + 1))
    if square is None:
        square = all(height == width for _, (height, width) in conditions)
    found = search.find_squares() if square else search.find_pairs()
    near = search.find_near(found) if square else []
    traced, compared = (tuple(map(search.trace_size, sizes)) for sizes in (found, near))
    return InputSizes(search.resizable.target.name, conditions, lo, hi, square, traced, compared)


def parse_condition(text: str) -> SizeCondition:
    """Read "features.0=55x55"."""
    match = re.fullmatch(r"\s*(.*?)\s*=\s*([0-9]{1,6})x([0-9]{1,6})\s*", text)
    if match is None or not int(match[2]) or not int(match[3]):
        raise UsageError(f"The condition {text!r} cannot be read.", "PATH=HEIGHTxWIDTH", "Try: features.0=55x55")
    return SizeCondition(match[1], (int(match[2]), int(match[3])))


def show_size(size: SizePair | None) -> str:
    """(55, 40) -> "55x40"."""
    return "nothing" if size is None else show_shape(size)


class _InputSearch:
    """Input sizes that meet conditions, each size traced at most once."""

    def __init__(self, sizes: ResizableModel, where: tuple[SizeCondition, ...], among: range) -> None:
        self.resizable, self.conditions, self.candidates = sizes, where, among
        self.trace_size = cache(self._trace_size)
        paths = [path for path, _ in sizes.target.model.named_modules()]
        for path in dict.fromkeys(path for path, _ in where):
            if path not in paths:
                raise UnknownName(f"layer in {sizes.target.name}", path, [path for path in paths if path])
        default = sizes.trace_at(sizes.height, sizes.width)
        self.op_paths = [default.profile and _find_op_path(default.profile, path) for path, _ in where]

    def find_squares(self) -> list[SizePair]:
        """The sizes n for which n x n meets every condition."""
        left: Sequence[int] = self.candidates
        for index, (_, wanted) in enumerate(self.conditions):
            rows, columns = (self._solve_side(index, side, wanted[side], lambda n: (n, n)) for side in (0, 1))
            if rows is not None and columns is not None:
                both = _intersect_ranges(rows, columns)
                left = _intersect_ranges(left, both) if isinstance(left, range) else [n for n in left if n in both]
            else:
                _check_number(len(left), "input sizes would have to be traced", "can be")
                left = [n for n in left if self.trace_size((n, n)).layer_sizes[index] == wanted]
        _check_number(len(left), "input sizes meet this", "can be listed")
        return [(n, n) for n in left]

    def find_pairs(self) -> list[SizePair]:
        """The heights and widths that meet every condition, solved apart; each pair is then traced."""
        height, width = self.resizable.height, self.resizable.width
        heights, widths = self.candidates, self.candidates
        for index, (_, wanted) in enumerate(self.conditions):
            rows = self._solve_side(index, 0, wanted[0], lambda n: (n, width))
            columns = self._solve_side(index, 1, wanted[1], lambda n: (height, n))
            if rows is None or columns is None:
                raise _make_entangled_error()
            heights, widths = _intersect_ranges(heights, rows), _intersect_ranges(widths, columns)
        _check_number(len(heights) * len(widths), "input sizes meet this", "can be listed")
        found = [(h, w) for h in heights for w in widths]
        if any(self.trace_size(size).layer_sizes != tuple(wanted for _, wanted in self.conditions) for size in found):
            raise _make_entangled_error()
        return found

    def _solve_side(
        self, index: int, side: Literal[0, 1], wanted: int, size: Callable[[int], SizePair]
    ) -> range | None:
        """The n for which the output at `size(n)` is `wanted` high (side 0) or wide (side 1), by bisection.

        `None` where that is not safe: the output may shrink, or the forward takes another way at another size.
        """
        if not self.op_paths[index]:
            return None

        def output(n: int) -> int:
            made = self.trace_size(size(n)).layer_sizes[index]
            return 0 if made is None else made[side]  # too small for the kernels before the layer

        first, stop = (bisect_left(self.candidates, value, key=output) for value in (wanted, wanted + 1))
        return self.candidates[first:stop] if self.op_paths[index] else None

    def find_near(self, found: list[SizePair]) -> list[SizePair]:
        """The sizes on either side of what was found, or of where it would have been; then the default."""
        default = (self.resizable.height, self.resizable.width)
        if found:
            near = [n for n in (found[0][0] - 1, found[-1][0] + 1) if n in self.candidates]
        else:
            output = lambda n: (self.trace_size((n, n)).layer_sizes[0] or (0, 0))[0]  # noqa: E731
            near = self._find_around(output)
        return [size for size in dict.fromkeys([*((n, n) for n in near), default]) if size not in found]

    def _find_around(self, output: Callable[[int], int]) -> list[int]:
        """The last size whose output is below what was wanted, and the first above it."""
        wanted = self.conditions[0].size[0]
        if not self.op_paths[0]:
            return []
        first = bisect_left(self.candidates, wanted, key=output)
        return [*self.candidates[max(0, first - 1) : first + 1]]

    def _trace_size(self, size: SizePair) -> TracedSize:
        tried = self.resizable.trace_at(*size)
        if tried.profile is not None:
            taken = [(op.name, op.window) for op in tried.profile.ops]
            self.op_paths = [way if way and taken[: len(way)] == way[: len(taken)] else None for way in self.op_paths]
        return TracedSize(
            size,
            tuple(_find_output_size(tried, path) for path, _ in self.conditions),
            _list_returned_shapes(tried),
            tried.problem,
        )


def _check_number(count: int, what: str, can_be: str) -> None:
    if count > MAX_LISTED_SIZES:
        raise UsageError(f"{count:,} {what}.", f"{MAX_LISTED_SIZES:,} {can_be}.", "Narrow --lo and --hi.")


def _make_entangled_error() -> ArchprofError:
    return ArchprofError(
        "Height and width cannot be solved apart: not all that lies before the layer is convolution or pooling.",
        "Ask for inputs that are as high as they are wide: --square.",
    )


def _intersect_ranges(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def _find_output_size(tried: Attempt, path: str) -> SizePair | None:
    """Height and width of what the first call of a layer gave."""
    layers = tried.profile.layers if tried.profile else ()
    layer = next((layer for layer in layers if layer.path == path and layer.call == 0), None)
    if layer is None or not layer.outputs:
        return None
    shape = layer.outputs[0].shape
    if len(shape) != 4:
        raise UsageError(f"The output of {path or 'the model'}, {'x'.join(map(str, shape))}, has no height and width.")
    return shape[2], shape[3]


def _list_returned_shapes(tried: Attempt) -> tuple[tuple[int, ...], ...]:
    if tried.profile is None or tried.problem is not None:
        return ()
    return tuple(spec.shape for spec in tried.profile.layers[0].outputs)


def _find_op_path(profile: Profile, path: str) -> list[tuple[str, Window | None]] | None:
    """The ops up to the end of a layer, if none gives smaller maps for larger ones: its output then never shrinks."""
    inside = {layer.call_index for layer in profile.layers if _is_inside(layer, path)}
    last = max((i for i, op in enumerate(profile.ops) if op.call in inside), default=None)
    if last is None:
        return None
    ops = profile.ops[: last + 1]
    sizes = [tensor.spec.shape[-2:] if len(tensor.spec.shape) > 2 else None for tensor in profile.tensors]

    def maps(tensors: tuple[int, ...]) -> set[tuple[int, ...] | None]:
        return {sizes[i] for i in tensors} - {None}

    safe = all(_never_shrinks(op) or maps(op.inputs) == maps(op.outputs) for op in ops)
    return [(op.name, op.window) for op in ops] if safe else None


def _never_shrinks(op: Op) -> bool:
    """Whether an op that changes the size of maps never makes them smaller where they were larger."""
    every_nth = op.name == "aten.slice" and op.args[2:4] == (0, sys.maxsize)
    return every_nth or op.window is not None or op.name == "aten._adaptive_avg_pool2d"


def _is_inside(layer: Layer, path: str) -> bool:
    return path == "" or layer.path == path or layer.path.startswith(f"{path}.")
