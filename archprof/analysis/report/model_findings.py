"""Findings about one model: what a reader of its table would find after a while.

Rows are named as its per-layer table names them, and so are columns. No share is given of a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from archprof.analysis import elapsed, phrases
from archprof.analysis.compare import findings
from archprof.analysis.compare.findings import (
    KIND_WORDS,
    MAX_FEW_ROWS,
    MAX_FINDINGS,
    Finding,
    WeighedFinding,
)
from archprof.analysis.counts import compute_intensity, sum_counts
from archprof.analysis.report.view import PageView
from archprof.facts import liveness
from archprof.models import registry

HALF = 0.5

NOTABLE_DIFFERENCE = 0.15
"""A difference between two shares from which on it is worth a sentence."""

LOW_INTENSITY = 10
"""FLOPs for each byte moved below which a layer is said to move much for what it computes."""

ModelRule = Callable[[PageView], Iterator[WeighedFinding]]


def choose_model_findings(subject: PageView) -> tuple[Finding, ...]:
    """At most seven sentences, the most important first; three or more for a model that does anything."""
    said = [weighed for rule in MODEL_RULES for weighed in rule(subject)]
    ordered = sorted(said, key=lambda weighed: -weighed.weight)
    return tuple(weighed.finding for weighed in ordered[:MAX_FINDINGS])


def find_incomplete_counts(subject: PageView) -> Iterator[WeighedFinding]:
    """Some numbers are lower bounds; where the forward stopped, what had been counted by then."""
    for weight, finding in findings.find_incomplete_models([subject], []):
        failure, totals = subject.profile.failure, subject.profile.totals
        rows = [subject.table_row_name(subject.profile.stopped_row or 0)] if failure else _unknown(subject)
        yield WeighedFinding(weight, _finding(subject, finding.text, ("macs", "flops"), rows))
        if failure:
            made = phrases.say_bytes(totals.activation_bytes["float32"])
            counted = f"{phrases.say_count(totals.macs)} MACs and made {made}"
            text = f"Until it stopped, {subject.name} spent {counted} of activations in float32."
            yield WeighedFinding(weight - 1, _finding(subject, text, ("macs", "act_fp32")))
            least = "at least " if "params" in subject.bounds else ""
            text = f"{subject.name} holds {least}{phrases.say_count(totals.params)} parameters, whatever runs."
            yield WeighedFinding(weight - 2, _finding(subject, text, ("params",)))


def _unknown(subject: PageView) -> list[str]:
    return [subject.table_row_name(row) for row, counts in enumerate(subject.own_counts) if counts.unknown]


def find_uncalled_params(subject: PageView) -> Iterator[WeighedFinding]:
    """Parameters in layers that never ran: in the model for nothing, or used without a call."""
    layers = subject.profile.layers
    idle = [row for row, layer in enumerate(layers) if layer.call is None and layer.params]
    if idle and not subject.profile.failure:
        held = sum(layers[row].params for row in idle)
        share = phrases.say_percent(held / subject.total.params)
        whose = f"{phrases.say_count(held)} parameters of {subject.name}, {share} of all,"
        text = f"{whose} are in {_layers(len(idle))} that this pass never calls."
        yield WeighedFinding(90, _finding(subject, text, ("params",), map(subject.table_row_name, idle)))


def find_mac_hotspots(subject: PageView) -> Iterator[WeighedFinding]:
    """The fewest layers that spend half of the MACs."""
    macs = {row: counts.macs for row, counts in enumerate(subject.own_counts) if counts.macs}
    if not macs or "macs" in subject.bounds:
        return
    ordered = sorted(macs, key=lambda row: -macs[row])
    sums = list(accumulate(macs[row] for row in ordered))
    few = next(i for i, held in enumerate(sums, 1) if held >= HALF * sums[-1])
    rows = [subject.table_row_name(row) for row in ordered[:few]]
    share = _capitalised(phrases.say_percent(sums[few - 1] / sums[-1]))
    where = f"{_number(few)} of its {_number(len(macs))} layers with MACs"
    text = f"{share} of the MACs of {subject.name} are spent in {where}."
    if len(macs) == 1:
        text = f"All MACs of {subject.name} are spent in {_row_in_words(rows[0])}."
    yield WeighedFinding(75 - 30 * few / len(macs), _finding(subject, text, ("macs", "share_macs"), rows))


def find_time_hotspots(subject: PageView) -> Iterator[WeighedFinding]:
    """The fewest layers that take half of the measured time; a few of many are worth more."""
    own, whole = subject.own_counts, elapsed.find_model_time(subject.profile)
    if not whole:
        return
    times = {
        row: one.latency.seconds for row, one in enumerate(own) if one.latency and not one.latency.below_resolution
    }
    ordered = sorted(times, key=lambda row: -times[row])
    sums = list(accumulate(times[row] for row in ordered))
    few = next((i for i, taken in enumerate(sums, 1) if taken >= HALF * whole.seconds), None)
    if few is None:
        return
    rows = [subject.table_row_name(row) for row in ordered[:few]]
    share, called = phrases.say_percent(sums[few - 1] / whole.seconds), sum(one.calls for one in own)
    text = f"{share} of the latency of {subject.name} is spent in {_number(few)} of {_layers(called)}"
    yield WeighedFinding(88 - 30 * few / called, _finding(subject, f"{text}.", ("latency", "share_latency"), rows))


def find_slow_kind(subject: PageView) -> Iterator[WeighedFinding]:
    """A kind of layer that takes a larger part of the time than of the FLOPs."""
    total = subject.total
    if not total.latency or not total.flops or "flops" in subject.bounds:
        return
    kinds: dict[str, list[int]] = {}
    for row in subject.rows:
        if subject.own_counts[row].calls:
            kinds.setdefault(subject.layer(row).kind, []).append(row)
    sums = {kind: sum_counts(subject.own_counts[row] for row in rows) for kind, rows in kinds.items()}
    shares = {kind: (one.latency.seconds / total.latency.seconds, one.flops / total.flops)
              for kind, one in sums.items() if one.latency and not one.latency.below_resolution}  # fmt: skip
    kind = max(shares, key=lambda kind: shares[kind][0] - shares[kind][1], default=None)
    if kind is None or shares[kind][0] - shares[kind][1] < NOTABLE_DIFFERENCE:
        return
    time, flops = (phrases.say_percent(share) for share in shares[kind])
    which = _capitalised(_layers(len(kinds[kind]), KIND_WORDS.get(kind, kind)))
    text = f"{which} take{'s' * (len(kinds[kind]) == 1)} {time} of the latency with {flops} of the FLOPs."
    rows = [subject.table_row_name(row) for row in kinds[kind]]
    yield WeighedFinding(72, _finding(subject, text, ("latency", "flops"), rows))


def find_gpu_waits(subject: PageView) -> Iterator[WeighedFinding]:
    """How much of the time as users run it the GPU has no kernel to run."""
    eager, kernel = (elapsed.find_model_time(subject.profile, method) for method in ("eager", "kernel"))
    if eager and kernel and 1 - kernel.seconds / eager.seconds >= NOTABLE_DIFFERENCE:
        share = phrases.say_percent(1 - kernel.seconds / eager.seconds)
        text = f"As users run it, no kernel of {subject.name} runs {share} of the time: it waits for launches."
        yield WeighedFinding(78, _finding(subject, text, ("eager", "kernel")))


def find_param_holders(subject: PageView) -> Iterator[WeighedFinding]:
    """The kind of layer that holds most of the parameters."""
    layers, kinds = subject.profile.layers, dict[str, list[int]]()
    for row, layer in enumerate(layers):
        if layer.params:
            kinds.setdefault(layer.kind, []).append(row)
    if not kinds or "params" in subject.bounds:
        return
    sums = {kind: sum(layers[row].params for row in rows) for kind, rows in kinds.items()}
    kind = max(sums, key=lambda kind: sums[kind])
    rows = [subject.table_row_name(row) for row in kinds[kind]]
    share = _capitalised(phrases.say_percent(sums[kind] / subject.total.params))
    part = "All parameters" if len(kinds) == 1 else f"{share} of the parameters"
    text = f"{part} of {subject.name} sit in {_layers(len(rows), KIND_WORDS.get(kind, kind))}."
    yield WeighedFinding(68 if len(rows) <= MAX_FEW_ROWS else 56, _finding(subject, text, ("params",), rows))


def find_activation_makers(subject: PageView) -> Iterator[WeighedFinding]:
    """Where activation memory is made: in the first stages, or else in which layer most."""
    sizes = {row: counts.act_fp32 for row, counts in enumerate(subject.own_counts) if counts.act_fp32}
    if not sizes or "act_fp32" in subject.bounds:
        return
    early = list(findings.find_early_activations([subject], []))
    for weight, finding in early:
        stages = [stage for stage in subject.stages if stage.counts.act_fp32][: len(finding.rows)]
        rows = [subject.table_row_name(row) for stage in stages for row in stage.rows if row in sizes]
        yield WeighedFinding(weight + 15, _finding(subject, _capitalised(finding.text), ("act_fp32", "params"), rows))
    if not early:
        yield from _find_largest_activations(subject, sizes)


def _find_largest_activations(subject: PageView, sizes: dict[int, int]) -> Iterator[WeighedFinding]:
    """The layer, or layers, with the largest activations; nothing where all are as large."""
    most = max(sizes.values())
    rows = [subject.table_row_name(row) for row, size in sizes.items() if size == most]
    amount = f"{phrases.say_bytes(most)} in float32, {phrases.say_percent(most / sum(sizes.values()))} of all"
    whose = f"The largest activations of {subject.name} are made in {_row_in_words(rows[0])}"
    text = f"{whose}: {amount}."
    if len(sizes) == 1:
        where = _row_in_words(rows[0])
        text = f"All activations of {subject.name} are made in {where}: {phrases.say_bytes(most)} in float32."
    elif len(rows) > 1:
        text = f"{whose} and in {_number(len(rows) - 1)} more: each {amount}."
    if len(sizes) == 1 or len(rows) < len(sizes):
        yield WeighedFinding(54, _finding(subject, text, ("act_fp32",), rows))


def find_memory_peak(subject: PageView) -> Iterator[WeighedFinding]:
    """The most bytes live at once, when, and how much of it is there all the time."""
    if not subject.live_bytes or "act_fp32" in subject.bounds:
        return
    profile, most = subject.profile, max(subject.live_bytes)
    row = subject.table_row_name(subject.row_of(profile.ops[subject.live_bytes.index(most)]))
    there = [profile.storages[index] for index in liveness.find_live_at_peak(profile)]
    fixed = sum(storage.nbytes for storage in there if storage.role in ("parameter", "buffer"))
    weights = f", {phrases.say_percent(fixed / most)} of it parameters and buffers" if fixed else ""
    size, where = phrases.say_bytes(most), _row_in_words(row)
    text = f"At most {size} are live at once in {profile.dtype}, while {where} runs{weights}."
    yield WeighedFinding(52, _finding(subject, text, ("act_fp32",), [row]))


def find_widest_field(subject: PageView) -> Iterator[WeighedFinding]:
    """The widest receptive field, against the input where its size is plain."""
    row = subject.widest_row
    if row is None or "field" in subject.bounds:
        return
    field = subject.fields[row].size or ()
    wide, whole = max(field), _input_extent(subject, field)
    if wide == 1:
        return
    sight, pixels = (
        f"One position of {_row_in_words(subject.table_row_name(row))} sees {wide:,}",
        "input pixels along a side",
    )
    if whole is None:
        text = f"{sight} {pixels}."
    elif wide <= whole:
        text = f"{sight} of the {whole:,} {pixels}."
    else:
        text = f"{sight} {pixels}, where there are {whole:,}."
    yield WeighedFinding(48, _finding(subject, text, ("rf",), [subject.table_row_name(row)]))


def _input_extent(subject: PageView, field: Sequence[int]) -> int | None:
    """The input along the side where the field is longest; `None` where channels may stand last."""
    inputs = subject.profile.layers[0].inputs
    shape = inputs[0].shape if inputs else ()
    plain = len(shape) == len(field) + 2 and (len(set(shape[2:])) == 1 or shape[-1] >= shape[1])
    return shape[2:][field.index(max(field))] if plain else None


def find_low_intensity(subject: PageView) -> Iterator[WeighedFinding]:
    """How much is computed for each byte moved, and how much is moved by layers that compute little."""
    whole, moved = compute_intensity(subject.total), subject.total.bytes_moved
    if whole is None or subject.bounds:
        return
    own = [(row, counts.bytes_moved, compute_intensity(counts)) for row, counts in enumerate(subject.own_counts)]
    low = [(row, size) for row, size, intensity in own if intensity is not None and intensity < LOW_INTENSITY]
    share = phrases.say_percent(sum(size for _, size in low) / moved)
    text = f"{subject.name} spends {whole:,.3g} FLOPs for each byte that its ops move"
    rest = f"; {share} of the bytes move in layers that spend fewer than {LOW_INTENSITY}" if low else ""
    rows = [subject.table_row_name(row) for row, _ in low]
    yield WeighedFinding(44, _finding(subject, f"{text}{rest}.", ("flops",), rows))


def find_published_error(subject: PageView) -> Iterator[WeighedFinding]:
    """Its published error, and of what that is."""
    if subject.top5_error is not None:
        entry = registry.BUILTIN_MODELS[subject.profile.model]
        text = f"{entry.name} was published with an ImageNet top-5 error of {entry.top5_error:.2f}%"
        yield WeighedFinding(46, _finding(subject, f"{text} ({entry.published[0].kind}).", ()))


def find_depth(subject: PageView) -> Iterator[WeighedFinding]:
    """In weight layers."""
    layers = subject.depth
    if layers and "depth" not in subject.bounds:
        text = f"{subject.name} is {layers:,} weight layer{'s' if layers > 1 else ''} deep."
        yield WeighedFinding(40, _finding(subject, text, (), map(subject.table_row_name, subject.weight_rows)))


def find_absences(subject: PageView) -> Iterator[WeighedFinding]:
    """What a small thing has not: these are said when there is little else to say."""
    total, name = subject.total, subject.name
    absent = [
        (total.params, "has no parameters"),
        (len(subject.profile.ops), "runs no op in this pass"),
        (total.macs or total.unknown, "multiplies no matrices and convolves nothing: it has no MACs"),
    ]
    for i, text in enumerate(text for count, text in absent if not count and not subject.profile.failure):
        yield WeighedFinding(30 - i, _finding(subject, f"{name} {text}.", ()))


MODEL_RULES: tuple[ModelRule, ...] = (
    find_incomplete_counts,
    find_uncalled_params,
    find_time_hotspots,
    find_gpu_waits,
    find_slow_kind,
    find_mac_hotspots,
    find_param_holders,
    find_activation_makers,
    find_memory_peak,
    find_widest_field,
    find_low_intensity,
    find_published_error,
    find_depth,
    find_absences,
)


def _finding(subject: PageView, text: str, columns: Sequence[str], rows: Iterable[str] = ()) -> Finding:
    """About the only model; rows that its table leaves out, for nothing in them is shown, are no rows."""
    return Finding(text, (0,), tuple(columns), tuple(row for row in rows if row in subject.listed_names))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _row_in_words(row: str) -> str:
    """A row in a sentence: a number alone is no name."""
    return "the model itself" if row.startswith("(model)") else f"layer {row}" if row.isdigit() else row


def _number(count: int) -> str:
    return phrases.SMALL_NUMBERS[count] if count < len(phrases.SMALL_NUMBERS) else f"{count:,}"


def _layers(count: int, kind: str = "") -> str:
    return f"{_number(count)} {f'{kind} ' if kind else ''}layer{'s' if count > 1 else ''}"
