"""The copy of a model that real batches go through."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.facts.needed_bytes import count_needed_bytes
from archprof.facts.ran import Ran
from archprof.facts.records import Profile
from archprof.probing.data.batches import Batch
from archprof.probing.weights import load_weights
from archprof.sources.inputs import map_tensors
from archprof.sources.target import Target
from archprof.torchside.free_memory import refuse_without_room
from archprof.torchside.stand_in import make_stand_in
from archprof.torchside.tensors import dtype_name
from archprof.version import __version__


def make_live_model(target: Target, device: str, dtype: str, seed: int, weights: str | None) -> nn.Module:
    """A copy with values, on the device, in training mode with the flags the user set.

    A model that is built here starts from the seed; a module of the user's keeps its weights.
    """
    seed_all(seed)
    kind: torch.dtype = getattr(torch, dtype)
    if target.rebuild is None:
        model = make_stand_in(target.model, device="cpu", dtype=kind)
    else:
        model = target.rebuild().to(kind)
    if weights is not None:
        load_weights(model, weights)
    if not model.training:
        model.train()
    return model.to(device)


def check_room(target: Target, profile: Profile, device: str, beside: int = 0, others: str = "") -> None:
    """Raise `ArchprofError` where a CPU has no room for a pass as it was traced; a GPU says so itself.

    Args:
        beside: bytes that are taken by then, too.
        others: by what, as it stands in the message.
    """
    if device == "cpu":
        refuse_without_room(f"{target.name} at batch {profile.batch}{others}", count_needed_bytes(profile) + beside)


def count_kept_bytes(profile: Profile) -> int:
    """What stays of a step until the next one: gradients, and the state of the optimizer."""
    kept = [one for one in profile.storages if one.role in ("gradient", "optimizer state") and one.died is None]
    return sum(one.nbytes for one in kept)


def seed_all(seed: int) -> None:
    """Python's, numpy's and torch's generators; only what runs inside `run_untouched` may ask for it."""
    random.seed(seed)
    torch.manual_seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)


def move_batch(batch: Batch, device: str, dtype: str) -> Batch:
    """The batch on the device, its floats in the dtype of the model."""
    kind: torch.dtype = getattr(torch, dtype)

    def move(tensor: torch.Tensor) -> torch.Tensor:
        """A copy, for a forward may write to it."""
        return tensor.to(device, kind if tensor.is_floating_point() else tensor.dtype, copy=True)

    labels = None if batch.labels is None else batch.labels.to(device)
    return Batch(map_tensors(batch.args, move), map_tensors(batch.kwargs, move), labels)


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Gradients on, the same kernels in every run, and the generators of the device put back.

    Raises:
        ArchprofError: there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ArchprofError("There is no CUDA device that torch can use.", "", "Leave --cuda out: the CPU is used.")
    generators = [torch.cuda.current_device()] if device == "cuda" else []
    same_kernels = _keep_cudnn_kernels() if device == "cuda" else nullcontext()
    with same_kernels, torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=generators):
        yield


@contextmanager
def _keep_cudnn_kernels() -> Iterator[None]:
    """cuDNN takes the same kernels each time, and tries none of them first."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def describe_run(device: str, dtype: str, autocast: str | None = None) -> Ran:
    """Where and how the batches ran."""
    cuda = device == "cuda"
    return Ran(
        device=device,
        device_name=torch.cuda.get_device_name() if cuda else "",
        threads=None if cuda else torch.get_num_threads(),
        dtype=dtype,
        autocast=autocast,
        versions={"archprof": __version__, "torch": torch.__version__},
    )


def find_dtype(target: Target, asked: str | None) -> str:
    """The dtype that was asked for, or that of the model's first floating parameter."""
    floats = (each.dtype for each in target.model.parameters() if each.is_floating_point())
    return asked or dtype_name(next(floats, torch.float32))
