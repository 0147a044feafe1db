"""One pass over a model, on tensors without values: Target -> Profile.

The pass runs on meta tensors under hooks (which module call runs) and two modes (which op runs).
What needs values (`nonzero`, `.item()`, detection heads) is run again on real tensors on the CPU;
the rows are the same and a note says so.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from archprof.collector import shorten_collections
from archprof.errors import TraceError
from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.records import Failure, Op, Profile, Ran, Signature, TensorSpec, Training
from archprof.facts.request import PLAIN_PASS, PassRequest
from archprof.sources.input_grammar import describe_input
from archprof.sources.inputs import find_input_specs, make_input_tensors
from archprof.sources.saved_files import NothingToRun
from archprof.sources.target import Target
from archprof.torchside.free_memory import refuse_without_room
from archprof.torchside.guard import knows_compiler, run_untouched
from archprof.torchside.handed_over import HAND_OVERS
from archprof.torchside.held_tensors import drain_generators
from archprof.torchside.outside_state import keep_outside_state
from archprof.torchside.private import check_autograd, grad_switch, has_call_entry, run_backward
from archprof.torchside.sharding import list_split_rules
from archprof.torchside.tensors import tensors_in
from archprof.torchside.watched_model import WatchedModel, watch_unless_owned
from archprof.tracing import failure_hints, pass_setup
from archprof.tracing.backward_roots import find_backward_roots, hide_gradients, make_seed, may_hide_tensors
from archprof.tracing.calls import Calls
from archprof.tracing.causal_notes import make_causal_notes
from archprof.tracing.chance import Draw, choose_pass
from archprof.tracing.departures import DEPARTURES_NOTE, list_unseen_ops
from archprof.tracing.function_mode import FunctionMode
from archprof.tracing.held import Held, add_held, find_held, list_held_notes
from archprof.tracing.op_mode import OpMode
from archprof.tracing.ops.costs import Causal
from archprof.tracing.optimizer_step import OptimizerFailed, OptimizerSteps
from archprof.tracing.pass_notes import HIDDEN_OUTPUT_NOTE, NO_BACKWARD_NOTE, explain_fallback, list_call_notes
from archprof.tracing.recorder import Recorder
from archprof.tracing.strategy import (
    SIGNALS,
    CompilerWoke,
    TraceStrategy,
    choose_next_strategy,
    explain_change,
    was_interrupted,
)
from archprof.version import __version__
from archprof.wording import show_shape

if TYPE_CHECKING:
    from archprof.tracing.threads import PassThreads

UNKNOWN_FORWARD = Op(Signature("a forward", macs=None, flops=None, status="unknown"), 0, "forward", (), ())
"""Stands for all the ops of weights that no model came with: their cost is not zero, but not known."""

UNKNOWN_BACKWARD = Op(Signature("a backward", macs=None, flops=None, status="unknown"), 0, "backward", (), ())
"""Stands for all the ops of a backward pass whose start nobody finds."""


def trace(target: Target, request: PassRequest = PLAIN_PASS) -> Profile:
    """Run `target` once, as was asked, and write down what it did.

    Raises:
        TraceError: the model's forward failed; the error's `profile` holds the rows up to there.
    """
    watched = watch_unless_owned(target.model, target.owned)
    run = partial(_trace_outside_inference_mode, target, request, watched)
    try:
        profile = run_untouched(run, compiling=False)
    except CompilerWoke:  # from here on it can be told to sleep
        profile = run_untouched(run, compiling=False)
    if watched is not None:
        watched.check_unchanged()
    return profile


def _trace_outside_inference_mode(target: Target, request: PassRequest, watched: WatchedModel | None) -> Profile:
    # Under inference mode torch hands over composite ops whole, and keeps no gradients.
    kept = keep_outside_state(target.model, target.owned)
    with kept, torch.inference_mode(False), shorten_collections(), pass_setup.open_surroundings(request):
        return _trace_by_strategies(target, request, watched)


def _trace_by_strategies(target: Target, request: PassRequest, watched: WatchedModel | None) -> Profile:
    way, notes = TraceStrategy(hooks=not has_call_entry(), gradients=request.train), list(target.notes)
    if request.train:
        check_autograd()
    compiler_sleeps = knows_compiler()
    while True:
        run = _TracedPass(target, pass_setup.make_traced_model(target, way, request, notes), way, request)
        run.op_mode.watched = watched
        error = run.run_once()
        if error is not None and knows_compiler() and not compiler_sleeps:
            raise CompilerWoke from error
        other = choose_next_strategy(way, error, run.calls)
        if other is None:
            break
        if other.device != way.device:
            refuse_without_room(f"A pass of {target.name} with values", compute_peak_bytes(run.build_profile()))
        if other.device != way.device and error is not None:
            notes.append(explain_fallback(target, error))
        notes += explain_change(way, other)
        way = other
    if error is None and run.chance.may_decide(way.device):
        run, chance_note = choose_pass(
            run, lambda draw: run.run_with(pass_setup.make_traced_model(target, way, request, []), draw)
        )
        notes += [chance_note] if chance_note else []
    if error is None:
        run.held = find_held(run.model, run.recorder, run.run_again)
    run.notes[:0] = notes
    if error is not None:
        try:
            raise _make_trace_error(run, error) from error
        finally:
            del error  # its traceback knows this frame: they would wait for the garbage collector together
    return run.build_profile()


class _TracedPass:
    """One run of one model on one kind of tensors."""

    def __init__(
        self, target: Target, model: nn.Module, way: TraceStrategy, request: PassRequest, *, is_next: bool = False
    ) -> None:
        self.target, self.model, self.strategy, self.request, self.train = target, model, way, request, request.train
        self.notes: list[str] = []
        self.outside_gradients: list[tuple[nn.Parameter, Any]] = []
        self.failure: Failure | None = None
        self.runs_nothing = self.hides_backward = False
        self.dtype = pass_setup.find_pass_dtype(model)
        if not is_next:  # some class drops its cache as they are set
            pass_setup.set_train_flags(model, self.train)
        self.recorder = Recorder()
        self.threads: PassThreads | None = None
        self.unseen_ops: list[Op] = []
        self.held: list[Held] = []
        self.calls = Calls(model, self.recorder, self._find_threads)
        self.autocast = pass_setup.open_autocast(request, way.device)
        causal = cast("Causal", request.causal)
        self.op_mode = OpMode(self.recorder, self.calls, causal, values=way.values, parts=way.parts, draw=way.draw)
        self.optimizer = OptimizerSteps(model, request, target.name) if request.optimizer is not None else None
        self.training: Training | None = None
        self.chance = self.op_mode.chance

    def run_with(self, model: nn.Module, draw: Draw) -> _TracedPass | None:
        """The same pass with other random numbers, over a model like this one; `None` where it fails."""
        run = _TracedPass(self.target, model, self.strategy._replace(draw=draw), self.request)
        run.chance.repeat(self.chance)
        return run if run.run_once() is None else None

    def run_again(self, watch: Callable[[Recorder], None]) -> Recorder | None:
        """What the next pass over the model writes down, whose recorder `watch` gets first; `None` where it fails."""
        request = replace(self.request, optimizer=None, accumulate=1, set_to_none=True)
        run = _TracedPass(self.target, self.model, self.strategy, request, is_next=True)
        run.op_mode.watched = self.op_mode.watched
        run.chance.repeat(self.chance)
        watch(run.recorder)
        return run.recorder if run.run_once() is None else None

    def run_once(self) -> BaseException | None:
        """Run the pass; the exception that the model raised, if it did."""
        device: Any = self.strategy.device
        args, kwargs = (
            make_input_tensors(tree, device=device, batch=self.request.batch, dtype=self.dtype)
            for tree in (self.target.args, self.target.kwargs)
        )
        pass_setup.check_autocast(self.request, self.target.name, self.model, [args, kwargs])
        self.calls.inventory.register_owned()
        for tensor in tensors_in([args, kwargs]):
            self.recorder.add_tensor(tensor, "input")
        if self.strategy.gradients or grad_switch is None:
            self.calls.watch_nodes()
        if self.optimizer:
            self.optimizer.make_earlier_gradients(self.recorder)
        HAND_OVERS.watch(self._find_threads)
        self.chance.begin()
        try:
            with (
                torch.set_grad_enabled(self.strategy.gradients),  # outside the modes: none sees it put back
                self.op_mode,
                FunctionMode(self.op_mode),
                self.autocast.watch(),
            ):
                output = self._run_forward(args, kwargs)
                if self.train:
                    self._run_backward(output)
                if self.optimizer:
                    self.training = self.optimizer.run(self.op_mode)
            if self.threads is not None:
                self.threads.raise_reason()
            self.unseen_ops = list_unseen_ops(self.op_mode.departures, self.recorder, output)
        except OptimizerFailed:
            raise
        except NothingToRun:
            self.runs_nothing = True
        except (Exception, *SIGNALS) as error:
            if was_interrupted(error):
                raise KeyboardInterrupt from error
            error = self.threads.find_reason(error) if self.threads is not None else error
            self.failure = Failure(self.calls.find_failed_row(error), type(error).__name__, str(error))
            return error
        finally:
            self.chance.end()
            HAND_OVERS.restore()
            if self.threads is not None:
                self.threads.close()
            self.calls.inventory.register_lazy()
            self.recorder.close()
            self.calls.close()
            for parameter in self.model.parameters() if self.strategy.gradients else ():
                parameter.grad = None
            for tensor, gradient in self.outside_gradients:
                tensor.grad = gradient
        return None

    def _find_threads(self) -> PassThreads:
        """What watches the threads of this pass, made when there is one beside the first."""
        if self.threads is None:
            from archprof.tracing.threads import PassThreads

            watched = self.train and self.strategy.watches_saved
            self.threads = PassThreads(self.op_mode, watches_saved=watched, repeats_after=self._is_repeated_after)
        return self.threads

    def _is_repeated_after(self, error: BaseException) -> bool:
        return choose_next_strategy(self.strategy, error, self.calls) is not None

    def _run_forward(self, args: Any, kwargs: Any) -> Any:
        with self.calls.open_root(args, kwargs) as returned, self.autocast.turn_on(self.request.amp):
            if not self.train or not self.strategy.watches_saved:
                output = drain_generators(self.model(*args, **kwargs))
            else:
                with torch.autograd.graph.saved_tensors_hooks(self.recorder.note_saved, lambda tensor: tensor):
                    output = drain_generators(self.model(*args, **kwargs))
            returned(output)
        return output

    def _run_backward(self, output: Any) -> None:
        """From every floating output that has a gradient, or from the loss alone where the model returns one."""
        roots = find_backward_roots(output)
        self.op_mode.mark_nodes(roots)
        self.recorder.phase = "backward"
        self.calls.inventory.register_lazy()
        if not roots:
            trains = any(parameter.requires_grad for parameter in self.model.parameters())
            self.hides_backward = trains and may_hide_tensors(output)
            self.notes.append(HIDDEN_OUTPUT_NOTE if self.hides_backward else NO_BACKWARD_NOTE)
            return
        with self.recorder.paused():
            seeds = list(map(make_seed, roots))
        for seed in seeds:
            self.recorder.add_tensor(seed, "temporary", born=len(self.recorder.recorded_ops))
        self.outside_gradients = hide_gradients(self.recorder.constants.parameters, self.model)
        with self.calls.open_backward():
            run_backward(roots, seeds)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                self.recorder.set_role(parameter.grad, "gradient")

    def build_profile(self) -> Profile:
        self.notes += list_call_notes(self.calls, self.autocast)
        if self.request.checkpoint:
            from archprof.tracing.checkpoints import list_checkpoint_notes

            self.notes += list_checkpoint_notes(self.calls)
        self.notes += self.threads.notes if self.threads is not None else []
        self.notes += [DEPARTURES_NOTE][: len(self.unseen_ops)]
        unknown = (*[UNKNOWN_FORWARD][: self.runs_nothing], *[UNKNOWN_BACKWARD][: self.hides_backward])
        recorded = self.recorder.build_ops(watched=self.train and self.strategy.watches_saved)
        ops = (*recorded, *self.unseen_ops, *unknown)
        self.notes += make_causal_notes(self.request.causal, ops)
        storages = self.recorder.build_storages()
        self.notes += list_held_notes(storages, self.held)
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
            storages=add_held(storages, self.held),
            ran=self._describe_run(),
            notes=tuple(self.notes),
            failure=self.failure,
            decoding=self.target.decoding,
            unsized=tuple(self.calls.inventory.lazy_names),
            training=self.training,
            sees_calls=self.calls.sees_calls,
            split_rules=list_split_rules(self.model),
        )

    def _describe_run(self) -> Ran:
        versions = {"archprof": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
        turned_on = self.strategy.gradients and not self.train
        gradients = "on" if turned_on else "inside" if self.calls.took_gradients else None
        amp = self.request.amp
        return Ran(self.strategy.device, dtype=self.dtype, autocast=amp, gradients=gradients, versions=versions)


def _make_trace_error(run: _TracedPass, error: BaseException) -> TraceError:
    assert run.failure is not None
    where, given, module = "the call of the model", "", run.model
    inputs: tuple[TensorSpec, ...] = ()
    if run.calls.rows:
        call = run.calls.rows[run.failure.call]
        module, inputs = call.node.module, call.inputs
        where = f"{call.node.path or 'the model itself'}, a {type(module).__name__}({module.extra_repr()})"
        given = ", ".join(show_shape(spec.shape) for spec in call.inputs)
    went = "backward" if run.recorder.phase == "backward" else "forward"
    return TraceError(
        f"The {went} of {run.target.name} failed in {where}" + (f", given {given}." if given else "."),
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
