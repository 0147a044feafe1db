"""What fills memory: the four peaks, their parts by category and phase, the layers behind them, and the way there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from archprof import units
from archprof.analysis.memory_changes import tabulate_advice, write_advice
from archprof.analysis.memory_devices import tabulate_devices, write_devices
from archprof.analysis.stretches import cut_stretches
from archprof.analysis.table import Column, Row, Table
from archprof.facts.liveness import compute_peak_bytes, split_peak_by_layer
from archprof.facts.records import Profile
from archprof.facts.steps import find_steady_storages
from archprof.predicting.devices import Device
from archprof.predicting.memory import Category, Estimate, MemoryPrediction, Moment
from archprof.predicting.memory_capacity import Verdict, judge
from archprof.predicting.size_limits import say_refusal
from archprof.predicting.workspaces import find_attention_backend

if TYPE_CHECKING:
    from archprof.sweeping.advice import Advice
    from archprof.sweeping.device_batches import OnDevice

PEAKS = ("live_peak_bytes", "allocated_peak_bytes", "reserved_peak_bytes", "device_used_bytes")
SHORT = {name: name.removesuffix("_bytes").replace("_", " ") for name in PEAKS}
MEANINGS = {
    "live_peak_bytes": "what tensors hold",
    "allocated_peak_bytes": "as cuda.max_memory_allocated",
    "reserved_peak_bytes": "as cuda.max_memory_reserved",
    "device_used_bytes": "with the context: nvidia-smi",
}
PEAK_COLUMNS = (
    Column("number", "Number", "text", "which of the four", 0),
    Column("value", "Bytes", "bytes", "predicted", 0, "memory"),
    Column("low", "Least", "bytes", "the measured value is seldom below it", 1, "memory"),
    Column("high", "Most", "bytes", "or above it", 1, "memory"),
    Column("meaning", "What it is", "text", "the name under which it is measured", 2),
)
PHASE_COLUMNS = {
    "peak": Column("peak", "Peak", "bytes", "at the peak of a run", 0, "memory"),
    "forward": Column("forward", "Forward", "bytes", "at the peak of the forward", 1, "memory"),
    "backward": Column("backward", "Backward", "bytes", "at the peak of the backward", 1, "memory"),
    "optimizer": Column("optimizer", "Optimizer", "bytes", "at the peak of the optimizer's step", 1, "memory"),
}
CATEGORY_COLUMN = Column("category", "Category", "text", "what the bytes are for", 0)
LAYER_COLUMNS = (
    Column("layer", "Layer", "path", "whose weights and results they are", 0),
    Column("kind", "Kind", "text", "its class", 1),
    Column("bytes", "Live bytes", "bytes", "at the live peak: weights, buffers, and what its ops had made", 0),
    Column("share", "Share", "share", "of all live bytes", 1),
)
VERDICT_WORDS = {
    "fits": "It fits on", "does not fit": "It does not fit on", "too close to say": "It may or may not fit on",
}  # fmt: skip
ATTENTION_OP = "aten.scaled_dot_product_attention"
LAYERS_SHOWN = 10
TIMELINE_BLOCKS = "▁▂▃▄▅▆▇█"
TIMELINE_WIDTH = 60


def peak(profile: Profile) -> int:
    """The most bytes live at once: what scripts outside of the package ask for by this name."""
    return compute_peak_bytes(profile)


@dataclass(frozen=True)
class MemoryAnswer:
    """What `archprof.predict_memory` returns. It prints as its tables; the four peaks are attributes of it.

    Attributes:
        profile: of the pass.
        prediction: the peaks and their parts.
        device: whose memory it is held against; `None`: none.
        devices: every GPU of the catalogue, with the largest batch there; `None`: not asked.
        advice: what would lower it, the best first; `None`: not asked.
    """

    profile: Profile
    prediction: MemoryPrediction
    device: Device | None = None
    devices: tuple[OnDevice, ...] | None = None
    advice: tuple[Advice, ...] | None = None

    @property
    def live_peak_bytes(self) -> Estimate:
        return self.prediction.live_peak_bytes

    @property
    def allocated_peak_bytes(self) -> Estimate:
        return self.prediction.allocated_peak_bytes

    @property
    def reserved_peak_bytes(self) -> Estimate:
        return self.prediction.reserved_peak_bytes

    @property
    def device_used_bytes(self) -> Estimate:
        return self.prediction.device_used_bytes

    @property
    def verdict(self) -> Verdict | None:
        """Whether it fits on the device; `None` without one."""
        return judge(self.prediction, self.device) if self.device else None

    def tables(self) -> tuple[Table, ...]:
        """The four peaks; their parts; the layers; what would lower them, and the devices, if that was asked for."""
        advised = () if self.advice is None else (self._tabulate_advice(self.advice),)
        devices = () if self.devices is None else (tabulate_devices(self.devices, self.profile),)
        layers = tabulate_layers_at_peak(self.profile)
        return tabulate_peaks(self), tabulate_categories(self), layers, *advised, *devices

    def table(self) -> Table:
        """The devices or what would lower it, if that was asked for, else the parts by category and phase."""
        if self.devices is not None:
            return tabulate_devices(self.devices, self.profile)
        return tabulate_categories(self) if self.advice is None else self._tabulate_advice(self.advice)

    def _tabulate_advice(self, advice: tuple[Advice, ...]) -> Table:
        return tabulate_advice(advice, self.device_used_bytes.value, self.device)

    def to_json(self) -> str:
        return json.dumps(_write(self), indent=1) + "\n"

    def to_svg(self) -> str:
        """What is live over the ops by category, as a drawing; `ArchprofError` for a pass of fewer than two ops."""
        from archprof.analysis.printing import formats

        return formats.memory_svg(self)

    def to_html(self) -> str:
        """The drawing and the tables as a page."""
        from archprof.analysis.printing import formats

        return formats.memory_page(self)

    def __str__(self) -> str:
        return "\n".join(map(str, self.tables()))


def tabulate_peaks(answer: MemoryAnswer) -> Table:
    """One row per peak, with between what it lies, and what was assumed."""
    rows = [Row((SHORT[name], *getattr(answer, name), MEANINGS[name]), bounds=_bounds(answer, name)) for name in PEAKS]
    return Table(f"Memory of {answer.profile.model}", PEAK_COLUMNS, tuple(rows), notes=tuple(_say_assumptions(answer)))


def _bounds(answer: MemoryAnswer, name: str) -> frozenset[str]:
    return frozenset[str]() if getattr(answer, name).high is not None else frozenset({"value"})


def _say_assumptions(answer: MemoryAnswer) -> Iterable[str]:
    profile, training = answer.profile, answer.profile.training
    yield f"Input {', '.join(profile.inputs) or 'none'}; batch {profile.batch}; {profile.mode} pass in {profile.dtype}."
    if training is not None:
        passes = f", gradients of {training.accumulate} passes added up" if training.accumulate > 1 else ""
        kept = "dropped" if training.set_to_none else "set to zero and kept"
        yield f"Steps of {training.optimizer}{passes}; gradients are {kept} after a step; three steps are replayed."
    if kernels := Counter(find_attention_backend(op) for op in profile.ops if op.name == ATTENTION_OP):
        yield f"Attention is taken to run as: {', '.join(f'{name} ({count})' for name, count in kernels.items())}."
    yield "Intervals hold for nine of ten convolutional models that were measured; see `archprof guide memory`."
    if answer.verdict is not None:
        yield say_verdict(answer.verdict, answer.prediction)
    elif answer.prediction.refusal is not None:
        yield say_refusal(answer.prediction.refusal)
    if not profile.totals.complete:
        yield "Ops without a rule, or a pass that stopped, leave the most unknown."
    yield from profile.notes


def say_verdict(verdict: Verdict, found: MemoryPrediction) -> str:
    """Whether it fits, in a sentence; or what does not run."""
    if verdict.word == "does not run" and found.refusal is not None:
        return say_refusal(found.refusal, f"the {verdict.device}")
    size, needs = (units.show_quantity(nbytes, "bytes") for nbytes in (verdict.capacity, found.needed_bytes.value))
    rest = f"{needs} are enough" if verdict.word == "fits" else f"it needs {needs}"  # with room, it takes more
    return f"{VERDICT_WORDS[verdict.word]} the {verdict.device}, of whose memory {size} can be used: {rest}."


def tabulate_categories(answer: MemoryAnswer) -> Table:
    """One row per category: at the peak of the run, and of each phase of a step in the steady state."""
    prediction = answer.prediction
    moments = [prediction.peak, *prediction.phases]
    keys = ["peak", *(moment.phase for moment in prediction.phases)]
    rows = []
    for category in get_args(Category):
        sizes = [moment.categories.get(category, 0) for moment in moments]
        if any(sizes):
            of_phases = [None] * len(prediction.phases) if category == "context" else sizes[1:]
            rows.append(Row((category, sizes[0], *of_phases)))
    total = Row((None, *(sum(moment.categories.values()) for moment in moments)), name="Total")
    columns = (CATEGORY_COLUMN, *(PHASE_COLUMNS[key] for key in keys))
    return Table("What fills it", columns, tuple(rows), total, tuple(_say_moments(answer, moments)))


def _say_moments(answer: MemoryAnswer, moments: list[Moment]) -> Iterable[str]:
    yield f"Peak: {_name_op(answer.profile, moments[0])}. A phase's total is what is then reserved, without context."
    if answer.prediction.first_step_peak:
        size = units.show_quantity(answer.prediction.first_step_peak, "bytes")
        yield f"The first step, which makes the optimizer's state, allocates {size} at most."
    yield f"Over a step: {draw_timeline(answer.prediction.timeline)}"


def _name_op(profile: Profile, moment: Moment) -> str:
    if moment.op is None:
        return "no op ran"
    op = profile.ops[moment.op]
    return f"in the {moment.phase}, at {op.name} of {profile.path_of(op) or 'the model itself'}"


def draw_timeline(timeline: tuple[int, ...], width: int = TIMELINE_WIDTH) -> str:
    """One line of blocks: of each stretch of ops the most that is allocated, against the peak."""
    most = max(timeline) or 1
    highs = [max(timeline[at] for at in stretch) for stretch in cut_stretches(len(timeline), width)]
    return "".join(TIMELINE_BLOCKS[min(high * 8 // most, 7)] for high in highs)


def tabulate_layers_at_peak(profile: Profile) -> Table:
    """The layers whose weights and results take most at the live peak; what an optimizer keeps is none's."""
    sizes: Counter[tuple[str, str]] = Counter()
    for layer, size in zip(profile.layers, split_peak_by_layer(profile), strict=True):
        sizes[layer.path or "(model)", layer.kind] += size
    state = sum([one.nbytes for one in find_steady_storages(profile) if one.role == "optimizer state" and not one.born])
    if state:
        sizes["(model)", profile.layers[0].kind] -= state
        sizes["(optimizer state)", ""] = state
    whole = compute_peak_bytes(profile) or 1
    rows = [Row((path, kind or None, size, size / whole)) for (path, kind), size in sizes.most_common(LAYERS_SHOWN)]
    return Table("The layers behind it", LAYER_COLUMNS, tuple(rows), notes=(f"The {len(rows)} largest.",))


def _write(answer: MemoryAnswer) -> dict[str, Any]:
    profile, prediction = answer.profile, answer.prediction
    training = profile.training._asdict() if profile.training else None
    verdict = answer.verdict
    return {
        "model": profile.model,
        "inputs": profile.inputs,
        "batch": profile.batch,
        "mode": profile.mode,
        "dtype": profile.dtype,
        "training": training and {key: training[key] for key in ("optimizer", "accumulate", "set_to_none")},
        **{name: getattr(prediction, name)._asdict() for name in PEAKS},
        "first_step_allocated_peak_bytes": prediction.first_step_peak,
        "peak": _write_moment(prediction.peak),
        "phases": [_write_moment(moment) for moment in prediction.phases],
        "device": verdict
        and {
            "name": verdict.device,
            "capacity_bytes": verdict.capacity,
            "needed_bytes": prediction.needed_bytes._asdict(),
            "verdict": verdict.word,
        },
        "devices": None if answer.devices is None else write_devices(answer.devices),
        "advice": None if answer.advice is None else write_advice(answer.advice),
        "refused": None if prediction.refusal is None else str(prediction.refusal),
        "complete": profile.totals.complete,
        "notes": profile.notes,
    }


def _write_moment(moment: Moment) -> dict[str, Any]:
    return {
        "phase": moment.phase,
        "op": moment.op,
        "allocated_bytes": moment.allocated,
        "reserved_bytes": moment.reserved,
        "bytes_by_category": {key: value for key, value in moment.categories.items() if value},
    }
