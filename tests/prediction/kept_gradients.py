"""A training step before torch 2.0, which kept its gradients: it set each to zero, and added the next to it."""

from __future__ import annotations

from archprof.facts.records import Profile
from archprof.predicting.latency.launches import LAUNCH_KINDS
from archprof.predicting.latency.works import Work
from prediction.latency_counts import list_counts


def list_counts_with_kept_gradients(profile: Profile) -> tuple[dict[Work, int], list[int]]:
    """The kernels of such a step, and the launches of each kind: two more for each parameter."""
    works, launches = list_counts(profile)
    for one in profile.parameters:
        if one.role == "parameter" and one.trainable:
            dtype, nbytes = one.spec.dtype, one.nbytes
            added = Work("pointwise", dtype, flops=one.spec.numel, read=2 * nbytes, written=nbytes)
            for work in (Work("copy", dtype, written=nbytes), added):
                works[work] = works.get(work, 0) + 1
                launches[LAUNCH_KINDS.index("op")] += 1
    return works, launches
