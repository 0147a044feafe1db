"""What is asked of a pass, and of measuring it: one record each, from the command line to the trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from archprof.errors import UsageError
from archprof.units import show_whole

CAUSAL_COUNTS = ("full", "half")
PASS_DTYPES = ("float32", "float16", "bfloat16", "float64")
AMP_DTYPES = ("bfloat16", "float16")
DECODER_PHASES = ("prefill", "decode")
MEASURED_DEVICES = ("cpu", "cuda")

LARGEST_SIZE = 2**40
"""Of a batch, a length or a layer: more than any memory holds, and few enough for torch to count their elements."""

LARGEST_SEED = 2**62
"""Torch's generators take no more than 64 bits, and each batch and epoch has a seed of its own behind this one."""

AUTO_BATCH = "auto"
"""Said in the place of a batch: the largest that fits where the pass is measured."""


@dataclass(frozen=True, slots=True)
class PassRequest:
    """How a pass over a model is to be run.

    Attributes:
        batch: samples, put in front of inputs that are written without their batch dimension.
        dtype: one of `PASS_DTYPES`; `None`: the model's own.
        train: forward and backward in training mode; otherwise the forward in evaluation mode.
        causal: "full" counts every score of causal attention, "half" only those that the mask leaves.
        lengths: of the default input of a transformers model, such as {"seq": 4096}.
        phase: of a transformers decoder: one of `DECODER_PHASES`.
        context: tokens of the phase; `None`: its default.
        optimizer: whose step follows the backward pass, such as "adamw(foreach=False)"; `None`: none.
        accumulate: passes whose gradients are added up before a step; the last of them is traced.
        set_to_none: gradients are dropped after a step, and not set to zero and kept.
        amp: the forward runs under autocast to one of `AMP_DTYPES`; `None`: as the model does it.
        amp_device: one of `MEASURED_DEVICES`, whose rules autocast follows.
        checkpoint: paths of the blocks that are checkpointed, or patterns of them such as "layer?.*"; one or several.
    """

    batch: int = 1
    dtype: str | None = None
    train: bool = False
    causal: str = "full"
    lengths: Mapping[str, int] | None = None
    phase: str | None = None
    context: int | None = None
    optimizer: str | None = None
    accumulate: int = 1
    set_to_none: bool = True
    amp: str | None = None
    amp_device: str = "cuda"
    checkpoint: Sequence[str] = ()

    def __post_init__(self) -> None:
        one = isinstance(self.checkpoint, str)
        object.__setattr__(self, "checkpoint", (self.checkpoint,) if one else tuple(self.checkpoint))

    def list_changes(self, since: PassRequest | None = None) -> dict[str, Any]:
        """What differs from another request, or from the default, under the names that users know."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        names, before = {"lengths": "set"}, since or PLAIN_PASS
        return {names.get(key, key): value for key, value in said.items() if value != getattr(before, key)}

    def list_sequence_changes(self) -> dict[str, Any]:
        """Of these, what asks for another default input of a transformers model."""
        asked = {"set": self.lengths, "phase": self.phase, "context": self.context}
        return {key: value for key, value in asked.items() if value is not None}

    def check(self) -> None:
        """Raise `UsageError` on the first value that no pass can have.

        This is done once, where a model is opened: a saved profile refuses whatever would change it before that.
        """
        if self.causal not in CAUSAL_COUNTS:
            raise UsageError(f"Causal attention cannot be counted as {self.causal!r}.", _allow(CAUSAL_COUNTS))
        if type(self.batch) is not int:
            raise UsageError(f"A batch cannot be {self.batch!r}.", 'A whole number or, to measure, "auto".')
        if not 1 <= self.batch <= LARGEST_SIZE:
            raise UsageError(f"A batch of {show_whole(self.batch)} cannot be run.", f"1 or more, up to {LARGEST_SIZE}.")
        if self.dtype is not None and self.dtype not in PASS_DTYPES:
            raise UsageError(f"A pass cannot run in {self.dtype!r}.", f"Dtypes: {', '.join(PASS_DTYPES)}.")
        if self.amp is not None and self.amp not in AMP_DTYPES:
            raise UsageError(f"Autocast cannot run in {self.amp!r}.", _allow(AMP_DTYPES))
        if type(self.train) is not bool:
            raise UsageError(f"Training cannot be {self.train!r}.", _allow(("True", "False")))
        if not self.train and (self.optimizer, self.accumulate, self.set_to_none) != (None, 1, True):
            what = "An optimizer is" if self.optimizer is not None else "What becomes of gradients is"
            raise UsageError(f"{what} asked for, and no training.", "", "Add --train.")
        for pattern in self.checkpoint:
            if not isinstance(pattern, str):
                raise UsageError(f"A pattern of blocks cannot be {pattern!r}.", "Paths such as layer1.0, or layer?.*.")
        if not self.train and self.checkpoint:
            raise UsageError("A checkpoint is for the backward pass, which is not asked for.", "", "Add --train.")
        if type(self.accumulate) is not int or self.accumulate < 1:
            raise UsageError(f"Gradients of {self.accumulate!r} passes cannot be accumulated.", "1 or more.")
        self._check_sequence()

    def _check_sequence(self) -> None:
        for key, length in (self.lengths or {}).items():
            if type(length) is not int or not 1 <= length <= LARGEST_SIZE:
                given = show_whole(length) if type(length) is int else repr(length)
                raise UsageError(
                    f"The length {key} cannot be {given}.", f"A whole number of 1 or more, up to {LARGEST_SIZE}."
                )
        if self.context is not None and self.phase is None:
            raise UsageError("A context is that of a phase.", "Phases: prefill, decode.", "Try: --phase decode")
        if self.lengths and self.phase:
            raise UsageError("The phases of a decoder have one setting, their context.", "", "Try: --context 4096")
        if self.phase is not None and self.phase not in DECODER_PHASES:
            raise UsageError(f"There is no phase {self.phase!r}.", f"Phases: {', '.join(DECODER_PHASES)}.")
        if self.context is not None and (type(self.context) is not int or not 1 <= self.context <= LARGEST_SIZE):
            given = show_whole(self.context) if type(self.context) is int else repr(self.context)
            raise UsageError(f"A context of {given} tokens cannot be.", f"1 or more, up to {LARGEST_SIZE}.")


PLAIN_PASS = PassRequest()
"""One forward of the model's default input in evaluation mode."""


@dataclass(frozen=True, slots=True)
class MeasureRequest:
    """Where and how a pass is to be measured.

    Attributes:
        device: one of `MEASURED_DEVICES`.
        channels_last: images and the weights of convolutions have their channels last in memory.
        compiled: what runs is what `torch.compile` makes of the model.
        rounds: of samples; see `archprof.facts.measured.Timing.low`.
        seconds: the rounds together should not take longer.
        largest_batch: at the largest batch that fits, and not at that of the pass.

    Raises:
        UsageError: a value that means nothing.
    """

    device: str
    channels_last: bool = False
    compiled: bool = False
    rounds: int = 7
    seconds: float = 20.0
    largest_batch: bool = False

    def __post_init__(self) -> None:
        if self.device not in MEASURED_DEVICES:
            raise UsageError(f"Nothing can be measured on {self.device!r}.", _allow(MEASURED_DEVICES))


ON_CPU = MeasureRequest("cpu")


PROBED_PASS = PassRequest(batch=128, train=True)


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """How real batches go through a model.

    Attributes:
        device: one of `MEASURED_DEVICES`.
        batches: whose mean loss is differentiated.
        weights: a file; `None`: the model's own.
        optimizer: whose first step is taken, such as "adam(lr=0.001)"; `None`: none.
        seed: of everything that is random.

    Raises:
        UsageError: a value that means nothing.
    """

    device: str = "cpu"
    batches: int = 1
    weights: str | None = None
    optimizer: str | None = "sgd"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.device not in MEASURED_DEVICES:
            raise UsageError(f"Nothing can be probed on {self.device!r}.", _allow(MEASURED_DEVICES))
        if type(self.batches) is not int or not 1 <= self.batches <= LARGEST_SIZE:
            raise UsageError(
                f"{self.batches!r} batches cannot go through a model.", f"1 or more, up to {LARGEST_SIZE}."
            )
        _check_seed(self.seed)


def _check_seed(seed: object) -> None:
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"{seed!r} is no seed.", f"A whole number of 0 or more, up to {LARGEST_SEED}.")


PLAIN_PROBE = ProbeRequest()


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """How nets are trained.

    Attributes:
        epochs: passes over the data.
        recipe: by what name it was asked for.
        optimizer, batch: what it says, or what was asked for in its place.
        device: one of `MEASURED_DEVICES`.
        seed: of everything that is random.
        amp: mixed precision where there is a GPU.
        resume: a run goes on.

    Raises:
        UsageError: a value that means nothing.
    """

    epochs: int
    recipe: str
    optimizer: str
    batch: int
    device: str = "cpu"
    seed: int = 0
    amp: bool = True
    resume: bool = False

    def __post_init__(self) -> None:
        ProbeRequest(self.device, seed=self.seed)
        PassRequest(self.batch).check()
        if type(self.epochs) is not int or self.epochs < 1:
            raise UsageError(f"{self.epochs!r} epochs cannot be learned.", "1 or more.")


def request_measurement(
    device: str | None, *, channels_last: bool = False, compiled: bool = False
) -> MeasureRequest | None:
    """Where and how to measure; `None` without a device: the pass is counted alone.

    Raises:
        UsageError: there is no such device, or how to measure is said, and not where.
    """
    if device is not None:
        return MeasureRequest(device, channels_last, compiled)
    asked = [name for name, on in (("--channels-last", channels_last), ("--compile", compiled)) if on]
    if asked:
        raise UsageError(f"{', '.join(asked)} says how to measure, but not where.", "Add --measure cpu or --cuda.")
    return None


def _allow(values: tuple[str, ...]) -> str:
    return f"Allowed: {', '.join(values)}."
