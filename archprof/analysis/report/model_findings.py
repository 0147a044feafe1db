"""Findings about one model: what a reader of its table would find after a while.

Rows are named as its per-layer table names them, and so are columns. No share is given of a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from archprof import units
from archprof.analysis import elapsed, phrases
from archprof.analysis.compare import findings
from archprof.analysis.compare.findings import (
    KIND_WORDS,
    Finding,
    WeighedFinding,
)
from archprof.analysis.counts import compute_intensity, sum_counts
from archprof.analysis.probe_findings import observe_probe
from archprof.analysis.report.parts import MIN_PARTS, OuterPart, group_equal_parts
from archprof.analysis.report.view import PageView
from archprof.facts.measured import MIN_STABLE_ROUNDS

HALF = 0.5

UNEVEN = 2.0
"""How many times its even share a part must have to be worth a sentence."""

NOTABLE_GAP = 0.25
"""How much more of the parameters than of the MACs a part has that is worth a sentence."""

MAX_HOT_ROWS = 5
"""So many layers at most are a few among many."""

MAX_MODEL_FINDINGS = 4

MOST_BYTES = 0.7
"""The share of the bytes moved from which on layers that compute little are worth a sentence."""

NOTABLE_DIFFERENCE = 0.15
"""A difference between two shares from which on it is worth a sentence."""

LOW_INTENSITY = 10
"""FLOPs for each byte moved below which a layer is said to move much for what it computes."""

ModelRule = Callable[[PageView], Iterator[WeighedFinding]]


def choose_model_findings(view: PageView) -> tuple[Finding, ...]:
    """At most four sentences, the most important first: what deviates from an even spread; none where nothing does."""
    said = [weighed for rule in MODEL_RULES for weighed in rule(view)]
    ordered = sorted(said, key=lambda weighed: -weighed.weight)
    return tuple(weighed.finding for weighed in ordered[:MAX_MODEL_FINDINGS])


def find_incomplete_counts(view: PageView) -> Iterator[WeighedFinding]:
    """Some numbers are lower bounds; where the forward stopped, what had been counted by then."""
    for weight, finding in findings.find_incomplete_models([view], []):
        failure, totals = view.profile.failure, view.profile.totals
        rows = [view.table_row_name(view.profile.stopped_row or 0)] if failure else _list_unknown(view)
        yield WeighedFinding(weight, _make_finding(view, finding.text, ("macs", "flops"), rows))
        if failure:
            made = phrases.say_bytes(totals.activation_bytes["float32"])
            counted = f"{phrases.say_count(totals.macs)} MACs and made {made}"
            text = f"Until it stopped, {view.name} spent {counted} of activations in float32."
            yield WeighedFinding(weight - 1, _make_finding(view, text, ("macs", "act_fp32")))
            least = "at least " if "params" in view.bounds else ""
            text = f"{view.name} holds {least}{phrases.say_count(totals.params)} parameters, whatever runs."
            yield WeighedFinding(weight - 2, _make_finding(view, text, ("params",)))


def _list_unknown(view: PageView) -> list[str]:
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
        text = f"{whose} are weights of {_say_layers(len(rows))} that no op of this pass reads."
        yield WeighedFinding(90, _make_finding(view, text, ("params",), map(view.table_row_name, rows)))


def find_unstable_times(view: PageView) -> Iterator[WeighedFinding]:
    """Rounds that do not agree: what else is said of the time rests on them."""
    time = view.time
    if time and not time.stable:
        text = f"The latency of {view.name} is unstable: {elapsed.show_with_interval(time)} over its rounds."
        if len(time.rounds) < MIN_STABLE_ROUNDS:
            rounds = f"{_say_number(len(time.rounds))} round{'s' if len(time.rounds) > 1 else ''}"
            took = units.show_quantity(time.seconds, "seconds")
            text = f"The latency of {view.name}, {took}, is of {rounds}: too few to see whether they agree."
        yield WeighedFinding(105, _make_finding(view, text, ("latency",)))


def find_heavy_part(view: PageView) -> Iterator[WeighedFinding]:
    """A part of the model with most of the MACs, where an even share would be far less."""
    for part in _list_heavy_parts(view):
        text = f"{part.name} spends {_say_share(part.counts.macs, view.total.macs)} of the MACs of {view.name}"
        holds = f"holds {_say_share(part.counts.params, view.total.params)} of its parameters"
        makes = f"makes {_say_share(part.counts.act_fp32, view.total.act_fp32)} of its activations"
        whole = f"{text}, {holds} and {makes}{_say_blocks(view, part)}."
        yield WeighedFinding(80, _make_finding(view, whole, ("macs", "params"), [part.name]))


def _list_heavy_parts(view: PageView) -> list[OuterPart]:
    if {"macs", "params"} & view.bounds:
        return []
    parts = [part for part in view.outer_parts if part.counts.macs or part.counts.params]
    least = max(HALF, UNEVEN / max(len(parts), 1)) * view.total.macs
    return [part for part in parts if len(parts) >= MIN_PARTS and part.counts.macs >= max(least, 1)]


def _say_blocks(view: PageView, part: OuterPart) -> str:
    """ ", in its 36 Bottleneck blocks", where its parts are all of one kind."""
    inside = view.tree.children[part.row]
    kinds = {view.layer(row).kind for row in inside}
    return f", in its {_say_number(len(inside))} {kinds.pop()} blocks" if len(kinds) == 1 and len(inside) > 1 else ""


def find_param_part(view: PageView) -> Iterator[WeighedFinding]:
    """A part that holds far more of the parameters than it spends of the MACs."""
    if {"macs", "params"} & view.bounds or not view.total.macs or not view.total.params:
        return
    for part in view.outer_parts:
        held, spent = part.counts.params / view.total.params, part.counts.macs / view.total.macs
        if held - spent >= NOTABLE_GAP and not _lends_weights(view, part):
            text = f"{part.name} holds {phrases.say_percent(held)} of the parameters of {view.name} and spends"
            macs = f"{phrases.say_percent(spent)} of its MACs" if spent else "none of its MACs"
            yield WeighedFinding(78, _make_finding(view, f"{text} {macs}.", ("params", "macs"), [part.name]))


def _lends_weights(view: PageView, part: OuterPart) -> bool:
    """Whether weights that it holds multiply elsewhere, as those of an embedding do in a tied head."""
    profile, inside = view.profile, view.list_inside(part.row)
    owned = {profile.layers[row].path for row in inside}
    held = {one.storage for one in profile.parameters if profile.modules[one.module].path in owned} - {None}
    works = (op for op in profile.forward_ops if op.macs and profile.row_of(op) not in inside)
    return any(profile.tensors[i].storage in held for op in works for i in op.inputs)


def find_equal_parts(view: PageView) -> Iterator[WeighedFinding]:
    """How much of the model is one block, over and over."""
    if {"macs", "params"} & view.bounds or not view.total.macs:
        return
    largest = next(iter(group_equal_parts(view, view.outer_parts)), [])
    spent, held = (sum(getattr(part.counts, key) for part in largest) for key in ("macs", "params"))
    if len(largest) >= MIN_PARTS and spent >= HALF * view.total.macs:
        each = f"{phrases.say_count(largest[0].counts.macs)} each"
        text = f"{_capitalise(_say_number(len(largest)))} equal {_say_what_is_equal(view, largest[0].row)} spend"
        macs = f"{_say_share(spent, view.total.macs)} of the MACs of {view.name}, {each}"
        params = f"and hold {_say_share(held, view.total.params)} of its parameters" if view.total.params else ""
        whole = f"{text} {macs}, {params}".rstrip(", ")
        yield WeighedFinding(60, _make_finding(view, f"{whole}.", ("macs", "params"), [part.name for part in largest]))


def _say_what_is_equal(view: PageView, row: int) -> str:
    """ "Bottleneck blocks", or "calls of update_block"."""
    layer = view.layer(row)
    return f"calls of {layer.path}" if layer.path in view.repeated_paths else f"{layer.kind} blocks"


def _say_share(part: float, whole: float) -> str:
    return phrases.say_percent(part / whole) if part else "none"


def find_mac_hotspots(view: PageView) -> Iterator[WeighedFinding]:
    """A few layers of many that spend half of the MACs, beyond one part that is named for it."""
    macs = {row: counts.macs for row, counts in enumerate(view.own_counts) if counts.macs}
    if not macs or "macs" in view.bounds:
        return
    hot, share = _find_fewest_with_half(macs, view.total.macs)
    if any(view.list_inside(part.row).issuperset(hot) for part in _list_heavy_parts(view)):
        return
    few, rows = len(hot), list(map(view.table_row_name, hot))
    calls = "calls of layers" if any(view.layer(row).call for row in macs) else "layers"
    where = f"{_say_number(few)} of its {_say_number(len(macs))} {calls} with MACs"
    text = f"{_capitalise(share)} of the MACs of {view.name} are spent in {where}."
    if len(macs) == 1:
        text = f"All MACs of {view.name} are spent in {_say_row(view, hot[0])}."
    if len(macs) == 1 or (few <= MAX_HOT_ROWS and few * UNEVEN <= HALF * len(macs)):
        yield WeighedFinding(75 - 30 * few / len(macs), _make_finding(view, text, ("macs", "share_macs"), rows))


def _find_fewest_with_half(values: Mapping[int, float], whole: float) -> tuple[list[int], str]:
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
    hot, share = _find_fewest_with_half(times, whole.seconds)
    if not hot or sum(times[row] for row in hot) > whole.seconds:  # of rounds that are not those of the whole
        return
    few, rows, called = len(hot), map(view.table_row_name, hot), sum(one.calls for one in own)
    if few * UNEVEN > HALF * called or not whole.stable:
        return
    text = f"{share} of the latency of {view.name} is spent in {_say_number(few)} of {_say_layers(called)}"
    yield WeighedFinding(88 - 30 * few / called, _make_finding(view, f"{text}.", ("latency", "share_latency"), rows))


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
    which = _capitalise(_say_layers(len(kinds[kind]), KIND_WORDS.get(kind, kind)))
    text = f"{which} take{'s' * (len(kinds[kind]) == 1)} {time} of the latency with {flops} of the FLOPs."
    rows = [view.table_row_name(row) for row in kinds[kind]]
    yield WeighedFinding(72, _make_finding(view, text, ("latency", "flops"), rows))


def find_gpu_waits(view: PageView) -> Iterator[WeighedFinding]:
    """How much of the time as users run it the GPU has no kernel to run."""
    eager, kernel = (elapsed.find_model_time(view.profile, method) for method in ("eager", "kernel"))
    if eager and kernel and 1 - kernel.seconds / eager.seconds >= NOTABLE_DIFFERENCE:
        share = phrases.say_percent(1 - kernel.seconds / eager.seconds)
        text = f"As users run it, no kernel of {view.name} runs {share} of the time: it waits for launches."
        yield WeighedFinding(78, _make_finding(view, text, ("eager", "kernel")))


def find_activation_makers(view: PageView) -> Iterator[WeighedFinding]:
    """Where activation memory is made: in the first stages, or else in which layer most."""
    sizes = {row: counts.act_fp32 for row, counts in enumerate(view.own_counts) if counts.act_fp32}
    if not sizes or "act_fp32" in view.bounds:
        return
    early = list(findings.find_early_activations([view], []))
    for weight, finding in early:
        stages = [stage for stage in view.stages if stage.counts.act_fp32][: len(finding.rows)]
        own = [(row, counts) for stage in stages for row, counts in stage.counts_by_row.items()]
        made = [row for row, counts in own if counts.act_fp32 or counts.params]
        rows = [view.table_row_name(row) for row in dict.fromkeys(made)]
        yield WeighedFinding(weight + 15, _make_finding(view, _capitalise(finding.text), ("act_fp32", "params"), rows))


def find_low_intensity(view: PageView) -> Iterator[WeighedFinding]:
    """How much is computed for each byte moved, and how much is moved by layers that compute little."""
    whole, moved = compute_intensity(view.total), view.total.bytes_moved
    if whole is None or view.bounds:
        return
    own = [(row, counts.bytes_moved, compute_intensity(counts)) for row, counts in enumerate(view.own_counts)]
    low = [(row, size) for row, size, intensity in own if intensity is not None and intensity < LOW_INTENSITY]
    slow = sum(size for _, size in low)
    spent = sum(view.own_counts[row].flops for row, _ in low) / view.total.flops if view.total.flops else 1
    if slow < MOST_BYTES * moved or spent > HALF or view.profile.mode == "train":
        return
    share, work = phrases.say_percent(slow / moved), phrases.say_percent(spent)
    text = f"{share} of the bytes that {view.name} moves are moved by layers with {work} of its FLOPs"
    rows = [view.table_row_name(row) for row, _ in low]
    yield WeighedFinding(
        44, _make_finding(view, f"{text}, which compute under {LOW_INTENSITY} a byte.", ("flops",), rows)
    )


def find_absences(view: PageView) -> Iterator[WeighedFinding]:
    """What a small thing has not: these are said when there is little else to say."""
    total, name = view.total, view.name
    absent = [
        (total.params, "has no parameters"),
        (len(view.profile.ops), "runs no op in this pass"),
        (total.macs or total.unknown, "multiplies no matrices and convolves nothing: it has no MACs"),
    ]
    for i, text in enumerate(text for count, text in absent if not count and not view.profile.failure):
        yield WeighedFinding(30 - i, _make_finding(view, f"{name} {text}.", ()))


def find_probed(view: PageView) -> Iterator[WeighedFinding]:
    """What real batches showed."""
    for weight, text, columns, rows in observe_probe(view.profile, view.row_name):
        yield WeighedFinding(weight, _make_finding(view, text, columns, map(view.table_row_name, rows)))


MODEL_RULES: tuple[ModelRule, ...] = (
    find_incomplete_counts,
    find_probed,
    find_unstable_times,
    find_unread_params,
    find_time_hotspots,
    find_gpu_waits,
    find_slow_kind,
    find_heavy_part,
    find_param_part,
    find_equal_parts,
    find_mac_hotspots,
    find_activation_makers,
    find_low_intensity,
    find_absences,
)


def _make_finding(view: PageView, text: str, columns: Sequence[str], rows: Iterable[str] = ()) -> Finding:
    """About the only model; rows that its table leaves out, for nothing in them is shown, are no rows."""
    return Finding(text, (0,), tuple(columns), tuple(row for row in rows if row in view.listed_names))


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _say_row(view: PageView, row: int) -> str:
    """A row in a sentence: a number alone is no name."""
    name = view.table_row_name(row)
    return f"layer {name}" if name.isdigit() else name if view.layer(row).path else "the model itself"


def _say_number(count: int) -> str:
    return phrases.SMALL_NUMBERS[count] if count < len(phrases.SMALL_NUMBERS) else f"{count:,}"


def _say_layers(count: int, kind: str = "") -> str:
    return f"{_say_number(count)} {f'{kind} ' if kind else ''}layer{'s' if count > 1 else ''}"
