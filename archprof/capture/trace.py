"""One pass over a model, on tensors without values: Target -> Profile.

The pass runs on meta tensors under hooks (which module call runs) and two modes (which op runs).
What needs values (`nonzero`, `.item()`, detection heads) is run again on real tensors on the CPU;
the rows are the same and a note says so.
"""

from __future__ import annotations

import itertools
import platform
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

import archprof
from archprof.capture import costs
from archprof.capture.inputs import describe, materialise
from archprof.capture.modes import FunctionMode, NeedsValues, OpMode, Owners
from archprof.capture.modules import Calls
from archprof.capture.recorder import Recorder, dtype_name, tensors_in
from archprof.capture.target import Target
from archprof.capture.twin import twin
from archprof.errors import TraceError
from archprof.records import Failure, Profile

WITHOUT_VALUES = re.compile("meta|unsupported scalarType|'lengths' argument", re.IGNORECASE)
"""In torch's words for what it cannot do on meta: most name it, autocast and packed sequences do not."""

AUTOCAST_NOTE = (
    "Autocast was on in this pass; it does not act on meta tensors, so dtypes and sizes are those without it."
)

FALLBACK_NOTE = "Traced on real tensors on the CPU with random inputs, since on meta: {reason}"


def trace(
    target: Target,
    *,
    batch: int = 1,
    dtype: str | None = None,
    train: bool = False,
    causal: costs.Causal = "full",
) -> Profile:
    """Run `target` once and write down what it did.

    Raises:
        TraceError: the model's forward failed; the error's `profile` holds the rows up to there.
    """
    if "torch._dynamo" in sys.modules:
        _leave_us_alone()
    with torch.inference_mode(False):  # under it torch hands over composite ops whole, and keeps no gradients
        return _trace(target, batch, dtype, train, causal)


@cache
def _leave_us_alone() -> None:
    """Tell torch's compiler to skip archprof: a compiled function in a model would compile our modes, too."""
    from torch._dynamo import trace_rules

    trace_rules.add("archprof")


def _trace(target: Target, batch: int, dtype: str | None, train: bool, causal: costs.Causal) -> Profile:
    wanted = getattr(torch, dtype) if dtype else None
    model = target.model if target.owned else twin(target.model, dtype=wanted)
    if target.owned and wanted is not None:
        model = model.to(wanted)
    run = _Pass(target, model, "meta", batch, train, causal)
    error = run.go()
    if error is not None and _wants_values(error):
        real = target.rebuild() if target.rebuild else target.model
        run = _Pass(target, twin(real, device="cpu", dtype=wanted), "cpu", batch, train, causal)
        run.notes.append(FALLBACK_NOTE.format(reason=_first_sentence(error)))
        error = run.go()
    if error is not None:
        raise _failed(run, error) from error
    return run.profile()


class _Pass:
    """One run of one model on one kind of tensors."""

    def __init__(
        self, target: Target, model: nn.Module, device: str, batch: int, train: bool, causal: costs.Causal
    ) -> None:
        self.target, self.model, self.device, self.batch, self.train = target, model, device, batch, train
        self.notes = list(target.notes)
        self.failure: Failure | None = None
        self.dtype = _floating_dtype(model)
        _set_mode(model, train)
        self.recorder = Recorder()
        self.calls = Calls(model, self.recorder, keep_hooks=target.owned)  # a twin is thrown away with its hooks
        self.mode = OpMode(self.recorder, self.calls, causal)

    def go(self) -> Exception | None:
        """Run the pass; the exception that the model raised, if it did."""
        device: Any = self.device
        args, kwargs = (
            materialise(tree, device=device, batch=self.batch, dtype=self.dtype)
            for tree in (self.target.args, self.target.kwargs)
        )
        self.calls.register()
        for tensor in tensors_in([args, kwargs]):
            self.recorder.add(tensor, "input")
        if self.train:
            self.mode.owners = Owners()
        output = None
        try:
            with _untouched_rng(), self.mode, FunctionMode(self.mode), torch.set_grad_enabled(self.train):
                output = self._forward(args, kwargs)
                if self.train:
                    self._backward(output)
        except Exception as error:
            self.failure = self._where(error)
            return error
        finally:
            self.recorder.on = False
            self.calls.materialised()
            self.calls.close()
            for parameter in self.model.parameters() if self.train else ():
                parameter.grad = None
        return None

    def _forward(self, args: Any, kwargs: Any) -> Any:
        with self.calls.root(args, kwargs) as returned:
            if not self.train:
                output = self.model(*args, **kwargs)
            else:
                with torch.autograd.graph.saved_tensors_hooks(self.recorder.saves, lambda tensor: tensor):
                    output = self.model(*args, **kwargs)
            returned(output)
        return output

    def _backward(self, output: Any) -> None:
        """From every floating output that has a gradient, or from the loss alone where the model returns one."""
        self.recorder.phase = "backward"
        self.calls.materialised()
        self.mode.param_rows = self.calls.param_rows()
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        roots = [tensor for tensor in tensors_in(loss if loss is not None else output) if tensor.requires_grad]
        if not roots:
            self.notes.append("No output depends on a trainable parameter: there is no backward pass.")
            return
        with self.recorder.paused():
            seeds = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device) for t in roots]
        for seed in seeds:
            self.recorder.add(seed, "temporary", born=len(self.recorder.events))
        torch.autograd.backward(roots, seeds)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                self.recorder.becomes(parameter.grad, "gradient")

    def _where(self, error: Exception) -> Failure:
        return Failure(self.calls.where(error), type(error).__name__, str(error))

    def profile(self) -> Profile:
        layers, places = self.calls.finish(whole=self.failure is None)
        if self.mode.autocast and self.device == "meta":
            self.notes.append(AUTOCAST_NOTE)
        failure = self.failure
        return Profile(
            model=self.target.name,
            inputs=_described(self.target),
            batch=self.batch,
            mode="train" if self.train else "forward",
            dtype=self.dtype,
            layers=layers,
            ops=self.recorder.ops(places),
            tensors=tuple(self.recorder.tensors),
            storages=self.recorder.storages(),
            environment=_environment(self.device),
            notes=tuple(self.notes),
            failure=failure and Failure(places[failure.layer], failure.error, failure.message),
        )


def _floating_dtype(model: nn.Module) -> str:
    """The dtype the pass runs in: that of the first floating parameter or buffer."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return dtype_name(tensor.dtype)
    return "float32"


def _set_mode(model: nn.Module, train: bool) -> None:
    """Evaluation, or training with the flags the user set (a frozen batch norm stays frozen)."""
    if not train:
        model.eval()
    elif not model.training:
        model.train()


@contextmanager
def _untouched_rng() -> Iterator[None]:
    """The global random states are afterwards what they were."""
    numpy = sys.modules.get("numpy")
    state, python = torch.get_rng_state(), random.getstate()
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        torch.set_rng_state(state)
        random.setstate(python)
        if numpy:
            numpy.random.set_state(numpy_state)


def _wants_values(error: Exception) -> bool:
    """Whether the same pass may succeed on real tensors."""
    return isinstance(error, NeedsValues | NotImplementedError) or bool(WITHOUT_VALUES.search(str(error)))


def _first_sentence(error: Exception) -> str:
    """What torch says, without the advice that follows it."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split(". ")[0].split(", as ")[0].rstrip(".") + "."


def _failed(run: _Pass, error: Exception) -> TraceError:
    assert run.failure is not None
    where, given = "the call of the model", ""
    if run.calls.rows:
        call = run.calls.rows[run.failure.layer]
        module = call.node.module
        where = f"{call.node.path or 'the model itself'}, a {type(module).__name__}({module.extra_repr()})"
        given = ", ".join("x".join(map(str, spec.shape)) or "a scalar" for spec in call.inputs)
    return TraceError(
        f"The forward of {run.target.name} failed in {where}" + (f", given {given}." if given else "."),
        f"{type(error).__name__}: {error}",
        "Check --input: its shape, its dtype and how many inputs the forward takes.",
        run.profile(),
    )


def _described(target: Target) -> tuple[str, ...]:
    keywords = (f"{name}={describe(tree)}" for name, tree in target.kwargs.items())
    return (*map(describe, target.args), *keywords)


def _environment(device: str) -> dict[str, str]:
    return {
        "archprof": archprof.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device,
    }
