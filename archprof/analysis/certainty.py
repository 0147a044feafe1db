"""How sure the numbers of a profile are, in one word that every answer about a whole model can carry."""

from __future__ import annotations

from archprof.facts.records import Profile

COMPLETE = "complete"
LOWER_BOUND = "lower bound"
FALLBACK = "on real tensors"


def describe_certainty(profile: Profile) -> str:
    """ "complete", or "lower bound" where an op has no rule or the forward stopped; either may be "on real tensors".

    The last says that the pass needed values, so that what was counted may depend on the values it took.
    """
    word = COMPLETE if profile.totals.complete else LOWER_BOUND
    return f"{word}, {FALLBACK}" if profile.ran.device == "cpu" else word
