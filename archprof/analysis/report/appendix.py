"""The end of a report: how it was counted, on what, and what was not counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from archprof.analysis.phrases import say_once
from archprof.analysis.ran_words import list_ran
from archprof.analysis.tables import notes
from archprof.analysis.view import ProfileView
from archprof.facts.records import Profile, Ran
from archprof.wording import say_many

Section = tuple[str, "str | tuple[str, ...]"]

METHOD_LINES = (
    "Each model ran once, on stand-ins for its tensors. A rule for each aten op, a function of shapes, says its cost.",
    "A row is one call of one module and holds what that call did itself; totals are sums of rows.",
    "Parameters are elements, each tensor once, at its first owner.",
    "Activation memory is the bytes of new results of ops in one forward pass; views and in-place ops make none.",
    "Live bytes are what the tensors of the pass hold; what an allocator rounds up or keeps back is not in them.",
    "Bytes moved are what each op reads and writes, as if nothing were fused or kept in a cache.",
    "Receptive fields are those of Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks "
    "(Distill, 2019), found from the ops.",
)

MEASURED_LINES = (
    "What is measured is a copy of the model that ran on random inputs, after a warm-up, in rounds; a row holds the "
    "time of its own work, and rows in parentheses what belongs to no layer.",
)

DEVICE_WORDS = {
    "meta": "counted on stand-ins that have shapes and no values (torch's device meta)",
    "cpu": "counted on tensors with values on the CPU, for the pass needed them",
}
"""On what a pass ran that was counted."""

CONVENTION_LINES = (
    notes.CONVENTION_NOTE,
    notes.OWN_WORK_NOTE,
    "Counts print with k M G T (1 k = 1000), bytes with KiB MiB GiB (1 KiB = 1024 B).",
    "A value marked as a lower bound leaves something out, which is named under what was not counted.",
)


def build_appendix(profiles: Sequence[Profile], command: str, sources: Sequence[str] = ()) -> tuple[Section, ...]:
    """Sections in reading order: a title, and lines, or the text of a command; none is empty.

    `sources`: what is known of the files that the models came from.
    """
    sections: list[Section] = [
        ("Method", (*METHOD_LINES, *(MEASURED_LINES if any(profile.measurement for profile in profiles) else ()))),
        ("Conventions", CONVENTION_LINES),
        ("Source", tuple(sources)),
        ("Environment", say_once([[*_ran(one.ran), DEVICE_WORDS.get(one.ran.device, "")] for one in profiles])),
        ("Measured with", say_once([_ran(one.measurement.ran) if one.measurement else [] for one in profiles])),
        ("Not counted", say_once([_unknown(profile) for profile in profiles]) or ("Every op that ran has a rule.",)),
        ("Notes", say_once([[*notes.describe_pass(one), *notes.list_reservations(one)] for one in profiles])),
        ("Published errors", tuple(dict.fromkeys(line for profile in profiles for line in _errors(profile)))),
        ("Command", command),
    ]
    return tuple(section for section in sections if section[1])


def _ran(ran: Ran) -> list[str]:
    return [f"{name} {text}" for name, text in list_ran(ran)]


def _unknown(profile: Profile) -> list[str]:
    calls = Counter(op.name for op in profile.ops if op.status == "unknown")
    return [f"{name}: {say_many(count, 'call')}" for name, count in calls.items()]


def _errors(profile: Profile) -> list[str]:
    figures = ProfileView(profile).published_errors
    return [f"{profile.model}: {figure.top5_error:g}% top-5, {figure.kind}: {figure.source}." for figure in figures]
