"""What other tools would print for a model, each under its own rule: pure functions of a profile.

One file per tool. Each rule was read from the source of the version that is named, and its result compared to what that
version prints (`tests/data/conventions.csv`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archprof.analysis.contradictions import refuse_contradictions
from archprof.analysis.other_tools import deepspeed, flop_counter, fvcore, ptflops, thop, torchinfo
from archprof.analysis.other_tools.tool_count import Convention, ToolCount, count_by_convention
from archprof.analysis.other_tools.tool_view import ToolView
from archprof.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from archprof.facts.records import Profile

OWN_CONVENTION = "archprof"

CONVENTIONS: dict[str, Convention] = {
    module.CONVENTION.tool: module.CONVENTION for module in (flop_counter, fvcore, ptflops, thop, torchinfo, deepspeed)
}
"""By the name that `--convention` takes."""


def validate_tool_name(name: str) -> None:
    """Raise `UnknownName` unless `name` is "archprof" or a tool whose rule is known."""
    if name != OWN_CONVENTION and name not in CONVENTIONS:
        raise UnknownName("convention", name, [OWN_CONVENTION, *CONVENTIONS])


@refuse_contradictions
def count_as_tool(profile: Profile, name: str) -> ToolCount:
    """What the tool called `name` would print for this model and input.

    Raises:
        UnknownName: there is no rule of that name.
        UsageError: the profile is of a training pass; the tools count one forward in evaluation mode.
    """
    if name not in CONVENTIONS:
        raise UnknownName("convention", name, CONVENTIONS)
    if profile.mode == "train":
        raise UsageError(f"{name} counts a forward in evaluation mode.", hint="Leave out --train.")
    convention = CONVENTIONS[name]
    if profile.failure is not None:
        return ToolCount(convention, failure="the forward of the model stopped before its end")
    return count_by_convention(convention, ToolView(profile))
