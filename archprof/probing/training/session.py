"""Several nets trained side by side, epoch by epoch, in a folder from which they can go on after a kill."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from archprof import files
from archprof.errors import ArchprofError, UsageError
from archprof.facts.request import PassRequest, TrainRequest
from archprof.facts.trained import Epoch, Filters, Flow, TrainedModel, TrainingRun, load_run
from archprof.probing import live
from archprof.probing.data.batches import Batch, DividedData
from archprof.probing.data.choose import RANDOM, check_classes, find_image_shape
from archprof.probing.data.images import open_images
from archprof.probing.data.loaders import open_loaders
from archprof.probing.loss import LossFunction
from archprof.probing.tensor_files import import_safetensors, write_tensors
from archprof.probing.training import checkpoints, snapshots
from archprof.probing.training.loop import Learner, Score, ask, learn_epoch
from archprof.sources.optimizer_grammar import parse_optimizer
from archprof.sources.resolve import resolve
from archprof.sources.target import Target
from archprof.torchside.guard import run_untouched
from archprof.torchside.outside_state import keep_outside_state
from archprof.torchside.watched_model import WatchedModel, watch_unless_owned
from archprof.tracing.trace import trace

Progress = Callable[[float, float], None]

EPOCH_STRIDE = 1_000_003
"""Between the seeds of runs, so that no epoch of one has the order of an epoch of another."""


class TrainingData(NamedTuple):
    """What is learned, by name or as a loader; beside a loader one that is only asked; inputs other than a model's."""

    train: Any
    held_out: Any = None
    inputs: Any = None


def train_models(
    models: Sequence[Any],
    folder: Path,
    data: TrainingData,
    how: TrainRequest,
    loss: LossFunction | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Train what `archprof.train` takes; what it raises stands there."""
    import_safetensors()  # before any work
    if data.train == RANDOM:
        raise UsageError("Random inputs have no classes to learn.", "digits, cifar10:PATH, folder:PATH, or a loader.")
    is_new = not folder.exists()
    prepare_folder(folder, how.resume)

    watched: list[WatchedModel] = []

    def run() -> TrainingRun:
        with live.on_device(how.device), ExitStack() as kept:
            for model in models:
                if isinstance(model, nn.Module):
                    kept.enter_context(keep_outside_state(model, owned=False))
            session = _Session(models, folder, data, how, loss, progress or (lambda done, left: None))
            watched.extend(net.watched for net in session.nets if net.watched)
            return session.run()

    try:
        done = run_untouched(run)
    finally:
        if is_new:
            with suppress(OSError):  # what was learned is in it
                folder.rmdir()
    for each in watched:
        each.check_unchanged()
    return done


def prepare_folder(folder: Path, resume: bool) -> None:
    """Make the folder of a run.

    Raises:
        UsageError: it holds a run, and nobody said that it goes on, or the other way round.
        ArchprofError: it cannot be made.
    """
    if files.is_run_path(folder) and not resume:
        raise UsageError(f"{folder} holds a run already.", "", "Add --resume to go on with it, or name another folder.")
    if resume and not files.is_run_path(folder):
        raise UsageError(f"{folder} holds no run to go on with.", "", "Leave --resume out to begin one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchprofError(f"{folder} cannot be made: {error.strerror}.", "A run is kept in a folder.") from error
    files.check_writable(folder / files.RUN_FILE)


@dataclasses.dataclass
class _Net:
    """One net of the run: what learns, what was recorded, and where it is kept."""

    learner: Learner
    record: TrainedModel
    data: DividedData
    path: Path
    watched: WatchedModel | None

    @property
    def last_epoch(self) -> int:
        return self.record.epochs[-1].number if self.record.epochs else 0


class _Session:
    """One run; what is known so far is in its attributes, since Ctrl-C may end it anywhere."""

    def __init__(
        self, models: Sequence[Any], folder: Path, data: TrainingData, how: TrainRequest,
        loss: LossFunction | None, progress: Progress,
    ) -> None:  # fmt: skip
        self.folder, self.how, self.loss, self.progress = folder, how, loss, progress
        self.spec = parse_optimizer(how.optimizer)
        self.kept_bytes = 0  # of all nets opened so far, once they have made a step
        self.nets = [self._open(at, model, data) for at, model in enumerate(models)]
        self.stopped: dict[str, str] | None = None
        self.steps_done, self.steps_left, self.start = 0, 0, 0.0
        if how.resume:
            self._check_same(load_run(folder))

    def _open(self, at: int, model: Any, data: TrainingData) -> _Net:
        """The net as it starts, or as its file has it."""
        how = self.how
        if isinstance(data.train, str):
            request = PassRequest(how.batch, train=True, optimizer=how.optimizer)
            target = resolve(model, data.inputs, request)
            opened = open_images(data.train, find_image_shape(target, data.train))
        else:
            request = PassRequest(train=True, optimizer=how.optimizer)  # the batch is in the shapes already
            opened, first = open_loaders(data.train, data.held_out)
            target = resolve(model, first.args or dict(first.kwargs), request)
        profile = trace(target, request)
        check_classes(opened, profile)
        live.check_room(target, profile, how.device, self.kept_bytes, " beside the nets before it" if at else "")
        self.kept_bytes += live.count_kept_bytes(profile)
        learner = self._make_learner(target)
        name = f"{at + 1}-{re.sub(r'[^A-Za-z0-9.-]+', '_', target.name)}.safetensors"
        record = TrainedModel(target.name, sum(one.numel() for one in learner.model.parameters()), name)
        watched = watch_unless_owned(target.model, target.owned)
        net = _Net(learner, record, opened, self.folder / name, watched)
        if how.resume and net.path.is_file():
            net.record = checkpoints.load_checkpoint(net.path, learner.model, learner.optimizer)
        return net

    def _make_learner(self, target: Target) -> Learner:
        how, dtype = self.how, live.find_dtype(target, None)
        model = live.make_live_model(target, how.device, dtype, how.seed, None)
        trainable = [one for one in model.parameters() if one.requires_grad]
        if not trainable:
            raise UsageError(f"{target.name} has no trainable parameter: there is nothing to learn.")
        optimizer = self.spec.kind(trainable, **self.spec.options)
        return Learner(model, optimizer, how.device, dtype, self._choose_autocast(), self.loss)

    def _choose_autocast(self) -> Any:
        """Mixed precision where there is a GPU that has bfloat16."""
        mixed = self.how.device == "cuda" and self.how.amp and torch.cuda.is_bf16_supported()
        return partial(torch.autocast, "cuda", torch.bfloat16) if mixed else nullcontext

    def _iterate(self, net: _Net, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, in the order of its seed."""
        return net.data.train.iterate(self.how.batch, torch.Generator().manual_seed(self._seed_of(epoch)))

    def _seed_of(self, epoch: int) -> int:
        return self.how.seed * EPOCH_STRIDE + epoch

    def _check_same(self, before: TrainingRun) -> None:
        """Raise `UsageError` where the run that is to go on was another."""
        old, new = before.list_settings(), self._build_run().list_settings()
        if other := [key for key in old if old[key] != new[key]]:
            said = f"{other[0]} was {old[other[0]]}, and is {new[other[0]]}"
            raise UsageError(
                f"The run in {self.folder} was another: {said}.", "", "Name what it was, or another folder."
            )

    def run(self) -> TrainingRun:
        """All epochs that are still to be done. Ctrl-C keeps what was learned."""
        try:
            self._save_run()
            for net in self.nets:
                if not net.record.epochs:
                    self._begin(net)
            self.steps_left = sum(
                (self.how.epochs - net.last_epoch) * net.data.train.count_batches(self.how.batch) for net in self.nets
            )
            self.start = time.monotonic()
            for number in range(1, self.how.epochs + 1):
                for net in self.nets:
                    if net.last_epoch < number:
                        self._run_epoch(net, number)
        except KeyboardInterrupt:
            self._keep_what_was_learned()
        self._save_run()
        return self._build_run()

    def _begin(self, net: _Net) -> None:
        """What is known before anything is learned."""
        known = self._ask_held_out(net)
        found = snapshots.find_first_convolution(net.learner.model)
        filters = None
        if found is not None:
            before = snapshots.copy_filters(found[1])
            filters = Filters(f"{found[0]}.weight", before, before)
        epoch = Epoch(0, None, None, known.loss, known.accuracy, 0.0)
        net.record = dataclasses.replace(
            net.record, epochs=(epoch,), flows=(self._measure_flow(net, 0),), filters=filters
        )
        self._keep(net)

    def _run_epoch(self, net: _Net, number: int) -> None:
        """Learn for one epoch, look at what came of it, and keep it."""
        live.seed_all(self._seed_of(number))
        learned = learn_epoch(net.learner, self._iterate(net, number), self._tell)
        known = self._ask_held_out(net)
        filters, found = net.record.filters, snapshots.find_first_convolution(net.learner.model)
        if filters is not None and found is not None:
            filters = filters._replace(after=snapshots.copy_filters(found[1]))
        epoch = Epoch(number, learned.loss, learned.accuracy, known.loss, known.accuracy, learned.seconds)
        kept = tuple(flow for flow in net.record.flows if flow.epoch < min(number, 2))
        flows = (*kept, self._measure_flow(net, number))
        net.record = dataclasses.replace(net.record, epochs=(*net.record.epochs, epoch), flows=flows, filters=filters)
        self._keep(net)

    def _keep(self, net: _Net) -> None:
        checkpoints.save_checkpoint(net.path, net.learner.model, net.learner.optimizer, net.record)
        self._save_run()

    def _measure_flow(self, net: _Net, epoch: int) -> Flow:
        """Of the first batch of the first epoch, each time."""
        batch = live.move_batch(next(self._iterate(net, 1)), self.how.device, net.learner.dtype)
        live.seed_all(self.how.seed)
        return snapshots.measure_flow(net.learner.model, batch, epoch, self.loss)

    def _ask_held_out(self, net: _Net) -> Score:
        samples = net.data.held_out
        return Score(None, None, 0.0) if samples is None else ask(net.learner, samples.iterate(self.how.batch))

    def _tell(self) -> None:
        """How far the run is, if every step takes as long."""
        self.steps_done += 1
        done, spent = min(self.steps_done / max(self.steps_left, 1), 1.0), time.monotonic() - self.start
        self.progress(done, spent / done - spent)

    def _keep_what_was_learned(self) -> None:
        """The weights of this moment, beside the checkpoints of the last whole epochs."""
        self.stopped = {}
        for net in self.nets:
            path = net.path.with_suffix(".stopped.safetensors")
            write_tensors(path, net.learner.model.state_dict(), {})
            self.stopped[net.record.weights] = path.name

    def _build_run(self) -> TrainingRun:
        how, autocast = self.how, "bfloat16" if self._choose_autocast() is not nullcontext else None
        return TrainingRun(
            data=self.nets[0].data.name,
            recipe=how.recipe,
            optimizer=how.optimizer,
            batch=how.batch,
            seed=how.seed,
            epochs=how.epochs,
            ran=live.describe_run(how.device, self.nets[0].learner.dtype, autocast),
            models=tuple(net.record for net in self.nets),
            stopped=self.stopped,
            notes=self.nets[0].data.notes,
        )

    def _save_run(self) -> None:
        self._build_run().save(self.folder)
