"""One pass over a model, on tensors without values: Target -> Profile.

The pass runs on meta tensors under hooks (which module call runs) and two modes (which op runs).
What needs values (`nonzero`, `.item()`, detection heads) is run again on real tensors on the CPU;
the rows are the same and a note says so.
"""

from __future__ import annotations

import itertools
import platform
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.autograd.graph import disable_saved_tensors_hooks

from archprof.errors import TraceError
from archprof.facts.records import Failure, Op, Profile, Ran, Signature, TensorSpec
from archprof.facts.request import PLAIN_PASS, PassRequest
from archprof.sources.input_grammar import describe_input
from archprof.sources.inputs import count_given_values, find_input_specs, make_input_tensors
from archprof.sources.saved_files import NothingToRun
from archprof.sources.target import Target
from archprof.torchside.autocast import answer_autocast_on_meta
from archprof.torchside.collector import shorten_collections
from archprof.torchside.guard import run_untouched
from archprof.torchside.held_tensors import drain_generators
from archprof.torchside.missing_values import wants_values, was_raised_in
from archprof.torchside.private import check_autograd, has_call_entry
from archprof.torchside.sharding import SHARDED_NOTE, any_sharded
from archprof.torchside.stand_in import HookWanted, make_stand_in
from archprof.torchside.tensors import dtype_name, tensors_in
from archprof.tracing import failure_hints
from archprof.tracing.backward_roots import find_backward_roots, may_hide_tensors
from archprof.tracing.calls import Calls
from archprof.tracing.causal_notes import make_causal_notes
from archprof.tracing.modes import FunctionMode, NodeOwners, OpMode
from archprof.tracing.ops.costs import Causal
from archprof.tracing.ops.shapes.strides import strides_of_copy
from archprof.tracing.recorder import Recorder
from archprof.version import __version__

AUTOCAST_NOTE = (
    "Autocast was on in this pass; it does not act on meta tensors, so dtypes and sizes are those without it."
)

SAVED_UNKNOWN_NOTE = "What autograd keeps for the backward pass is not known here: torch.func lets nobody watch it."

UNKNOWN_FORWARD = Op(Signature("a forward", macs=None, flops=None, status="unknown"), 0, "forward", (), ())
"""Stands for all the ops of weights that no model came with: their cost is not zero, but not known."""

UNKNOWN_BACKWARD = Op(Signature("a backward", macs=None, flops=None, status="unknown"), 0, "backward", (), ())
"""Stands for all the ops of a backward pass whose start nobody finds."""

NO_BACKWARD_NOTE = "No output depends on a trainable parameter: there is no backward pass."

HIDDEN_OUTPUT_NOTE = (
    "The output is an object in which no tensor with a gradient was found: the backward pass is not known."
)

FALLBACK_NOTE = "Traced on real tensors on the CPU with {inputs}, since on meta: {reason}"


def trace(target: Target, request: PassRequest = PLAIN_PASS) -> Profile:
    """Run `target` once, as was asked, and write down what it did.

    Raises:
        TraceError: the model's forward failed; the error's `profile` holds the rows up to there.
    """
    return run_untouched(lambda: _trace_outside_inference_mode(target, request))


def _trace_outside_inference_mode(target: Target, request: PassRequest) -> Profile:
    # Under inference mode torch hands over composite ops whole, and keeps no gradients.
    with torch.inference_mode(False), shorten_collections():
        return _trace_by_strategies(target, request)


class _TraceStrategy(NamedTuple):
    """How a pass is run. The first way is the fastest; a model that it does not do for is run in another.

    Attributes:
        device: "meta", or "cpu" for what needs values.
        hooks: modules can be given hooks in forward.
        values: small tensors that code makes on meta have values all the same, since it may ask for them.
        watches_saved: what autograd keeps for the backward pass is watched, which torch.func does not allow.
    """

    device: str = "meta"
    hooks: bool = False
    values: bool = False
    watches_saved: bool = True


def _choose_next_strategy(way: _TraceStrategy, error: BaseException) -> _TraceStrategy | None:
    """The way in which a model may come through that failed so in this one; `None`: there is none."""
    if isinstance(error, HookWanted):
        return way._replace(hooks=True)
    if way.watches_saved and was_raised_in(error, disable_saved_tensors_hooks):
        return way._replace(watches_saved=False)
    if way.device == "meta" and wants_values(error):
        return way._replace(device="cpu") if way.values else way._replace(values=True)
    return None


def _trace_by_strategies(target: Target, request: PassRequest) -> Profile:
    wanted = getattr(torch, request.dtype) if request.dtype else None
    way, notes = _TraceStrategy(hooks=not has_call_entry()), list(target.notes)
    if any_sharded(target.model.parameters()):
        notes.append(SHARDED_NOTE)
    if request.train:
        check_autograd()
    while True:
        run = _TracedPass(target, _make_traced_model(target, way, wanted), way, request)
        error = run.run_once()
        other = None if error is None else _choose_next_strategy(way, error)
        if error is None or other is None:
            break
        if other.device != way.device:
            notes.append(FALLBACK_NOTE.format(inputs=_describe_values(target), reason=_first_sentence(error)))
        if other.watches_saved != way.watches_saved:
            notes.append(SAVED_UNKNOWN_NOTE)
        way = other
    run.notes[:0] = notes
    if error is not None:
        try:
            raise _make_trace_error(run, error) from error
        finally:
            del error  # its traceback knows this frame: they would wait for the garbage collector together
    return run.build_profile()


def _make_traced_model(target: Target, way: _TraceStrategy, dtype: torch.dtype | None) -> nn.Module:
    """What is run: the target's model itself where it is ours, and a twin of it where it is not, or needs values."""
    if way.device == "cpu":
        return make_stand_in(target.rebuild() if target.rebuild else target.model, device="cpu", dtype=dtype)
    if not target.owned:
        return make_stand_in(target.model, dtype=dtype, hooks=way.hooks)
    return target.model if dtype is None else target.model.to(dtype)


class _TracedPass:
    """One run of one model on one kind of tensors."""

    def __init__(self, target: Target, model: nn.Module, way: _TraceStrategy, request: PassRequest) -> None:
        self.target, self.model, self.strategy, self.request, self.train = target, model, way, request, request.train
        self.notes: list[str] = []
        self.failure: Failure | None = None
        self.runs_nothing = self.hides_backward = False
        self.dtype = _find_pass_dtype(model)
        _set_train_flags(model, self.train)
        self.recorder = Recorder()
        self.calls = Calls(model, self.recorder)
        self.op_mode = OpMode(self.recorder, self.calls, cast("Causal", request.causal), values=way.values)

    def run_once(self) -> Exception | HookWanted | None:
        """Run the pass; the exception that the model raised, if it did."""
        device: Any = self.strategy.device
        args, kwargs = (
            make_input_tensors(tree, device=device, batch=self.request.batch, dtype=self.dtype)
            for tree in (self.target.args, self.target.kwargs)
        )
        self.calls.inventory.register_owned()
        for tensor in tensors_in([args, kwargs]):
            self.recorder.add_tensor(tensor, "input")
        if self.train:
            self.op_mode.node_owners = NodeOwners()
        output = None
        try:
            with (
                self.op_mode,
                FunctionMode(self.op_mode),
                torch.set_grad_enabled(self.train),
                answer_autocast_on_meta(),
            ):
                output = self._run_forward(args, kwargs)
                if self.train:
                    self._run_backward(output)
        except NothingToRun:
            self.runs_nothing = True
        except (Exception, HookWanted) as error:
            if _was_interrupted(error):
                raise KeyboardInterrupt from error
            self.failure = self._locate_failure(error)
            return error
        finally:
            self.calls.inventory.register_lazy()
            self.recorder.close()
            self.calls.close()
            for parameter in self.model.parameters() if self.train else ():
                parameter.grad = None
        return None

    def _run_forward(self, args: Any, kwargs: Any) -> Any:
        with self.calls.open_root(args, kwargs) as returned:
            if not self.train or not self.strategy.watches_saved:
                output = drain_generators(self.model(*args, **kwargs))
            else:
                with torch.autograd.graph.saved_tensors_hooks(self.recorder.note_saved, lambda tensor: tensor):
                    output = drain_generators(self.model(*args, **kwargs))
            returned(output)
        return output

    def _run_backward(self, output: Any) -> None:
        """From every floating output that has a gradient, or from the loss alone where the model returns one."""
        self.recorder.phase = "backward"
        self.calls.inventory.register_lazy()
        self.op_mode.param_rows = self.calls.inventory.find_param_rows()
        roots = find_backward_roots(output)
        if not roots:
            trains = any(parameter.requires_grad for parameter in self.model.parameters())
            self.hides_backward = trains and may_hide_tensors(output)
            self.notes.append(HIDDEN_OUTPUT_NOTE if self.hides_backward else NO_BACKWARD_NOTE)
            return
        with self.recorder.paused():
            seeds = [
                torch.empty_strided(t.shape, strides_of_copy(t.shape, t.stride()), dtype=t.dtype, device=t.device)
                for t in roots
            ]
            for seed in seeds if self.strategy.device == "cpu" else ():
                seed.fill_(1)  # hooks and functions on the way back may ask for values
        for seed in seeds:
            self.recorder.add_tensor(seed, "temporary", born=len(self.recorder.recorded_ops))
        torch.autograd.backward(roots, seeds)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                self.recorder.set_role(parameter.grad, "gradient")

    def _locate_failure(self, error: BaseException) -> Failure:
        return Failure(self.calls.find_failed_row(error), type(error).__name__, str(error))

    def _build_ops(self) -> tuple[Op, ...]:
        return self.recorder.build_ops(watched=self.train and self.strategy.watches_saved)

    def build_profile(self) -> Profile:
        if self.calls.autocast_seen and self.strategy.device == "meta":
            self.notes.append(AUTOCAST_NOTE)
        unknown = (*[UNKNOWN_FORWARD][: self.runs_nothing], *[UNKNOWN_BACKWARD][: self.hides_backward])
        ops = (*self._build_ops(), *unknown)
        self.notes += make_causal_notes(self.request.causal, ops)
        return Profile(
            model=self.target.name,
            inputs=_describe_inputs(self.target),
            batch=self.request.batch,
            mode="train" if self.train else "forward",
            dtype=self.dtype,
            modules=self.calls.inventory.build_modules(),
            parameters=self.calls.inventory.build_parameters(),
            calls=self.calls.build_calls(),
            ops=ops,
            tensors=self.recorder.build_tensors(),
            storages=self.recorder.build_storages(),
            ran=_describe_pass(self.strategy.device, self.dtype),
            notes=tuple(self.notes),
            failure=self.failure,
            decoding=self.target.decoding,
            unsized=tuple(self.calls.inventory.lazy_names),
        )


def _find_pass_dtype(model: nn.Module) -> str:
    """The dtype the pass runs in: that of the first floating parameter or buffer."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return dtype_name(tensor.dtype)
    return "float32"


def _set_train_flags(model: nn.Module, train: bool) -> None:
    """Evaluation, or training with the flags the user set (a frozen batch norm stays frozen)."""
    if train:
        if not model.training:
            model.train()
        return
    modules = list(model.modules())
    kinds: set[Any] = {type(module) for module in modules}
    if any(kind.train is not nn.Module.train or kind.eval is not nn.Module.eval for kind in kinds):
        model.eval()  # some class does more than set the flag
        return
    for module in modules:
        module.__dict__["training"] = False  # what `eval` does, only faster


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an exception came up while Ctrl-C was on its way out, as when torch then finds its own stacks changed."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _first_sentence(error: BaseException) -> str:
    """What torch says, without the advice that follows it."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split(". ")[0].split(", as ")[0].rstrip(".") + "."


def _make_trace_error(run: _TracedPass, error: BaseException) -> TraceError:
    assert run.failure is not None
    where, given, module = "the call of the model", "", run.model
    inputs: tuple[TensorSpec, ...] = ()
    if run.calls.rows:
        call = run.calls.rows[run.failure.call]
        module, inputs = call.node.module, call.inputs
        where = f"{call.node.path or 'the model itself'}, a {type(module).__name__}({module.extra_repr()})"
        given = ", ".join("x".join(map(str, spec.shape)) or "a scalar" for spec in call.inputs)
    return TraceError(
        f"The forward of {run.target.name} failed in {where}" + (f", given {given}." if given else "."),
        f"{type(error).__name__}: {error}",
        _suggest_fix(run, module, inputs, error),
        run.build_profile(),
    )


def _suggest_fix(run: _TracedPass, module: nn.Module, inputs: tuple[TensorSpec, ...], error: BaseException) -> str:
    """What to try; at the model's own call, first whether it takes so many inputs of these names."""
    target = run.target
    if module is run.model and isinstance(error, TypeError):
        unfit = failure_hints.explain_arguments(module.forward, target.args, target.kwargs)
        if unfit:
            return unfit
    arguments = tuple(find_input_specs([target.args, target.kwargs]))
    return failure_hints.suggest_fix(failure_hints.FailedCall(module, inputs, arguments, run.request.batch, error))


def _describe_inputs(target: Target) -> tuple[str, ...]:
    keywords = (f"{name}={describe_input(tree)}" for name, tree in target.kwargs.items())
    return (*map(describe_input, target.args), *keywords)


def _describe_values(target: Target) -> str:
    """Where the values of the inputs are from."""
    given, drawn = count_given_values([target.args, target.kwargs])
    if not given:
        return "random inputs"
    return "the values given" + (", random ones where none were" if drawn else "")


def _describe_pass(device: str, dtype: str) -> Ran:
    versions = {"archprof": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    return Ran(device, dtype=dtype, versions=versions)
