"""Findings about one model: what a reader of its table would find after a while.

Rows are named as its per-layer table names them, and so are columns. No share is given of a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from archprof.analysis import elapsed, phrases
from archprof.analysis.compare import findings
from archprof.analysis.compare.findings import FEW, KINDS, MOST, Finding, Weighed
from archprof.analysis.report.view import Subject
from archprof.analysis.tables.columns import Counts, add
from archprof.facts import liveness
from archprof.models import registry

HALF = 0.5

APART = 0.15
"""A difference between two shares from which on it is worth a sentence."""

SPARSE = 10
"""FLOPs for each byte moved below which a layer is said to move much for what it computes."""

Rule = Callable[[Subject], Iterator[Weighed]]


def of(subject: Subject) -> tuple[Finding, ...]:
    """At most seven sentences, the most important first; three or more for a model that does anything."""
    said = [weighed for rule in RULES for weighed in rule(subject)]
    ordered = sorted(said, key=lambda weighed: -weighed.weight)
    return tuple(weighed.finding for weighed in ordered[:MOST])


def incomplete(subject: Subject) -> Iterator[Weighed]:
    """Some numbers are lower bounds; where the forward stopped, what had been counted by then."""
    for weight, finding in findings.incomplete([subject.facts], []):
        failure, totals = subject.profile.failure, subject.profile.totals
        rows = [subject.name(failure.layer)] if failure else _unknown(subject)
        yield Weighed(weight, _finding(subject, finding.text, ("macs", "flops"), rows))
        if failure:
            counted = f"{phrases.count(totals.macs)} MACs and made {phrases.size(totals.activation_bytes['float32'])}"
            text = f"Until it stopped, {subject.facts.name} spent {counted} of activations in float32."
            yield Weighed(weight - 1, _finding(subject, text, ("macs", "act_fp32")))
            text = f"The layers up to there hold {phrases.count(totals.params)} parameters; those behind are not known."
            yield Weighed(weight - 2, _finding(subject, text, ("params",)))


def _unknown(subject: Subject) -> list[str]:
    return [subject.name(row) for row, counts in enumerate(subject.side.own) if counts.unknown]


def uncalled(subject: Subject) -> Iterator[Weighed]:
    """Parameters in layers that never ran: in the model for nothing, or used without a call."""
    layers = subject.profile.layers
    idle = [row for row, layer in enumerate(layers) if layer.call is None and layer.params]
    if idle and not subject.profile.failure:
        held = sum(layers[row].params for row in idle)
        share = phrases.percent(held / subject.facts.total.params)
        whose = f"{phrases.count(held)} parameters of {subject.facts.name}, {share} of all,"
        text = f"{whose} are in {_layers(len(idle))} that this pass never calls."
        yield Weighed(90, _finding(subject, text, ("params",), map(subject.name, idle)))


def spent(subject: Subject) -> Iterator[Weighed]:
    """The fewest layers that spend half of the MACs."""
    macs = {row: counts.macs for row, counts in enumerate(subject.side.own) if counts.macs}
    if not macs or "macs" in subject.facts.bounds:
        return
    ordered = sorted(macs, key=lambda row: -macs[row])
    sums = list(accumulate(macs[row] for row in ordered))
    few = next(i for i, held in enumerate(sums, 1) if held >= HALF * sums[-1])
    rows = [subject.name(row) for row in ordered[:few]]
    share = _at_start(phrases.percent(sums[few - 1] / sums[-1]))
    where = f"{_number(few)} of its {_number(len(macs))} layers with MACs"
    text = f"{share} of the MACs of {subject.facts.name} are spent in {where}."
    if len(macs) == 1:
        text = f"All MACs of {subject.facts.name} are spent in {_called(rows[0])}."
    yield Weighed(75 - 30 * few / len(macs), _finding(subject, text, ("macs", "share_macs"), rows))


def timed(subject: Subject) -> Iterator[Weighed]:
    """The fewest layers that take half of the measured time; a few of many are worth more."""
    own, whole = subject.side.own, elapsed.whole(subject.profile)
    if not whole:
        return
    times = {row: one.latency.seconds for row, one in enumerate(own) if one.latency and not one.latency.under}
    ordered = sorted(times, key=lambda row: -times[row])
    sums = list(accumulate(times[row] for row in ordered))
    few = next((i for i, taken in enumerate(sums, 1) if taken >= HALF * whole.seconds), None)
    if few is None:
        return
    rows = [subject.name(row) for row in ordered[:few]]
    share, called = phrases.percent(sums[few - 1] / whole.seconds), sum(one.calls for one in own)
    text = f"{share} of the latency of {subject.facts.name} is spent in {_number(few)} of {_layers(called)}"
    yield Weighed(88 - 30 * few / called, _finding(subject, f"{text}.", ("latency", "share_latency"), rows))


def costly(subject: Subject) -> Iterator[Weighed]:
    """A kind of layer that takes a larger part of the time than of the FLOPs."""
    total = subject.facts.total
    if not total.latency or not total.flops or "flops" in subject.facts.bounds:
        return
    kinds: dict[str, list[int]] = {}
    for row in subject.side.rows:
        if subject.side.own[row].calls:
            kinds.setdefault(subject.side.layer(row).kind, []).append(row)
    sums = {kind: add(subject.side.own[row] for row in rows) for kind, rows in kinds.items()}
    shares = {kind: (one.latency.seconds / total.latency.seconds, one.flops / total.flops)
              for kind, one in sums.items() if one.latency and not one.latency.under}  # fmt: skip
    kind = max(shares, key=lambda kind: shares[kind][0] - shares[kind][1], default=None)
    if kind is None or shares[kind][0] - shares[kind][1] < APART:
        return
    time, flops = (phrases.percent(share) for share in shares[kind])
    which = _at_start(_layers(len(kinds[kind]), KINDS.get(kind, kind)))
    text = f"{which} take{'s' * (len(kinds[kind]) == 1)} {time} of the latency with {flops} of the FLOPs."
    rows = [subject.name(row) for row in kinds[kind]]
    yield Weighed(72, _finding(subject, text, ("latency", "flops"), rows))


def waiting(subject: Subject) -> Iterator[Weighed]:
    """How much of the time as users run it the GPU has no kernel to run."""
    eager, kernel = (elapsed.whole(subject.profile, method) for method in ("eager", "kernel"))
    if eager and kernel and 1 - kernel.seconds / eager.seconds >= APART:
        share = phrases.percent(1 - kernel.seconds / eager.seconds)
        text = f"As users run it, no kernel of {subject.facts.name} runs {share} of the time: it waits for launches."
        yield Weighed(78, _finding(subject, text, ("eager", "kernel")))


def held(subject: Subject) -> Iterator[Weighed]:
    """The kind of layer that holds most of the parameters; of a pass that stopped it is not known."""
    layers, kinds = subject.profile.layers, dict[str, list[int]]()
    for row, layer in enumerate(layers):
        if layer.params:
            kinds.setdefault(layer.kind, []).append(row)
    if not kinds or subject.profile.failure:
        return
    sums = {kind: sum(layers[row].params for row in rows) for kind, rows in kinds.items()}
    kind = max(sums, key=lambda kind: sums[kind])
    rows = [subject.name(row) for row in kinds[kind]]
    share = _at_start(phrases.percent(sums[kind] / subject.facts.total.params))
    part = "All parameters" if len(kinds) == 1 else f"{share} of the parameters"
    text = f"{part} of {subject.facts.name} sit in {_layers(len(rows), KINDS.get(kind, kind))}."
    yield Weighed(68 if len(rows) <= FEW else 56, _finding(subject, text, ("params",), rows))


def made(subject: Subject) -> Iterator[Weighed]:
    """Where activation memory is made: in the first stages, or else in which layer most."""
    sizes = {row: counts.act_fp32 for row, counts in enumerate(subject.side.own) if counts.act_fp32}
    if not sizes or "act_fp32" in subject.facts.bounds:
        return
    early = list(findings.early([subject.facts], []))
    for weight, finding in early:
        stages = [stage for stage in subject.side.stages if stage.counts.act_fp32][: len(finding.rows)]
        rows = [subject.name(row) for stage in stages for row in stage.rows if row in sizes]
        yield Weighed(weight + 15, _finding(subject, _at_start(finding.text), ("act_fp32", "params"), rows))
    if not early:
        yield from _largest(subject, sizes)


def _largest(subject: Subject, sizes: dict[int, int]) -> Iterator[Weighed]:
    """The layer, or layers, with the largest activations; nothing where all are as large."""
    most = max(sizes.values())
    rows = [subject.name(row) for row, size in sizes.items() if size == most]
    amount = f"{phrases.size(most)} in float32, {phrases.percent(most / sum(sizes.values()))} of all"
    whose = f"The largest activations of {subject.facts.name} are made in {_called(rows[0])}"
    text = f"{whose}: {amount}."
    if len(sizes) == 1:
        text = (
            f"All activations of {subject.facts.name} are made in {_called(rows[0])}: {phrases.size(most)} in float32."
        )
    elif len(rows) > 1:
        text = f"{whose} and in {_number(len(rows) - 1)} more: each {amount}."
    if len(sizes) == 1 or len(rows) < len(sizes):
        yield Weighed(54, _finding(subject, text, ("act_fp32",), rows))


def peak(subject: Subject) -> Iterator[Weighed]:
    """The most bytes live at once, when, and how much of it is there all the time."""
    if not subject.live or "act_fp32" in subject.facts.bounds:
        return
    profile, most = subject.profile, max(subject.live)
    row = subject.name(profile.ops[subject.live.index(most)].layer)
    there = [profile.storages[index] for index in liveness.at_peak(profile)]
    fixed = sum(storage.nbytes for storage in there if storage.role in ("parameter", "buffer"))
    weights = f", {phrases.percent(fixed / most)} of it parameters and buffers" if fixed else ""
    text = f"At most {phrases.size(most)} are live at once in {profile.dtype}, while {_called(row)} runs{weights}."
    yield Weighed(52, _finding(subject, text, ("act_fp32",), [row]))


def sees(subject: Subject) -> Iterator[Weighed]:
    """The widest receptive field, against the input where its size is plain."""
    row = subject.widest
    if row is None or "field" in subject.facts.bounds:
        return
    field = subject.fields[row].size or ()
    wide, whole = max(field), _whole(subject, field)
    if wide == 1:
        return
    sight, pixels = f"One position of {_called(subject.name(row))} sees {wide:,}", "input pixels along a side"
    if whole is None:
        text = f"{sight} {pixels}."
    elif wide <= whole:
        text = f"{sight} of the {whole:,} {pixels}."
    else:
        text = f"{sight} {pixels}, where there are {whole:,}."
    yield Weighed(48, _finding(subject, text, ("rf",), [subject.name(row)]))


def _whole(subject: Subject, field: Sequence[int]) -> int | None:
    """The input along the side where the field is longest; `None` where channels may stand last."""
    inputs = subject.profile.layers[0].inputs
    shape = inputs[0].shape if inputs else ()
    plain = len(shape) == len(field) + 2 and (len(set(shape[2:])) == 1 or shape[-1] >= shape[1])
    return shape[2:][field.index(max(field))] if plain else None


def intensity(subject: Subject) -> Iterator[Weighed]:
    """How much is computed for each byte moved, and how much is moved by layers that compute little."""
    own = subject.side.own
    moved = sum(counts.bytes_moved for counts in own)
    if not moved or subject.facts.bounds:
        return
    done = sum(counts.flops + (counts.backward_flops or 0) for counts in own)
    low = [row for row, one in enumerate(own) if one.bytes_moved and _flops_per_byte(one) < SPARSE]
    share = phrases.percent(sum(own[row].bytes_moved for row in low) / moved)
    text = f"{subject.facts.name} spends {done / moved:,.3g} FLOPs for each byte that its ops move"
    rest = f"; {share} of the bytes move in layers that spend fewer than {SPARSE}" if low else ""
    yield Weighed(44, _finding(subject, f"{text}{rest}.", ("flops",), map(subject.name, low)))


def _flops_per_byte(counts: Counts) -> float:
    return (counts.flops + (counts.backward_flops or 0)) / counts.bytes_moved


def published(subject: Subject) -> Iterator[Weighed]:
    """Its published error, and of what that is."""
    if subject.facts.error is not None:
        entry = registry.ENTRIES[subject.profile.model]
        text = f"{entry.name} was published with an ImageNet top-5 error of {entry.top5_error:.2f}%"
        yield Weighed(46, _finding(subject, f"{text} ({entry.published[0].kind}).", ()))


def depth(subject: Subject) -> Iterator[Weighed]:
    """In weight layers."""
    layers = subject.facts.depth
    if layers and "depth" not in subject.facts.bounds:
        text = f"{subject.facts.name} is {layers:,} weight layer{'s' if layers > 1 else ''} deep."
        yield Weighed(40, _finding(subject, text, (), map(subject.name, subject.weighted)))


def nothing(subject: Subject) -> Iterator[Weighed]:
    """What a small thing has not: these are said when there is little else to say."""
    total, name = subject.facts.total, subject.facts.name
    absent = [
        (total.params, "has no parameters"),
        (len(subject.profile.ops), "runs no op in this pass"),
        (total.macs or total.unknown, "multiplies no matrices and convolves nothing: it has no MACs"),
    ]
    for i, text in enumerate(text for count, text in absent if not count and not subject.profile.failure):
        yield Weighed(30 - i, _finding(subject, f"{name} {text}.", ()))


RULES: tuple[Rule, ...] = (
    incomplete, uncalled, timed, waiting, costly, spent, held, made, peak, sees, intensity, published, depth, nothing,
)  # fmt: skip


def _finding(subject: Subject, text: str, columns: Sequence[str], rows: Iterable[str] = ()) -> Finding:
    """About the only model; rows that its table leaves out, for nothing in them is shown, are no rows."""
    return Finding(text, (0,), tuple(columns), tuple(row for row in rows if row in subject.listed))


def _at_start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _called(row: str) -> str:
    """A row in a sentence: a number alone is no name."""
    return "the model itself" if row.startswith("(model)") else f"layer {row}" if row.isdigit() else row


def _number(count: int) -> str:
    return phrases.SMALL[count] if count < len(phrases.SMALL) else f"{count:,}"


def _layers(count: int, kind: str = "") -> str:
    return f"{_number(count)} {f'{kind} ' if kind else ''}layer{'s' if count > 1 else ''}"
