"""The rewrites that could make a model smaller, tried out one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from archprof import files
from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, PassRequest

SHRINKING_REWRITES: dict[str, dict[str, Any]] = {
    "--separable": {"separable": True},
    "--no-fc": {"no_fc": True},
    "--width 0.75": {"width": 0.75},
}
"""By what one types after `archprof whatif MODEL`, the keywords of `whatif`."""

MAX_CALLS = 1500
"""A model with more calls is not rewritten unasked: it would take longer than its page."""


class Trial(NamedTuple):
    """What one rewrite did: at how many layers, and the model before and after."""

    option: str
    layers: int
    before: Profile
    after: Profile


def try_rewrites(
    models: Sequence[Any], inputs: Any, profiles: Sequence[Profile], request: PassRequest = PLAIN_PASS
) -> list[Trial]:
    """What each rewrite that applies to the one model would change.

    None of several models, of a profile (which is read where no torch is), of what was measured, or where the model
    has no plain graph.
    """
    if len(models) != 1 or isinstance(models[0], Profile) or not _may_be_rewritten(profiles[0]):
        return []
    (model,) = models
    if isinstance(model, str) and files.is_profile_path(model):
        return []
    from archprof.rewriting.whatif import whatif

    asked = PassRequest(request.batch, request.dtype, causal=request.causal, amp=request.amp)
    trials = []
    for option, keywords in SHRINKING_REWRITES.items():
        try:
            done = whatif(model, inputs, asked, **keywords)
        except ArchprofError:
            continue
        if done.applied:
            trials.append(Trial(option, len({change.path for change in done.applied}), done.before, done.after))
    return trials


def _may_be_rewritten(profile: Profile) -> bool:
    plain = profile.failure is None and profile.decoding is None and profile.measurement is None
    return plain and len(profile.calls) <= MAX_CALLS
