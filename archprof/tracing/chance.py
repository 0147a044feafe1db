"""Where a random number decides what runs: layers that are dropped, blocks that are skipped, a number of steps drawn.

The numbers of one draw would change from pass to pass. So such a model is run with draws that come out high, low and
otherwise, which shows whether they decide, and the pass that runs most is kept: a layer is dropped where a number is
below a rate, or where it is not below the rate of those that stay.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from archprof.tracing.calls import Calls
    from archprof.tracing.recorder import Recorder

Draw = Literal["high", "low"] | int
"""How random numbers come out: all high, all low, or from a seed."""

EXTREMES = ("high", "low")

DRAWS: tuple[Draw, ...] = ("high", "low", 0, 1)

P = TypeVar("P", bound="Pass")

DRAWN_UNIFORM = frozenset(f"aten.{name}" for name in "bernoulli bernoulli_ rand rand_like uniform uniform_".split())
"""Ops whose result comes out high or low as a whole."""

DRAWING_OPS = DRAWN_UNIFORM | frozenset(
    f"aten.{name}"
    for name in "exponential_ multinomial normal normal_ randint randint_like randn randperm random_".split()
)

READING_OPS = frozenset(f"aten.{name}" for name in "_local_scalar_dense equal index is_nonzero nonzero".split())
"""Ops by which values decide: Python reads them, or the shape of a result is made of them."""

CHANCE_OPS = DRAWING_OPS | READING_OPS

MAX_DRAWN = 4096
"""Elements of a draw up to which it is set: one for each layer, or each sample, and not the noise of an image."""

HIGHEST = 1 - 2**-24
"""The largest float32 below 1."""

MERSENNE_WORDS = {"high": 0x12DD9BB3, "low": 0x04048891}
"""Words of the state of a Mersenne twister which come out as 0xFFFFFFFF and 0x800: 1 - 2**-53 and 5e-7, as a float."""

EQUAL_WORDS, ALL_WORDS = 600, 624

KEPT_NOTE = (
    "A random number decides what runs in this pass (layers are dropped, or the like): it was run with everything "
    "kept, so that nothing is dropped."
)
ONE_DRAW_NOTE = (
    "A random number decides what runs in this pass, and no draw was found that keeps everything: the numbers are of "
    "one draw, the same in each pass."
)


class Chance:
    """The random numbers of a pass that torch draws.

    Attributes:
        draw: how they come out.
        draw_count, read_count: draws with values, and ops by which values may decide.
        free_count: draws that come out as they like, whatever is asked.
    """

    def __init__(self, draw: Draw) -> None:
        self.draw, self.draw_count, self.read_count, self.free_count = draw, 0, 0, 0

    def watch(self, name: str, args: Any, result: Any) -> None:
        """One of `CHANCE_OPS` gave this result, which then comes out as asked if it is a small draw."""
        if name in READING_OPS:
            self.read_count += not args[0].is_meta
        elif not result.is_meta:
            self.draw_count += 1
            if name not in DRAWN_UNIFORM or result.numel() > MAX_DRAWN:
                self.free_count += 1
            elif self.draw in EXTREMES:
                result.fill_(0.0 if self.draw == "low" else 1.0 if "bernoulli" in name else HIGHEST)


def set_python_draws(draw: Draw) -> None:
    """Let the next draws of Python's and numpy's generators come out as asked; some 300 of each."""
    fixed = random.Random(0 if isinstance(draw, str) else draw)
    equal = [MERSENNE_WORDS[draw]] * EQUAL_WORDS if isinstance(draw, str) else []
    words = equal + [fixed.getrandbits(32) for _ in range(ALL_WORDS - len(equal))]
    random.setstate((3, (*words, 0), None))
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].set_state(("MT19937", words, 0))


def find_python_states() -> list[tuple[Any, int]]:
    """Where Python's generator is, and numpy's if that was imported: the words, and how many of them are used up."""
    words = random.getstate()[1]
    states: list[tuple[Any, int]] = [(words[:-1], words[-1])]
    if "numpy.random" in sys.modules:
        _, drawn, used, *_ = sys.modules["numpy.random"].get_state()
        states.append((drawn.tobytes(), used))
    return states


def is_past_equal_words() -> bool:
    """Whether something drawn since `set_python_draws` came out as it likes: an integer may take several tries."""
    return any(used > EQUAL_WORDS for _, used in find_python_states())


class Pass(Protocol):
    """A pass that came to its end."""

    draw: Draw
    draws_in_python: bool
    drew_as_asked: bool
    recorder: Recorder
    calls: Calls


def choose_pass(first: P, run_again: Callable[[Draw], P | None]) -> tuple[P, str | None]:
    """Of the passes with other draws than `first`, and of it, the one that runs most.

    Args:
        run_again: runs one with such draws; `None` where it fails.

    Returns:
        The pass, and what the reader must know, where the draws decide what runs.
    """
    runs = [] if first.draws_in_python else [first]
    for draw in [one for one in DRAWS if one not in [run.draw for run in runs]]:
        run = run_again(draw)
        runs += [run] if run is not None else []
    if not runs:
        return first, ONE_DRAW_NOTE
    ran = [_list_ops(run) for run in runs]
    if all(ops == ran[0] for ops in ran):
        return runs[0], None
    best = max(runs, key=_measure_work)
    return best, KEPT_NOTE if best.draw in EXTREMES and _keeps_all(best, runs) else ONE_DRAW_NOTE


def _list_ops(run: Pass) -> list[Any]:
    """What ran, but for numbers among the arguments, which may be drawn."""
    rows = run.calls.rows
    ops = [(op.signature, rows[op.call].node.path) for op in run.recorder.recorded_ops]
    return [(one.name, one.inputs, one.outputs, one.macs, one.flops, path) for one, path in ops]


def _measure_work(run: Pass) -> tuple[int, int, int]:
    """MACs, FLOPs, ops."""
    signatures = [op.signature for op in run.recorder.recorded_ops]
    return sum(one.macs or 0 for one in signatures), sum(one.flops or 0 for one in signatures), len(signatures)


def _keeps_all(best: P, runs: list[P]) -> bool:
    """Whether no draw can run more than this pass did.

    So it is if none called a module more often, and either all numbers came out as asked, or else every module was
    called, and by each draw so often or not at all: what is dropped has no number of steps.
    """
    counts = [Counter(row.node.path for row in run.calls.rows) for run in runs]
    most = counts[runs.index(best)]
    if not all(called <= most for called in counts):
        return False
    whole = all(times in (0, most[path]) for called in counts for path, times in called.items())
    return best.drew_as_asked or (whole and _called_all(best))


def _called_all(run: Pass) -> bool:
    """Whether every module with parameters of its own was called."""
    owners = (node for node in run.calls.nodes.values() if any(True for _ in node.module.parameters(recurse=False)))
    return all(node.call_rows for node in owners)
