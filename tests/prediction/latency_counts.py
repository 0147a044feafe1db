"""The kernels of a traced pass as scores are made of them: how often it runs each, and what the host launches."""

from __future__ import annotations

from archprof.facts.records import Profile
from archprof.predicting.latency.launches import LAUNCH_KINDS, classify_launch
from archprof.predicting.latency.passes import list_steady_ops
from archprof.predicting.latency.works import Work, list_works


def list_counts(profile: Profile) -> tuple[dict[Work, int], list[int]]:
    """How often a pass runs each kernel, and how many ops of each kind the host launches: by `LAUNCH_KINDS`."""
    works: dict[Work, int] = {}
    launches = [0] * len(LAUNCH_KINDS)
    for index in list_steady_ops(profile):
        signature, _, phase, _, _ = profile.ops[index]
        found = list_works(signature)
        launches[classify_launch(signature, phase, found)] += 1
        for work in found:
            if work.kind != "view":
                works[work] = works.get(work, 0) + 1
    return works, launches
