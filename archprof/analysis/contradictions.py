"""What a file can say that each of its records allows: an op whose arguments do not fit its shapes.

Only following the ops finds out, and whoever follows them cannot go on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from archprof.errors import ProfileFileError
from archprof.facts.records import Profile

P = ParamSpec("P")
Answer = TypeVar("Answer")


def refuse_contradictions(
    follow: Callable[Concatenate[Profile, P], Answer],
) -> Callable[Concatenate[Profile, P], Answer]:
    """Make what follows the ops of a profile end in words where a file has ops that contradict each other."""

    @wraps(follow)
    def follow_or_refuse(profile: Profile, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return follow(profile, *args, **kwargs)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if not profile.was_read:
                raise  # no file: a fault of our own, and its place matters
            raise ProfileFileError(
                f"The ops of {profile.model} cannot be followed: {error!r}.",
                "The arguments of an op and the shapes of its tensors contradict each other.",
                "Make the profile again.",
            ) from error

    return follow_or_refuse
