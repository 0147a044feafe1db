"""What the reader must know of a pass, by what was seen while it ran."""

from __future__ import annotations

import re
from collections.abc import Iterator

from archprof.sources.inputs import count_given_values
from archprof.sources.target import Target
from archprof.torchside.autocast import PassAutocast
from archprof.torchside.tensors import dtype_name
from archprof.tracing.calls import Calls
from archprof.tracing.control_flow import DECISIONS_NOTE
from archprof.tracing.flex_attention import BLOCKS_UNKNOWN_NOTE

AUTOCAST_NOTE = "Autocast to {dtype} by {rules} rules: each op runs, and is counted, in the dtype that it has there."

RULE_OWNERS = {"cuda": "CUDA's", "cpu": "the CPU's"}

INNER_GRADIENTS_NOTE = (
    "The forward computes gradients itself: they are a part of it, and counted in the layers that they belong to."
)

FALLBACK_NOTE = (
    "Its numbers depend on values: traced on real tensors on the CPU with {inputs}, since without values: {reason}"
)

NO_SIZE = re.compile(r"register_meta function for (\S+) raises unimplemented")
"""How torch says that an op returns as much as its values say."""

NO_BACKWARD_NOTE = "No output depends on a trainable parameter: there is no backward pass."

HIDDEN_OUTPUT_NOTE = (
    "The output is an object in which no tensor with a gradient was found: the backward pass is not known."
)


def explain_fallback(target: Target, error: BaseException) -> str:
    """Why a pass is run on real tensors, and which."""
    return FALLBACK_NOTE.format(inputs=_describe_values(target), reason=_first_sentence(error))


def list_call_notes(calls: Calls, autocast: PassAutocast) -> Iterator[str]:
    """The notes on what the calls of a pass did, and on what autocast cast to."""
    for rules, dtype in autocast.acted:
        yield AUTOCAST_NOTE.format(dtype=dtype_name(dtype), rules=RULE_OWNERS[rules])
    if calls.hides_blocks:
        yield BLOCKS_UNKNOWN_NOTE
    if calls.decisions:
        yield DECISIONS_NOTE.format(names=" and ".join(sorted(calls.decisions)))
    if calls.took_gradients:
        yield INNER_GRADIENTS_NOTE


def _first_sentence(error: BaseException) -> str:
    """What torch says, without the advice that follows it."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if sizeless := NO_SIZE.search(line):
        return f"{sizeless[1]} has no size."
    return line.split(". ")[0].split(", as ")[0].rstrip(".") + "."


def _describe_values(target: Target) -> str:
    """Where the values of the inputs are from."""
    given, drawn = count_given_values([target.args, target.kwargs])
    if not given:
        return "random inputs"
    return "the values given" + (", random ones where none were" if drawn else "")
