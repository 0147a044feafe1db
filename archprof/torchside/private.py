"""Every private name of torch that archprof uses: all of them stand here, and none elsewhere.

Torch may change them in any release. Each is looked for as this module is imported, and those of torch's compiler as
they are needed, since its import takes longer than torch's own. In the place of one that is gone comes a public way
to the same end, or else `require` says in a clear error what is missing; a pass never goes on with less than it says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError


class MissingName(ArchprofError):
    """This torch lacks a private name that nothing else can stand in for."""

    def __init__(self, name: str, purpose: str) -> None:
        super().__init__(
            f"torch {torch.__version__} has no torch.{name}, which archprof needs to {purpose}.",
            "torch 2.11 to 2.14 have it.",
            "Install one of those, or a newer archprof.",
        )


def find(name: str) -> Any:
    """What torch has under a dotted name; `None` where it has nothing there."""
    try:
        return attrgetter(name)(torch)
    except AttributeError:
        return None


def require(name: str, purpose: str) -> Any:
    """What torch has under a dotted name.

    Raises:
        MissingName: nothing. `purpose` ends the sentence that says so.
    """
    found = find(name)
    if found is None:
        raise MissingName(name, purpose)
    return found


# Modules: which call runs.

CALL_ENTRY = "_compiled_call_impl"
"""Where `nn.Module.__call__` looks for what to call in the place of the module's hooks and forward."""

OWN_CALL = "_call_impl"
"""The method that runs a module's hooks and forward, and asks for no entry."""

get_own_call: Callable[[nn.Module], Callable[..., Any]] = attrgetter(OWN_CALL)

MODULE_TABLES = ("_parameters", "_buffers", "_modules")
"""Where a module keeps what was registered in it."""

CALL_HOOK_TABLES = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""Where a module keeps the hooks of its calls."""


def check_module_tables() -> None:
    """Raise `MissingName` where modules keep their parameters and hooks elsewhere."""
    there = vars(nn.Module())
    for name in (*MODULE_TABLES, *CALL_HOOK_TABLES):
        if name not in there:
            raise MissingName(f"nn.Module().{name}", "read a model")


check_module_tables()


def has_call_entry() -> bool:
    """Whether a module's call is handed to what stands under `CALL_ENTRY`: asked of a module that is made for it."""
    probe, answer = nn.Module(), object()
    probe.__dict__[CALL_ENTRY] = lambda: answer
    try:
        return find(f"nn.Module.{OWN_CALL}") is not None and probe() is answer
    except Exception:  # it went on to the forward, which this one lacks
        return False


# Ops: what runs.

TorchDispatchMode: Any = require("utils._python_dispatch.TorchDispatchMode", "see the ops of a model")

OVERLOAD: Any = type(torch.ops.aten.add.Tensor)
"""The class of aten's ops; those that take functions, such as `cond`, are of another."""

require("ops.aten.add.Tensor._schema", "know the arguments of an op")


def is_mutable(op: Any) -> bool:
    """Whether an op changes one of its arguments."""
    return bool(op._schema.is_mutable)


def argument_names(op: Any) -> list[str]:
    """The names of an op's arguments, in order."""
    return [argument.name for argument in op._schema.arguments]


def list_written(op: Any, args: Any, kwargs: Any) -> list[Any]:
    """The arguments that an op changes."""
    values = dict(zip(argument_names(op), args, strict=False)) | kwargs
    written = (each.name for each in op._schema.arguments if each.alias_info and each.alias_info.is_write)
    return [values[name] for name in written if name in values]


def count_writes(tensor: torch.Tensor) -> int:
    """How often a tensor was written to; 0 always, where torch does not say."""
    return int(getattr(tensor, "_version", 0))


count_dispatch_modes: Callable[[], int] = find("_C._len_torch_dispatch_stack") or (lambda: 1)
"""How many modes see the ops of this thread. Where torch does not tell: one, also inside an op, where none does."""


def has_kernel(op: Any) -> bool:
    """Whether an op is one of the dispatcher's."""
    return bool(require("_C._dispatch_has_kernel", "tell ops that compute from others")(op.name()))


DisableTorchFunction: Callable[[], AbstractContextManager[Any]] = find("_C.DisableTorchFunction") or nullcontext
"""Inside, function modes see nothing; they may see it, only slower."""

DisableTorchDispatch: Callable[[], AbstractContextManager[Any]] | None = find("_C._DisableTorchDispatch")
"""Inside, dispatch modes see nothing. `None`: they see all, so that what must not be seen is not run."""

open_op_library: Callable[..., Any] | None = find("_C._dispatch_library")
"""Where kernels can be registered; without it, some ops are taken apart on meta."""

is_left_aligned: Any = find("_nested_tensor_from_mask_left_aligned")
"""What the fast path of encoders asks of a mask; `None`: this torch asks nothing of the kind."""

_function_stack = [
    find(f"_C.{name}")
    for name in ("_len_torch_function_stack", "_pop_torch_function_stack", "_push_on_torch_function_stack")
]
count_function_modes: Any
pop_function_mode: Any
push_function_mode: Any
count_function_modes, pop_function_mode, push_function_mode = (
    _function_stack if None not in _function_stack else (lambda: 0, None, None)
)
"""The stack of function modes. Where it is closed to us it counts as empty: no mode is ever taken off it."""

_current_level: Callable[[], int | None] = require("_C._functorch.maybe_current_level", "see transforms of torch.func")
require("autograd.forward_ad._current_level", "see tangents")


def is_transformed() -> bool:
    """Whether a transform of torch.func runs, or tensors may carry tangents: a shape then tells less than there is."""
    return _current_level() is not None or torch.autograd.forward_ad._current_level >= 0


# Tensors and storages.

is_view: Callable[[torch.Tensor], bool] = find("Tensor._is_view") or (lambda tensor: tensor._base is not None)
"""Whether a tensor shares the storage of another, as autograd sees it."""

find_address: Callable[[torch.UntypedStorage], int] = (
    attrgetter("_cdata") if find("UntypedStorage._cdata") is not None else id
)
"""A number that a storage has for itself while it lives, and all its tensors with it."""


# The graph of the backward pass.


def check_autograd() -> None:
    """Raise `MissingName` where autograd does not tell which node runs, and when it was made."""
    for name in ("_C._autograd._get_sequence_nr", "_C._current_autograd_node", "autograd.graph.Node._sequence_nr"):
        require(name, "charge a backward pass to its layers")


_engine: Callable[..., Any] | None = find("autograd.graph._engine_run_backward")


def run_backward(roots: list[torch.Tensor], seeds: list[torch.Tensor]) -> None:
    """What `torch.autograd.backward` does, for gradients of the shapes of their roots.

    Its check of them imports sympy, which takes a quarter of the time of `import torch`.
    """
    if _engine is None or any(type(root) is not torch.Tensor for root in roots):
        torch.autograd.backward(roots, seeds)
    else:
        _engine(tuple(roots), tuple(seeds), False, False, (), allow_unreachable=True, accumulate_grad=True)


next_sequence_number: Callable[[], int] = find("_C._autograd._get_sequence_nr")
"""The number that autograd would give to a node made now on this thread."""

find_running_node: Callable[[], Any] = find("_C._current_autograd_node")
"""The node of the backward pass that runs on this thread; `None`: none does."""


def will_run_node(node: Any) -> bool:
    """Whether the backward pass that runs needs a node; where torch does not tell, it may."""
    try:
        return bool((find("_C._will_engine_execute_node") or bool)(node))
    except RuntimeError:  # of a leaf whose gradient is asked for, torch does not say so
        return True


grad_switch: Callable[[bool], None] | None = find("_C._set_grad_enabled")
"""What turns gradients on and off, which a function mode sees; `None`: they may go on without a word."""


def node_number(node: Any) -> int:
    """When a node was made, among the others."""
    return int(node._sequence_nr())


# What the process keeps: put back by `guard`.

_KINDS_OF_MODES = "torch_dispatch_mode", "non_infra_torch_dispatch_mode", "any_mode_without_ignore_compile_internals"
MODE_FLAGS = tuple(f"_is_in_{kind}" for kind in _KINDS_OF_MODES)
"""Torch's notes, one per process, that some mode is on; some versions have fewer."""


def _find_mode_stacks() -> list[tuple[Callable[[], int], Callable[[], Any]]]:
    """How deep each stack is, and how its top is taken off."""
    stacks = []
    if (pop := find("_C._pop_torch_dispatch_stack")) and (count := find("_C._len_torch_dispatch_stack")):
        stacks.append((count, lambda: pop(None)))
    if pop_function_mode is not None:
        stacks.append((count_function_modes, pop_function_mode))
    return stacks


mode_stacks = _find_mode_stacks()
list_dispatch_modes: Any = find("utils._python_dispatch._get_current_dispatch_mode_stack") or list
disable_dispatch_modes: Any = find("utils._python_dispatch._disable_current_modes")
list_function_modes: Any = find("overrides._get_current_function_mode_stack") or list
peek_transform: Any = find("_C._functorch.peek_interpreter_stack") or (lambda: None)
leave_transforms: Any = find("_functorch.pyfunctorch.temporarily_clear_interpreter_stack")
jit_tracing: Any = find("_C._get_tracing_state"), find("_C._set_tracing_state")
mode_notes: dict[str, Any] = getattr(find("utils._python_dispatch"), "__dict__", {})
top_saved_hooks: Any = find("_C._autograd._top_saved_tensors_default_hooks") or (lambda _: None)
pop_saved_hooks: Any = find("_C._autograd._pop_saved_tensors_default_hooks")


# The compiler.


def find_module(name: str) -> Any:
    """A module of torch's compiler, imported; `None` where there is none of that name."""
    try:
        return import_module(f"torch.{name}")
    except ImportError:
        return None


def require_module(name: str) -> Any:
    """The same, or `MissingName`."""
    if (found := find_module(name)) is None:
        raise MissingName(name, "tell the kernels of compiled code apart")
    return found


def require_part(module: str, name: str) -> Any:
    """Something in a module of torch's compiler, or `MissingName`."""
    if (found := getattr(require_module(module), name, None)) is None:
        raise MissingName(f"{module}.{name}", "tell the kernels of compiled code apart")
    return found


def unwrap_compiled(module: nn.Module) -> nn.Module | None:
    """What `torch.compile` wrapped, asked without an import of the compiler; `None`: it wrapped nothing."""
    return module._modules.get("_orig_mod") if type(module).__name__ == "OptimizedModule" else None


def unwrap_compiled_function(function: Any) -> Any:
    """What `torch.compile` made a function of; `None`: it made none."""
    return getattr(function, "_torchdynamo_orig_callable", None)


SKIP_TABLES = ("add", "SKIP_DIRS", "SKIP_DIRS_RE")
"""Of `_dynamo.trace_rules`: what adds a package that the compiler passes over, and where it is then written."""

STANCE = "_stance"
"""Of `_dynamo.eval_frame`: what the compiler does now; `torch.compiler.set_stance` sets it and does not tell it."""


# Measuring.

RecordFunction: Any = find("_C._profiler._RecordFunctionFast") or torch.profiler.record_function
"""A range in the profiler's trace: by torch's fast class (0.6 us), or by the public one (4.7 us)."""


def is_profiling() -> bool:
    """Whether a profiler runs; where torch does not tell, its own error will."""
    asked = find("_C._autograd._profiler_enabled")
    return bool(asked and asked())


def start_allocation_profiler() -> Callable[[], Any]:
    """Start the profiler without Kineto, which keeps events in their order and writes nothing on the terminal.

    Returns:
        What ends it and returns the events of each thread.

    Raises:
        MissingName: torch has it no longer.
    """
    purpose = "measure memory on the CPU"
    names = ("ProfilerConfig", "ProfilerState", "_ExperimentalConfig")
    config, state, experimental = (require(f"_C._profiler.{name}", purpose) for name in names)
    start, stop = (require(f"_C._autograd.{name}_profiler_legacy", purpose) for name in ("_enable", "_disable"))
    start(config(state.CPU, False, True, False, False, False, experimental()))
    ended: Callable[[], Any] = stop
    return ended


def keep_gpu_busy(cycles: int) -> None:
    """Give the GPU a kernel that waits for so many of its cycles."""
    require("cuda._sleep", "time kernels on a GPU")(cycles)


# Nested containers.


def tree_map_tensors(change: Callable[[torch.Tensor], Any], tree: Any) -> Any:
    """Nested containers with every tensor changed."""
    return require("utils._pytree.tree_map_only", "walk nested inputs")(torch.Tensor, change, tree)


def tree_leaves(tree: Any) -> list[Any]:
    """What nested containers hold."""
    leaves: list[Any] = require("utils._pytree.tree_leaves", "walk nested outputs")(tree)
    return leaves


# Optimizers.

OPTIMIZER_DEVICES = [f"_get_{kind}_supported_devices" for kind in ("foreach_kernels", "fused_kernels", "capturable")]
"""Functions of torch.optim that list devices: with kernels for many tensors at once, or with steps to be captured."""

COMPILER_ENTRY = "__dynamo_disable"
"""What a method of an optimizer keeps that torch calls in its place; without it, torch imports its compiler first."""
