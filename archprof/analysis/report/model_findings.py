"""Findings about one model: what a reader of its table would find after a while.

Rows are named as its per-layer table names them, and so are columns. No share is given of a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from archprof.analysis.probe_findings import observe_probe
from archprof.analysis.report.view import PageView
from archprof.facts import liveness
from archprof.models import registry

HALF = 0.5

NOTABLE_DIFFERENCE = 0.15
"""A difference between two shares from which on it is worth a sentence."""

LOW_INTENSITY = 10
"""FLOPs for each byte moved below which a layer is said to move much for what it computes."""

ModelRule = Callable[[PageView], Iterator[WeighedFinding]]


def choose_model_findings(view: PageView) -> tuple[Finding, ...]:
    """At most seven sentences, the most important first; three or more for a model that does anything."""
    said = [weighed for rule in MODEL_RULES for weighed in rule(view)]
    ordered = sorted(said, key=lambda weighed: -weighed.weight)
    return tuple(weighed.finding for weighed in ordered[:MAX_FINDINGS])


def find_incomplete_counts(view: PageView) -> Iterator[WeighedFinding]:
    """Some numbers are lower bounds; where the forward stopped, what had been counted by then."""
    for weight, finding in findings.find_incomplete_models([view], []):
        failure, totals = view.profile.failure, view.profile.totals
        rows = [view.table_row_name(view.profile.stopped_row or 0)] if failure else _unknown(view)
        yield WeighedFinding(weight, _finding(view, finding.text, ("macs", "flops"), rows))
        if failure:
            made = phrases.say_bytes(totals.activation_bytes["float32"])
            counted = f"{phrases.say_count(totals.macs)} MACs and made {made}"
            text = f"Until it stopped, {view.name} spent {counted} of activations in float32."
            yield WeighedFinding(weight - 1, _finding(view, text, ("macs", "act_fp32")))
            least = "at least " if "params" in view.bounds else ""
            text = f"{view.name} holds {least}{phrases.say_count(totals.params)} parameters, whatever runs."
            yield WeighedFinding(weight - 2, _finding(view, text, ("params",)))


def _unknown(view: PageView) -> list[str]:
    return [view.table_row_name(row) for row, counts in enumerate(view.own_counts) if counts.unknown]


def find_unread_params(view: PageView) -> Iterator[WeighedFinding]:
    """Weights that no op reads: in the model for nothing, as far as this pass tells."""
    profile = view.profile
    if profile.unread_parameters:
        held = sum(one.spec.numel for one in profile.unread_parameters)
        share = phrases.say_percent(held / view.total.params)
        whose = f"{phrases.say_count(held)} parameters of {view.name}, {share} of all,"
        owners = {profile.modules[one.module].path for one in profile.unread_parameters}
        rows = [row for row, layer in enumerate(profile.layers) if layer.path in owners and not layer.call]
        text = f"{whose} are weights of {_layers(len(rows))} that no op of this pass reads."
        yield WeighedFinding(90, _finding(view, text, ("params",), map(view.table_row_name, rows)))


def find_mac_hotspots(view: PageView) -> Iterator[WeighedFinding]:
    """The fewest layers that spend half of the MACs."""
    macs = {row: counts.macs for row, counts in enumerate(view.own_counts) if counts.macs}
    if not macs or "macs" in view.bounds:
        return
    hot, share = _fewest_with_half(macs, view.total.macs)
    few, rows = len(hot), list(map(view.table_row_name, hot))
    where = f"{_number(few)} of its {_number(len(macs))} layers with MACs"
    text = f"{_capitalised(share)} of the MACs of {view.name} are spent in {where}."
    if len(macs) == 1:
        text = f"All MACs of {view.name} are spent in {_say_row(view, hot[0])}."
    yield WeighedFinding(75 - 30 * few / len(macs), _finding(view, text, ("macs", "share_macs"), rows))


def _fewest_with_half(values: Mapping[int, float], whole: float) -> tuple[list[int], str]:
    """The fewest rows that hold half of the whole, and the share they hold; none where all rows hold less."""
    ordered = sorted(values, key=lambda row: -values[row])
    sums = accumulate(values[row] for row in ordered)
    found = next(((i, held) for i, held in enumerate(sums, 1) if held >= HALF * whole), None)
    return (ordered[: found[0]], phrases.say_percent(found[1] / whole)) if found else ([], "")


def find_time_hotspots(view: PageView) -> Iterator[WeighedFinding]:
    """The fewest layers that take half of the measured time; a few of many are worth more."""
    own, whole = view.own_counts, elapsed.find_model_time(view.profile)
    if not whole:
        return
    times = {
        row: one.latency.seconds for row, one in enumerate(own) if one.latency and not one.latency.below_resolution
    }
    hot, share = _fewest_with_half(times, whole.seconds)
    if not hot:
        return
    few, rows, called = len(hot), map(view.table_row_name, hot), sum(one.calls for one in own)
    text = f"{share} of the latency of {view.name} is spent in {_number(few)} of {_layers(called)}"
    yield WeighedFinding(88 - 30 * few / called, _finding(view, f"{text}.", ("latency", "share_latency"), rows))


def find_slow_kind(view: PageView) -> Iterator[WeighedFinding]:
    """A kind of layer that takes a larger part of the time than of the FLOPs."""
    total = view.total
    if not total.latency or not total.flops or "flops" in view.bounds:
        return
    kinds: dict[str, list[int]] = {}
    for row in view.rows:
        if view.own_counts[row].calls:
            kinds.setdefault(view.layer(row).kind, []).append(row)
    sums = {kind: sum_counts(view.own_counts[row] for row in rows) for kind, rows in kinds.items()}
    shares = {kind: (one.latency.seconds / total.latency.seconds, one.flops / total.flops)
              for kind, one in sums.items() if one.latency and not one.latency.below_resolution}  # fmt: skip
    kind = max(shares, key=lambda kind: shares[kind][0] - shares[kind][1], default=None)
    if kind is None or shares[kind][0] - shares[kind][1] < NOTABLE_DIFFERENCE:
        return
    time, flops = (phrases.say_percent(share) for share in shares[kind])
    which = _capitalised(_layers(len(kinds[kind]), KIND_WORDS.get(kind, kind)))
    text = f"{which} take{'s' * (len(kinds[kind]) == 1)} {time} of the latency with {flops} of the FLOPs."
    rows = [view.table_row_name(row) for row in kinds[kind]]
    yield WeighedFinding(72, _finding(view, text, ("latency", "flops"), rows))


def find_gpu_waits(view: PageView) -> Iterator[WeighedFinding]:
    """How much of the time as users run it the GPU has no kernel to run."""
    eager, kernel = (elapsed.find_model_time(view.profile, method) for method in ("eager", "kernel"))
    if eager and kernel and 1 - kernel.seconds / eager.seconds >= NOTABLE_DIFFERENCE:
        share = phrases.say_percent(1 - kernel.seconds / eager.seconds)
        text = f"As users run it, no kernel of {view.name} runs {share} of the time: it waits for launches."
        yield WeighedFinding(78, _finding(view, text, ("eager", "kernel")))


def find_param_holders(view: PageView) -> Iterator[WeighedFinding]:
    """The kind of layer that holds most of the parameters."""
    layers, kinds = view.profile.layers, dict[str, list[int]]()
    for row, layer in enumerate(layers):
        if layer.params:
            kinds.setdefault(layer.kind, []).append(row)
    if not kinds or "params" in view.bounds:
        return
    sums = {kind: sum(layers[row].params for row in rows) for kind, rows in kinds.items()}
    kind = max(sums, key=lambda kind: sums[kind])
    rows = [view.table_row_name(row) for row in kinds[kind]]
    share = _capitalised(phrases.say_percent(sums[kind] / view.total.params))
    part = "All parameters" if len(kinds) == 1 else f"{share} of the parameters"
    text = f"{part} of {view.name} sit in {_layers(len(rows), KIND_WORDS.get(kind, kind))}."
    yield WeighedFinding(68 if len(rows) <= MAX_FEW_ROWS else 56, _finding(view, text, ("params",), rows))


def find_activation_makers(view: PageView) -> Iterator[WeighedFinding]:
    """Where activation memory is made: in the first stages, or else in which layer most."""
    sizes = {row: counts.act_fp32 for row, counts in enumerate(view.own_counts) if counts.act_fp32}
    if not sizes or "act_fp32" in view.bounds:
        return
    early = list(findings.find_early_activations([view], []))
    for weight, finding in early:
        stages = [stage for stage in view.stages if stage.counts.act_fp32][: len(finding.rows)]
        made = [row for stage in stages for row, counts in stage.counts_by_row.items() if counts.act_fp32]
        rows = [view.table_row_name(row) for row in dict.fromkeys(made)]
        yield WeighedFinding(weight + 15, _finding(view, _capitalised(finding.text), ("act_fp32", "params"), rows))
    if not early:
        yield from _find_largest_activations(view, sizes)


def _find_largest_activations(view: PageView, sizes: dict[int, int]) -> Iterator[WeighedFinding]:
    """The layer, or layers, with the largest activations; nothing where all are as large."""
    most = max(sizes.values())
    largest = [row for row, size in sizes.items() if size == most]
    where, rows = _say_row(view, largest[0]), list(map(view.table_row_name, largest))
    amount = f"{phrases.say_bytes(most)} in float32, {phrases.say_percent(most / sum(sizes.values()))} of all"
    whose = f"The largest activations of {view.name} are made in {where}"
    text = f"{whose}: {amount}."
    if len(sizes) == 1:
        text = f"All activations of {view.name} are made in {where}: {phrases.say_bytes(most)} in float32."
    elif len(rows) > 1:
        text = f"{whose} and in {_number(len(rows) - 1)} more: each {amount}."
    if len(sizes) == 1 or len(rows) < len(sizes):
        yield WeighedFinding(54, _finding(view, text, ("act_fp32",), rows))


def find_memory_peak(view: PageView) -> Iterator[WeighedFinding]:
    """The most bytes live at once, when, and how much of it is there all the time."""
    if not view.live_bytes or "act_fp32" in view.bounds:
        return
    profile, most = view.profile, max(view.live_bytes)
    row = profile.row_of(profile.ops[view.live_bytes.index(most)])
    there = [profile.storages[index] for index in liveness.find_live_at_peak(profile)]
    fixed = sum(storage.nbytes for storage in there if storage.role in ("parameter", "buffer"))
    weights = f", {phrases.say_percent(fixed / most)} of it parameters and buffers" if fixed else ""
    size, where = phrases.say_bytes(most), _say_row(view, row)
    text = f"At most {size} are live at once in {profile.dtype}, while {where} runs{weights}."
    yield WeighedFinding(52, _finding(view, text, ("act_fp32",), [view.table_row_name(row)]))


def find_widest_field(view: PageView) -> Iterator[WeighedFinding]:
    """The widest receptive field, against the input where its size is plain."""
    row = view.widest_row
    if row is None or "field" in view.bounds:
        return
    field = view.fields.widest.size or ()
    wide, whole = max(field), _input_extent(view, field)
    if wide == 1:
        return
    sight, pixels = f"One position of {_say_row(view, row)} sees {wide:,}", "input pixels along a side"
    if whole is None:
        text = f"{sight} {pixels}."
    elif wide <= whole:
        text = f"{sight} of the {whole:,} {pixels}."
    else:
        text = f"{sight} {pixels}, where there are {whole:,}."
    yield WeighedFinding(48, _finding(view, text, ("rf",), [view.table_row_name(row)]))


def _input_extent(view: PageView, field: Sequence[int]) -> int | None:
    """The input along the side where the field is longest; `None` where channels may stand last."""
    inputs = view.profile.layers[0].inputs
    shape = inputs[0].shape if inputs else ()
    plain = len(shape) == len(field) + 2 and (len(set(shape[2:])) == 1 or shape[-1] >= shape[1])
    return shape[2:][field.index(max(field))] if plain else None


def find_low_intensity(view: PageView) -> Iterator[WeighedFinding]:
    """How much is computed for each byte moved, and how much is moved by layers that compute little."""
    whole, moved = compute_intensity(view.total), view.total.bytes_moved
    if whole is None or view.bounds:
        return
    own = [(row, counts.bytes_moved, compute_intensity(counts)) for row, counts in enumerate(view.own_counts)]
    low = [(row, size) for row, size, intensity in own if intensity is not None and intensity < LOW_INTENSITY]
    share = phrases.say_percent(sum(size for _, size in low) / moved)
    text = f"{view.name} spends {whole:,.3g} FLOPs for each byte that its ops move"
    rest = f"; {share} of the bytes move in layers that spend fewer than {LOW_INTENSITY}" if low else ""
    rows = [view.table_row_name(row) for row, _ in low]
    yield WeighedFinding(44, _finding(view, f"{text}{rest}.", ("flops",), rows))


def find_published_error(view: PageView) -> Iterator[WeighedFinding]:
    """Its published error, and of what that is."""
    if view.top5_error is not None:
        entry = registry.BUILTIN_MODELS[view.profile.model]
        text = f"{entry.name} was published with an ImageNet top-5 error of {entry.top5_error:.2f}%"
        yield WeighedFinding(46, _finding(view, f"{text} ({entry.published[0].kind}).", ()))


def find_depth(view: PageView) -> Iterator[WeighedFinding]:
    """In weight layers."""
    layers = view.depth
    if layers and "depth" not in view.bounds:
        text = f"{view.name} is {layers:,} weight layer{'s' if layers > 1 else ''} deep."
        yield WeighedFinding(40, _finding(view, text, (), map(view.table_row_name, view.weight_rows)))


def find_absences(view: PageView) -> Iterator[WeighedFinding]:
    """What a small thing has not: these are said when there is little else to say."""
    total, name = view.total, view.name
    absent = [
        (total.params, "has no parameters"),
        (len(view.profile.ops), "runs no op in this pass"),
        (total.macs or total.unknown, "multiplies no matrices and convolves nothing: it has no MACs"),
    ]
    for i, text in enumerate(text for count, text in absent if not count and not view.profile.failure):
        yield WeighedFinding(30 - i, _finding(view, f"{name} {text}.", ()))


def find_probed(view: PageView) -> Iterator[WeighedFinding]:
    """What real batches showed."""
    for weight, text, columns, rows in observe_probe(view.profile, view.row_name):
        yield WeighedFinding(weight, _finding(view, text, columns, map(view.table_row_name, rows)))


MODEL_RULES: tuple[ModelRule, ...] = (
    find_incomplete_counts,
    find_probed,
    find_unread_params,
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


def _finding(view: PageView, text: str, columns: Sequence[str], rows: Iterable[str] = ()) -> Finding:
    """About the only model; rows that its table leaves out, for nothing in them is shown, are no rows."""
    return Finding(text, (0,), tuple(columns), tuple(row for row in rows if row in view.listed_names))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _say_row(view: PageView, row: int) -> str:
    """A row in a sentence: a number alone is no name."""
    name = view.table_row_name(row)
    return f"layer {name}" if name.isdigit() else name if view.layer(row).path else "the model itself"


def _number(count: int) -> str:
    return phrases.SMALL_NUMBERS[count] if count < len(phrases.SMALL_NUMBERS) else f"{count:,}"


def _layers(count: int, kind: str = "") -> str:
    return f"{_number(count)} {f'{kind} ' if kind else ''}layer{'s' if count > 1 else ''}"
