"""Where a random number decides what runs: layers that are dropped, blocks that are skipped, a number of steps drawn.

The numbers of one draw would change from pass to pass. So such a model is run with draws that come out high, low and
otherwise, which shows whether they decide, and the pass that runs most is kept: a layer is dropped where a number is
below a rate, or where it is not below the rate of those that stay.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import torch

from archprof.torchside.random_states import TWISTER_WORDS, find_python_states

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

EQUAL_WORDS = 600

KEPT_NOTE = (
    "A random number decides what runs in this pass (layers are dropped, or the like): it was run with everything "
    "kept, so that nothing is dropped."
)
ONE_DRAW_NOTE = (
    "A random number decides what runs in this pass, and no draw was found that keeps everything: the numbers are of "
    "one draw, the same in each pass."
)


class Chance:
    """The random numbers of one pass.

    Attributes:
        draw: how they come out.
        is_repeated: the pass is one with the inputs of another.
        draw_count, read_count: draws of torch's with values, and ops by which values may decide.
        free_count: draws of torch's that come out as they like, whatever is asked.
        draws_in_python: numbers were drawn by Python or numpy.
    """

    def __init__(self, draw: Draw) -> None:
        self.draw, self.draw_count, self.read_count, self.free_count = draw, 0, 0, 0
        self.is_repeated = self.draws_in_python = False
        self.state_before_inputs = torch.get_rng_state()
        self._python_states: list[tuple[int, Any]] = []

    def repeat(self, first: Chance) -> None:
        """Let the pass have the inputs of another, and draws as asked; nobody's state decides the rest."""
        self.is_repeated = True
        torch.set_rng_state(first.state_before_inputs)

    def begin(self) -> None:
        """The inputs are made, and the model comes next."""
        if self.is_repeated:
            torch.default_generator.manual_seed(find_seed(self.draw))
            set_python_draws(self.draw)
        self._python_states = find_python_states()

    def end(self) -> None:
        """The pass is over."""
        self.draws_in_python = self._python_states != find_python_states()
        past = self.draws_in_python and (not self.is_repeated or is_past_equal_words())
        self.drew_as_asked = not past and not self.free_count

    def may_decide(self, device: str) -> bool:
        """Whether random numbers were drawn that may decide what runs; on the CPU all have values."""
        return self.draws_in_python or (self.draw_count > 0 and (self.read_count > 0 or device == "cpu"))

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


def find_seed(draw: Draw) -> int:
    """The seed of what does not come out high or low."""
    return 0 if isinstance(draw, str) else draw


def set_python_draws(draw: Draw) -> None:
    """Let the next draws of Python's and numpy's generators come out as asked; some 300 of each."""
    fixed = random.Random(find_seed(draw))
    equal = [MERSENNE_WORDS[draw]] * EQUAL_WORDS if isinstance(draw, str) else []
    words = equal + [fixed.getrandbits(32) for _ in range(TWISTER_WORDS - len(equal))]
    random.setstate((3, (*words, 0), None))
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].set_state(("MT19937", words, 0))


def is_past_equal_words() -> bool:
    """Whether something drawn since `set_python_draws` came out as it likes: an integer may take several tries."""
    return any(used > EQUAL_WORDS for used, _ in find_python_states())


class Pass(Protocol):
    """A pass that came to its end."""

    chance: Chance
    recorder: Recorder
    calls: Calls


def choose_pass(first: P, run_again: Callable[[Draw], P | None]) -> tuple[P, str | None]:
    """Of the passes with other draws than `first`, and of it, the one that runs most.

    Args:
        run_again: runs one with such draws; `None` where it fails.

    Returns:
        The pass, and what the reader must know, where the draws decide what runs.
    """
    # Where it did not draw as asked, its draws were the user's.
    best, ran = (first, [_sum_up(first)]) if first.chance.drew_as_asked else (None, [])
    most = ran[0] if ran else None
    for draw in [one for one in DRAWS if best is None or one != best.chance.draw]:
        run = run_again(draw)
        if run is not None:
            ran.append(_sum_up(run))
            if most is None or ran[-1].amount > most.amount:
                best, most = run, ran[-1]
            del run  # its weights go with it
    if best is None or most is None:
        return first, ONE_DRAW_NOTE
    if all(other.ops == most.ops for other in ran):
        return best, None
    return best, KEPT_NOTE if best.chance.draw in EXTREMES and _keeps_all(best, most, ran) else ONE_DRAW_NOTE


class _Summary(NamedTuple):
    """What a pass ran.

    Attributes:
        ops: each but for numbers among its arguments, which may be drawn.
        amount: MACs, calls, ops: FLOPs may also hang on how many values a mask leaves.
        calls: of each module, by its path.
    """

    ops: list[Any]
    amount: tuple[int, int, int]
    calls: Counter[str]


def _sum_up(run: Pass) -> _Summary:
    rows = run.calls.rows
    signatures = [(op.signature, rows[op.call].node.path) for op in run.recorder.recorded_ops]
    ops = [(one.name, one.inputs, one.outputs, one.macs, one.flops, path) for one, path in signatures]
    amount = sum(one.macs or 0 for one, _ in signatures), len(rows), len(ops)
    return _Summary(ops, amount, Counter(row.node.path for row in rows))


def _keeps_all(best: Pass, most: _Summary, ran: Sequence[_Summary]) -> bool:
    """Whether no draw can run more than this pass did.

    So it is if none called a module more often, and either all numbers came out as asked, or else every module was
    called, and by each draw so often or not at all: what is dropped has no number of steps.
    """
    if not all(one.calls <= most.calls for one in ran):
        return False
    whole = all(times == most.calls[path] for one in ran for path, times in one.calls.items())
    return best.chance.drew_as_asked or (whole and _called_all(best))


def _called_all(run: Pass) -> bool:
    """Whether every module with parameters of its own was called."""
    owners = (node for node in run.calls.nodes.values() if any(True for _ in node.module.parameters(recurse=False)))
    return all(node.call_rows for node in owners)
