"""From a target and data to a probed profile: the counted rows of one trace, with what real batches did in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn

from archprof import files
from archprof.errors import ArchprofError, DoesNotFit, UsageError
from archprof.facts.probed import Gradient, LossKind, Probe
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PROBE, PROBED_PASS, PassRequest, ProbeRequest
from archprof.probing import live
from archprof.probing.data.batches import Batch, DividedData, LoaderData, read_batch
from archprof.probing.data.choose import check_classes, count_classes, draw_batches, draw_labels, open_data
from archprof.probing.data.images import DATA_ALLOWED
from archprof.probing.gradients import list_trainable, measure_gradients
from archprof.probing.loss import LossFunction, find_loss
from archprof.probing.watch import ActivationWatch
from archprof.sources.optimizer_grammar import OptimizerSpec, parse_optimizer
from archprof.sources.resolve import resolve
from archprof.sources.target import Target
from archprof.torchside.guard import run_untouched
from archprof.torchside.watched_model import watch_unless_owned
from archprof.tracing.trace import trace
from archprof.units import keep_finite

MEANS_NOTE = "Without labels the loss is the sum of the means of the outputs; no one trains with it."
DRAWN_NOTE = "Inputs and classes are drawn: gradients are of the size that they have before anything is learned."
OTHER_CALLS_NOTE = "{} calls of the real pass are not among the rows, which are those of the traced one."
NO_GRADIENT_NOTE = "No gradient came to {} of {} trainable parameters."


def probe_model(
    model: Any,
    data: Any,
    inputs: Any = None,
    request: PassRequest = PROBED_PASS,
    how: ProbeRequest = PLAIN_PROBE,
    loss: LossFunction | None = None,
) -> Profile:
    """The probed profile of what `archprof.probe` takes; what it raises stands there."""
    if files.is_profile_path(model) or isinstance(model, Profile):
        raise UsageError("A profile is given to be probed, and only a model runs.", "", "Name the model itself.")
    spec = parse_optimizer(how.optimizer) if how.optimizer else None
    if not isinstance(data, str):
        data = _read_loader(data, how.batches)
        request = dataclasses.replace(request, batch=1)  # it is in the shapes already
        inputs = data.batches[0].args or data.batches[0].kwargs if inputs is None else inputs
    target = resolve(model, inputs, request)

    def run() -> Profile:
        with live.on_device(how.device):
            return _probe_target(target, data, request, how, spec, loss)

    watched = watch_unless_owned(target.model, target.owned)
    profile = run_untouched(run)
    if watched is not None:
        watched.check_unchanged()
    return profile


def _read_loader(data: Any, batches: int) -> LoaderData:
    """The batches of a loader that are needed; it may be one that can be read only once."""
    name = f"a {type(data).__name__} from Python"
    if not isinstance(data, Iterable):
        raise UsageError(f"Data cannot be of type {type(data).__name__}.", f"Allowed: {DATA_ALLOWED}")
    found = [read_batch(each) for each in islice(data, batches)]
    if not found:
        raise UsageError(f"{name} gave no batch.", "One or more.")
    return LoaderData(found, name)


def _trace_step(target: Target, request: PassRequest, how: ProbeRequest, profile: Profile) -> Profile:
    """The pass with the step of an optimizer that has a state, which SGD by default has not."""
    if how.optimizer in (None, ProbeRequest().optimizer):
        return profile
    try:
        return trace(target, dataclasses.replace(request, optimizer=how.optimizer))
    except UsageError:  # one that takes no step, which is said where it should
        return profile


def _probe_target(
    target: Target, data: Any, request: PassRequest, how: ProbeRequest, spec: OptimizerSpec | None,
    loss: LossFunction | None,
) -> Profile:  # fmt: skip
    opened = open_data(data, target)
    dtype = live.find_dtype(target, request.dtype)
    profile = trace(target, request)
    check_classes(opened, profile)
    batch_bytes = sum(one.nbytes for one in profile.storages if one.role == "input")
    more = (how.batches - 1) * batch_bytes, f", in {how.batches} batches," * (how.batches > 1)
    live.check_room(target, _trace_step(target, request, how, profile), how.device, *more)
    batches = draw_batches(opened, target, request.batch, how.batches, dtype, how.seed)
    if opened is None and (classes := count_classes(profile)):
        batches = draw_labels(batches, request.batch, classes, how.seed)
    model = live.make_live_model(target, how.device, dtype, how.seed, how.weights)
    if not list_trainable(model):
        raise UsageError(f"{target.name} has no trainable parameter: there is no gradient.")
    live.seed_all(how.seed)
    step = ProbedStep(model, [live.move_batch(each, how.device, dtype) for each in batches], loss)
    try:
        step.run()
    except ArchprofError:
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise DoesNotFit(target.name, how.device, request.batch) from error
    except Exception as error:  # the model's own, or the caller's loss
        given = f"{target.name} does not come through forward and backward on the {how.device} in {dtype}."
        raise ArchprofError(given, f"{type(error).__name__}: {error}") from error
    gradients = measure_gradients(list_trainable(model), profile, spec)
    activations, unknown = step.watch.record(profile)
    found = Probe(
        ran=live.describe_run(how.device, dtype),
        data="random" if opened is None else opened.name,
        batch=request.batch if batches[0].labels is None else len(batches[0].labels),
        batches=len(batches),
        seed=how.seed,
        weights=how.weights or "",
        optimizer=how.optimizer or "",
        loss=keep_finite(step.loss),
        loss_kind=step.kind,
        activations=activations,
        gradients=gradients,
        notes=(*_list_data_notes(opened, batches), *_list_notes(step, gradients, len(unknown))),
    )
    return dataclasses.replace(profile, overlays=(*profile.overlays, found))


def _list_data_notes(opened: DividedData | LoaderData | None, batches: Sequence[Batch]) -> tuple[str, ...]:
    if isinstance(opened, DividedData):
        return opened.notes
    return (DRAWN_NOTE,) if opened is None and batches[0].labels is not None else ()


def _list_notes(step: ProbedStep, gradients: Sequence[Gradient], unknown: int) -> Iterator[str]:
    """What the reader must know of the pass."""
    if step.kind == "means":
        yield MEANS_NOTE
    if unknown:
        yield OTHER_CALLS_NOTE.format(unknown)
    if without := sum(one.norm is None and not one.nonfinite for one in gradients):
        yield NO_GRADIENT_NOTE.format(without, len(gradients))


class ProbedStep:
    """Forward and backward of a few batches, watched.

    Attributes:
        loss: the mean over the batches; its gradients are in the parameters of the model.
        kind: what was differentiated.
        watch: what the calls returned.
    """

    def __init__(self, model: nn.Module, batches: list[Batch], given: LossFunction | None = None) -> None:
        self.model, self.batches, self.given = model, batches, given
        self.loss = 0.0
        self.kind: LossKind = "cross entropy"
        self.watch = ActivationWatch(model)

    def run(self) -> None:
        """All batches; each holds no more than a plain step does when its backward pass begins."""
        for batch in self.batches:
            with self.watch.watching():
                output = self.model(*batch.args, **batch.kwargs)
            value, self.kind = find_loss(output, batch, self.given)
            del output
            if len(self.batches) > 1:
                value = value / len(self.batches)
            value.backward()  # type: ignore[no-untyped-call]
            self.loss += float(value.detach())
