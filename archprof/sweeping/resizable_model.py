"""The same model with an image of another size, traced or run bare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from archprof.errors import ArchprofError, TraceError, UsageError
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, PassRequest
from archprof.models.block_grammar import looks_like_blocks
from archprof.sources.input_spec import InputSpec
from archprof.sources.inputs import make_input_tensors
from archprof.sources.resolve import check_traceable, resolve
from archprof.sources.target import Target
from archprof.tracing.trace import trace


class Attempt(NamedTuple):
    """One try: what it cost, up to where it failed if it did; `problem` says how."""

    profile: Profile | None
    problem: str | None = None


def try_trace(make: Callable[[], Target], request: PassRequest) -> Attempt:
    """Make a target and trace it."""
    try:
        return Attempt(trace(make(), request))
    except TraceError as error:
        return Attempt(error.profile, " ".join(f"{error.given} {error.allowed}".split()))
    except ArchprofError as error:
        return Attempt(None, " ".join(error.given.split()))


class AbsentError(UsageError):
    """The model has no such setting."""


class ResizableModel:
    """A model at other sizes of its one image input.

    Attributes:
        target: the model at the size it was asked for with, or its default.
        height, width: that size.
        can_run_bare: the bare forward runs at that size, so that it tells where the forward fails.
    """

    def __init__(self, model: Any, inputs: Any = None, request: PassRequest = PLAIN_PASS) -> None:
        check_traceable(model)
        self.model, self.request = model, request
        self.target = resolve(model, inputs, request)
        self.image_position, self.image = _find_image(self.target)
        self.height, self.width = self.image.shape[-2:]
        self.can_run_bare = (
            self.target.owned
            and request.dtype is None
            and not is_block_spec(model)
            and self._runs_bare(self.height, self.width)
        )

    def trace_at(self, height: int, width: int) -> Attempt:
        """The model traced at this size."""
        image = self.image.resize((*self.image.shape[:-2], height, width))
        return try_trace(partial(self._make_target, image), self.request)

    def surely_fails(self, height: int, width: int) -> bool:
        """Whether the forward surely fails at this size; much quicker than a trace, which alone knows if it runs."""
        return self.can_run_bare and not self._runs_bare(height, width)

    def _runs_bare(self, height: int, width: int) -> bool:
        """Whether the bare forward comes to its end, on tensors without values."""
        target = self._make_target(self.image.resize((*self.image.shape[:-2], height, width)))
        args, kwargs = (
            make_input_tensors(tree, device="meta", batch=self.request.batch, dtype="float32")
            for tree in (target.args, target.kwargs)
        )
        try:
            with torch.no_grad():
                target.model.eval()(*args, **kwargs)
        except Exception:
            return False
        return True

    def _make_target(self, image: InputSpec) -> Target:
        if is_block_spec(self.model):  # such a net fits itself to its input
            return resolve(self.model, image, self.request)
        args, kwargs = list(self.target.args), dict(self.target.kwargs)
        if isinstance(self.image_position, int):
            args[self.image_position] = image
        else:
            kwargs[self.image_position] = image
        return replace(self.target, args=tuple(args), kwargs=kwargs)


def is_block_spec(model: Any) -> bool:
    return isinstance(model, str) and looks_like_blocks(model)


def _find_image(target: Target) -> tuple[int | str, InputSpec]:
    """Where the image stands among the inputs (position or keyword), and its shape; there must be exactly one."""
    places: list[tuple[int | str, Any]] = [*enumerate(target.args), *target.kwargs.items()]
    images = [(place, leaf) for place, leaf in places if isinstance(leaf, InputSpec) and _is_image(leaf)]
    if len(images) != 1:
        raise AbsentError(
            f"{target.name} takes {len(images) or 'no'} image{'s' if len(images) > 1 else ''}.",
            "The size of an input can be searched where exactly one input is an image, such as 3x224x224.",
        )
    return images[0]


def _is_image(leaf: InputSpec) -> bool:
    floating = leaf.dtype is None or "float" in leaf.dtype
    return floating and len(leaf.shape) == (3 if leaf.batched else 4)
