"""Architectures side by side: their totals with ratios, where the difference sits, and every layer of each."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from string import ascii_uppercase

from archprof.analysis import elapsed
from archprof.analysis.compare import align, findings, pair_findings, side_by_side
from archprof.analysis.compare.align import StagedProfile
from archprof.analysis.compare.findings import Finding, ModelFacts
from archprof.analysis.compare.side_by_side import divide
from archprof.analysis.receptive import fields
from archprof.analysis.table import Column, Row, Table, Value
from archprof.analysis.tables import notes
from archprof.analysis.weight_depth import count_weight_layers
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.models import registry

ALIGNMENTS = ("auto", "path", "stage")
MAX_MODELS = len(ascii_uppercase)

COMPARISON_RULES = (
    findings.find_incomplete_models,
    findings.find_input_differences,
    pair_findings.compare_costs,
    pair_findings.compare_fields,
    pair_findings.where_macs_differ,
    pair_findings.compare_errors,
    pair_findings.compare_depths,
    pair_findings.compare_memory,
    pair_findings.compare_times,
    findings.find_concentrated_params,
    findings.find_early_activations,
)

SUMMARY_MEASURES = (
    Column("params", "Params", "count", "parameters, each tensor once", 2),
    Column("macs", "MACs", "count", "multiply-accumulates of one forward", 2),
    Column("flops", "FLOPs", "count", "floating-point operations of one forward", 12),
    Column("act_fp32", "Act fp32", "bytes", "activation memory, had the pass run in float32", 4, "activation"),
    Column("latency", "Latency", "seconds", "measured time of the whole model, without marks", 3),
    Column("act_fp16", "Act fp16", "bytes", "activation memory, had the pass run in float16", 14, "activation"),
    Column("depth", "Depth", "count", "weight layers one after another on the longest way", 6),
    Column("field", "Field", "count", "input pixels that one position sees along the longer side, at its widest", 8),
    Column("top5_error", "Top-5 err %", "count", "published ImageNet top-5 error in percent", 10),
)
"""What the summary gives of each model, each with its ratio to the first."""

SUMMARY_LEGEND = (
    "x is the ratio to A. Depth: weight layers one after another on the longest way. "
    "Field: input pixels along a side that one position sees, before all are mixed.",
)

NO_LATENCY_RATIO = "No ratio of latency: not all models were measured on one device by one method."


@dataclass(frozen=True)
class Comparison:
    """What a design review asks of several models.

    Attributes:
        summary: one row a model, with the ratio to the first behind each number.
        findings: what is worth saying, in sentences, the most important first.
        stages: parts of about the same resolution beside each other; they add up to the totals of each model.
        layers: every row of every model exactly once, beside what it corresponds to.
    """

    summary: Table
    findings: tuple[Finding, ...]
    stages: Table
    layers: Table

    def to_text(self, width: int | None = None) -> str:
        """The summary, the findings and the stages, as wide as they need to be or at most `width`."""
        return f"{self.summary.to_text(width)}\n{self.sentences(width)}\n{self.stages.to_text(width)}"

    def sentences(self, width: int | None = None) -> str:
        """The findings as a list, one a line or wrapped at `width`."""
        texts = [str(finding) for finding in self.findings]
        if width is None:
            return "".join(f"* {text}\n" for text in texts)
        return "".join(f"{textwrap.fill(f'* {text}', width, subsequent_indent='  ')}\n" for text in texts)

    def to_markdown(self) -> str:
        """The summary, the findings as a list, the stages and the layers."""
        tables = [table.to_markdown() for table in (self.summary, self.stages, self.layers)]
        return "\n".join([tables[0], self.sentences(), *tables[1:]])

    def to_json(self) -> str:
        """One object, schema 1: the three tables as they are on their own, and the findings with what they rest on."""
        tables = {name: json.loads(getattr(self, name).to_json()) for name in ("summary", "stages", "layers")}
        said = [asdict(finding) for finding in self.findings]
        return json.dumps({"schema": 1, "findings": said, **tables}, indent=2) + "\n"

    def _repr_html_(self) -> str:
        """What a notebook shows: small, without plotly."""
        from archprof.render import formats

        return formats.comparison_cell(self)

    def __str__(self) -> str:
        """Plain text that fits the terminal, where there is one."""
        return self.to_text(shutil.get_terminal_size((0, 0)).columns or None)


def compare(
    profiles: Sequence[Profile], *, by: str = "auto", published: Sequence[float | None] | None = None
) -> Comparison:
    """Set models side by side; every ratio is to the first.

    Args:
        profiles: two or more.
        by: how layers are matched: "path" (of the same name), "stage" (by resolution, and inside a stage by kind in
            order), or "auto": by path where the models name and use most of their layers alike.
        published: an ImageNet top-5 error of each, in percent; left out: what is known of the built-in names.

    Raises:
        UsageError: for fewer than two models, more than 26, or a `by` that does not exist.
    """
    validate_comparison(len(profiles), by=by)
    sides = [align.StagedProfile(profile) for profile in profiles]
    facts = _facts(sides, published)
    names = [fact.name for fact in facts]
    stages = align.align_stages(sides)
    path = by == "path" or (by == "auto" and align.are_one_family(sides))
    return Comparison(
        summary=_summary(facts, () if published else _sources(profiles)),
        findings=findings.choose_findings(COMPARISON_RULES, facts, stages),
        stages=side_by_side.tabulate_stages(names, sides, stages),
        layers=side_by_side.tabulate_layers_by_path(names, sides)
        if path
        else side_by_side.tabulate_layers_by_stage(names, sides, stages),
    )


def validate_comparison(models: int, *, by: str = "auto") -> None:
    """Raise what `compare` would raise for so many models and this option, before there is a profile."""
    if by not in ALIGNMENTS:
        raise UsageError(f"Layers cannot be matched by {by!r}.", f"Allowed: {', '.join(ALIGNMENTS)}.")
    if not 2 <= models <= MAX_MODELS:
        given = "1 model was" if models == 1 else f"{models} models were"
        raise UsageError(f"{given} given to compare.", f"From 2 to {MAX_MODELS} can be compared.")


def _facts(sides: Sequence[StagedProfile], published: Sequence[float | None] | None) -> list[ModelFacts]:
    """What is known of each model; `published` as in `compare`."""
    profiles = [side.profile for side in sides]
    known = [None if published else registry.BUILTIN_MODELS.get(profile.model) for profile in profiles]
    errors = published or [entry.top5_error if entry else None for entry in known]
    return [
        ModelFacts(
            name=name,
            staged=side,
            depth=count_weight_layers(side.profile),
            field=_field(side.profile),
            top5_error=error,
            is_competition_entry=entry is not None and _competed(entry),
        )
        for name, side, error, entry in zip(_names(profiles), sides, errors, known, strict=True)
    ]


def _names(profiles: Sequence[Profile]) -> list[str]:
    """What each model is called in a sentence; its letter is added where two have one name."""
    often = Counter(profile.model for profile in profiles)
    return [
        f"{profile.model} ({letter})" if often[profile.model] > 1 else profile.model
        for letter, profile in zip(ascii_uppercase, profiles, strict=False)
    ]


def _field(profile: Profile) -> int | None:
    """The widest receptive field along the longer side; `None` where no layer has one."""
    found = fields.find_widest(profile)
    return max(found[1].size) if found and found[1].size else None


def _competed(entry: registry.BuiltinModel) -> bool:
    return bool(entry.published) and entry.published[0].kind == "competition entry"


def _sources(profiles: Sequence[Profile]) -> tuple[str, ...]:
    """A line for each published error that is not of one net."""
    entries = [
        registry.BUILTIN_MODELS[name]
        for name in dict.fromkeys(p.model for p in profiles)
        if name in registry.BUILTIN_MODELS
    ]
    return tuple(f"Error of {entry.name}: {entry.source}." for entry in entries if _competed(entry))


def _summary(facts: Sequence[ModelFacts], sources: Sequence[str]) -> Table:
    """One row a model; a measure that no model has gets no column."""
    shown = [column for column in SUMMARY_MEASURES if any(_measure(fact, column.key) is not None for fact in facts)]
    columns = [Column("model", "Model", "path", "the letter that stands for it, and its name", 0)]
    timed = elapsed.are_comparable([fact.staged.profile for fact in facts])
    for column in shown:
        beside = Column(f"{column.key}_ratio", "x", "count", f"{column.meaning}: ratio to A", column.rank + 1)
        columns += [column, beside]
    rows = []
    for letter, fact in zip(ascii_uppercase, facts, strict=False):
        cells: list[Value] = [fact.staged.profile.model]
        for column in shown:
            value = _measure(fact, column.key)
            cells += [
                value,
                divide(value, _measure(facts[0], column.key)) if timed or column.key != "latency" else None,
            ]
        keys = frozenset(column.key for column in shown)
        within = {"latency": fact.time.half_interval} if fact.time and fact.time.half_interval else {}
        rows.append(
            Row(tuple(cells), f"{letter} {fact.staged.profile.model}", bounds=fact.bounds & keys, half_intervals=within)
        )
    title = f"{facts[0].name} against {_joined([fact.name for fact in facts[1:]])}"
    return Table(title, tuple(columns), tuple(rows), notes=(*_notes(facts), *sources))


def _measure(fact: ModelFacts, key: str) -> int | float | None:
    if key in ("depth", "field"):
        return getattr(fact, key)  # type: ignore[no-any-return]
    if key == "latency":
        return fact.time.seconds if fact.time else None
    return fact.top5_error if key == "top5_error" else getattr(fact.total, key)


def _notes(facts: Sequence[ModelFacts]) -> tuple[str, ...]:
    """How it was counted, and under the letters of the models what was asked of each and what was not counted."""
    said: dict[str, list[str]] = {}
    for letter, fact in zip(ascii_uppercase, facts, strict=False):
        for note in notes.collect_notes(fact.staged.profile):
            said.setdefault(note, []).append(letter)
    lines = [note if len(who) == len(facts) else f"{', '.join(who)}: {note}" for note, who in said.items()]
    timed = [fact for fact in facts if fact.time]
    apart = timed and not elapsed.are_comparable([fact.staged.profile for fact in facts])
    return (*SUMMARY_LEGEND, *lines, *([NO_LATENCY_RATIO] if apart else []))


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
