"""The lines under a table: what was asked, how it was counted, and what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from archprof.analysis import elapsed
from archprof.analysis.predicted import describe_prediction
from archprof.analysis.tables import decoding
from archprof.facts.probed import LossKind
from archprof.facts.records import Layer, Op, Profile, TensorSpec
from archprof.wording import name_few, say_many, show_shape

CONVENTION_NOTE = "1 MAC = 2 FLOPs; FLOPs also count bias, normalisation, activation, pooling."
UNCOUNTED_NOTE = (
    "The totals are lower bounds: archprof has no cost rule for the ops named above. "
    "Shares and ratios are of what was counted."
)
OWN_WORK_NOTE = "A module with parts shows their sum; (own) is what its own forward added."

REPEATS_NOTE = "x n: n equal parts in one row; what stands below it is summed over them."

STOPPED_NOTE = (
    "What runs behind that is not known: work and activations are lower bounds. What the modules hold is counted whole."
)
LACKS_CALLS_NOTE = (
    "No module inside the model was seen to be called: all work is in the model's own row, and nothing tells whether "
    "that is all there is."
)
NOT_BY_OP_NOTE = "Latency is measured by layer, not by op: see the table by layer."


def collect_notes(profile: Profile, own: bool = False, by: str = "layer") -> tuple[str, ...]:
    """Every note of the profile's tables by `by`; `own` when a row shows the work of a container."""
    asked, *phase = describe_pass(profile)
    return (asked, CONVENTION_NOTE, *phase, *([OWN_WORK_NOTE] if own else []), *list_reservations(profile, by))


def describe_fold(rows: int, repeats: bool) -> tuple[str, ...]:
    """That a table is folded, and how to see all of it."""
    folded = f"Folded from {rows:,} rows; all of them: --all, or unfolded() in Python."
    return (folded, REPEATS_NOTE) if repeats else (folded,)


def describe_certainty(profile: Profile) -> str:
    """ "complete", or "lower bound" where an op has no rule or the forward stopped; either may be "on real tensors".

    The last says that the pass needed values, so that what was counted may depend on the values it took.
    """
    word = "complete" if profile.totals.complete else "lower bound"
    return f"{word}, on real tensors" if profile.ran.device == "cpu" else word


def describe_pass(profile: Profile) -> list[str]:
    """What was asked: the inputs, batch, mode and dtype; of a decoder its phase."""
    inputs = ", ".join(profile.inputs) or "none"
    asked = f"Input {inputs}; batch {profile.batch}; {profile.mode} pass in {profile.dtype_words}."
    return [asked, *([decoding.describe_phase(profile.decoding, profile.batch)] if profile.decoding else [])]


def list_reservations(profile: Profile, by: str = "layer") -> list[str]:
    """What the reader of a table by `by` must know of this pass to trust its numbers; no convention is among it."""
    lines = []
    if profile.failure is not None:
        lines += [_stopped(profile), STOPPED_NOTE]
    if profile.unsized:
        lines.append(_unsized(profile.unsized))
    if any(op.status == "unknown" and op.phase != "optimizer" for op in profile.ops):
        lines += _unknown(profile)
    if profile.failure is not None:
        lines += _unreached(profile)
    elif profile.unread_parameters:
        lines.append(_unread(profile))
    if profile.lacks_calls:
        lines.append(LACKS_CALLS_NOTE)
    timed = elapsed.describe_measurement(profile) if by != "op" else [NOT_BY_OP_NOTE] if profile.measurement else []
    predicted = () if by == "op" else describe_prediction(profile)
    return [*lines, *profile.notes, *timed, *predicted, *describe_probe(profile)]


LOSS_WORDS: dict[LossKind, str] = {
    "cross entropy": "cross entropy",
    "own": "the model's own",
    "given": "as given",
    "means": "sum of means",
}


def describe_probe(profile: Profile) -> Iterator[str]:
    """On what a model was probed, and what must be known of it."""
    probe = profile.probe
    if probe is None:
        return
    batches = "1 batch" if probe.batches == 1 else f"{probe.batches} batches"
    start = f"weights of {probe.weights}" if probe.weights else "weights as they start"
    loss = "not finite" if probe.loss is None else f"{probe.loss:.4g}"
    step = f"; first step of {probe.optimizer}" if probe.optimizer else ""
    yield (
        f"Probed on {probe.data}, {batches} of {probe.batch}, {start}, seed {probe.seed}, on the {probe.ran.device}: "
        f"loss {loss} ({LOSS_WORDS[probe.loss_kind]}){step}."
    )
    yield from probe.notes


def _stopped(profile: Profile) -> str:
    assert profile.failure is not None
    layer, message = profile.layers[profile.stopped_row or 0], " ".join(profile.failure.message.split())
    return f"The forward stopped in {_named(layer)}, given {_shapes(layer.inputs)}: {profile.failure.error}: {message}"


def _unknown(profile: Profile) -> list[str]:
    groups: dict[str, list[Op]] = {}
    for op in profile.ops:
        if op.status == "unknown" and op.phase != "optimizer":
            groups.setdefault(op.name, []).append(op)
    lines = []
    for name, ops in groups.items():
        made = [profile.tensors[i].spec for i in ops[0].outputs]
        first = profile.layer_of(ops[0])
        lines.append(f"Not counted: {name}, {say_many(len(ops), 'call')}, first in {_named(first)} -> {_shapes(made)}.")
    return [*lines, UNCOUNTED_NOTE]


def _unread(profile: Profile) -> str:
    """The modules whose weights no op read, and the single parameters of others."""
    held = Counter(one.module for one in profile.parameters if one.role == "parameter")
    found = Counter(one.module for one in profile.unread_parameters)
    names = dict.fromkeys(
        profile.modules[one.module].path or one.name if found[one.module] == held[one.module] else one.name
        for one in profile.unread_parameters
    )
    count = sum(one.spec.numel for one in profile.unread_parameters)
    return f"Weights not read in this pass, parameters counted ({count:,}): {name_few(list(names))}."


def _unreached(profile: Profile) -> list[str]:
    layers = [layer for layer in profile.layers if layer.call is None and layer.params]
    count, named = sum(layer.params for layer in layers), name_few([layer.path for layer in layers])
    return [f"Not reached, parameters counted ({count:,}): {named}."] if layers else []


def _unsized(names: tuple[str, ...]) -> str:
    return f"Without a shape until their modules run, so that sizes of parameters are lower bounds: {name_few(names)}."


def _named(layer: Layer) -> str:
    return f"{layer.path or 'the model itself'} ({layer.kind})"


def _shapes(specs: tuple[TensorSpec, ...] | list[TensorSpec]) -> str:
    return ", ".join(show_shape(spec.shape) for spec in specs) or "no tensor"
