"""Every private name of torch is taken away in turn. The profile is then right all the same, or a clear error comes.

Right is counted by hand: a linear layer 4 -> 4 over 6 rows, twice, is 96 MACs each, and backwards 96 for its weight and
96 for its input where that needs a gradient; attention is 2 x 2 products of 3 x 3 x 4, and backwards five in the place
of two; an LSTM 4 -> 4 takes 6 x 4 x 4 x (4 + 4), and twice that backwards.
"""

from __future__ import annotations

import ast
import json
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from tracing.odd import ODD

import archprof
from archprof.torchside import private

FORWARD = [["", 0, 144, None], ["line", 0, 96, None], ["head", 0, 96, None], ["lstm", 0, 768, None]]
ASKING = [["", 0, 0, None], ["line", 0, 192, None], ["head", 0, 192, None], ["lstm", 0, 768 + 2 * 768, None]]
"""With the gradients of the weights of the LSTM and of the line, which the forward asks for."""

TRAINING = [["", 0, 144, 288], ["line", 0, 96, 96], ["head", 0, 96, 192], ["lstm", 0, 768, 1536]]

WITH_A_WAY_OUT = [
    "entry",
    "nn.Module._call_impl",
    "autograd.graph._engine_run_backward",
    "Tensor._is_view",
    "UntypedStorage._cdata",
    "utils._python_dispatch",
    "utils._python_dispatch._get_current_dispatch_mode_stack",
    "utils._python_dispatch._disable_current_modes",
    "overrides._get_current_function_mode_stack",
    "_C._functorch.peek_interpreter_stack",
    "_functorch.pyfunctorch.temporarily_clear_interpreter_stack",
    "_C._get_tracing_state",
    "_C._set_tracing_state",
    "_nested_tensor_from_mask_left_aligned",
    "_C.DisableTorchFunction",
    "_C._dispatch_library",
    "_C._DisableTorchDispatch",
    "_C._autograd._pop_saved_tensors_default_hooks",
    "_C._autograd._top_saved_tensors_default_hooks",
    "_C._len_torch_dispatch_stack",
    "_C._len_torch_function_stack",
    "_C._pop_torch_dispatch_stack",
    "_C._pop_torch_function_stack",
    "_C._push_on_torch_function_stack",
    "_C._set_grad_enabled",
    "_C._will_engine_execute_node",
    "_C._profiler._RecordFunctionFast",
]
INDISPENSABLE = [
    "_C._functorch.maybe_current_level",
    "autograd.forward_ad._current_level",
    "ops.aten.add.Tensor._schema",
    "utils._python_dispatch.TorchDispatchMode",
]
FOR_BACKWARD = [
    "_C._autograd._get_sequence_nr",
    "_C._current_autograd_node",
    "autograd.graph.Node._sequence_nr",
]
FOR_MEMORY = [
    "_C._autograd._disable_profiler_legacy",
    "_C._autograd._enable_profiler_legacy",
    "_C._profiler.ProfilerConfig",
    "_C._profiler.ProfilerState",
    "_C._profiler._ExperimentalConfig",
]
FOR_AUTOCAST = [
    "_C.DispatchKey.AutocastIPU",
    "_C.DispatchKeySet",
    "_C._ExcludeDispatchKeyGuard",
    "_C._dispatch_tls_set_dispatch_key_excluded",
    "_C._dispatch_tls_set_dispatch_key_included",
]
FOR_COMPILED_CODE = ["_dynamo.trace_rules", "_dynamo.eval_frame"]
OF_ITS_OWN = ["_C._autograd._profiler_enabled"]
"""A question that is answered with "no" where it cannot be asked."""


Asked = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def run_without() -> Iterator[Asked]:
    """What a profile of the forward gives where torch has not these names, then one in training, and so on."""
    script = Path(__file__).with_name("hidden.py")
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout

        def run(*names: str) -> list[Any]:
            print(*names, file=server.stdin, flush=True)
            found: list[Any] = json.loads(server.stdout.readline())
            return found

        yield run
        server.stdin.close()


def test_nothing_is_taken_away(run_without: Asked) -> None:
    *profiles, looked_for = run_without("compiling", "measuring", "casting")
    rows = [profile["rows"] for profile in profiles]
    assert rows == [FORWARD, TRAINING, FORWARD, FORWARD, FORWARD]
    assert all(profile["complete"] for profile in profiles)
    tried = {
        *WITH_A_WAY_OUT,
        *INDISPENSABLE,
        *FOR_BACKWARD,
        *FOR_MEMORY,
        *FOR_COMPILED_CODE,
        *FOR_AUTOCAST,
        *OF_ITS_OWN,
    }
    assert set(looked_for) == tried - {"entry"}, "a name that this file does not take away"


@pytest.mark.parametrize("name", WITH_A_WAY_OUT)
def test_there_is_a_way_out(run_without: Asked, name: str) -> None:
    forward, training, _ = run_without(name)
    assert (forward["rows"], forward["complete"]) == (FORWARD, True)
    assert (training["rows"], training["complete"]) == (TRAINING, True)


@pytest.mark.parametrize("name", ["nothing", "_C._set_grad_enabled", "_C._will_engine_execute_node"])
def test_a_forward_that_asks_for_gradients(run_without: Asked, name: str) -> None:
    *_, asking, _ = run_without("asking", name)
    assert (asking["rows"], asking["complete"]) == (ASKING, True)


def is_refused(said: Any, name: str) -> bool:
    return said.get("error") == "MissingName" and f"torch {torch.__version__} has no torch.{name}," in said["said"]


@pytest.mark.parametrize("name", INDISPENSABLE)
def test_nothing_goes_without(run_without: Asked, name: str) -> None:
    said, _ = run_without(name)
    assert is_refused(said, name)


@pytest.mark.parametrize("name", FOR_AUTOCAST)
def test_no_autocast_goes_without(run_without: Asked, name: str) -> None:
    forward, training, casting, _ = run_without("casting", name)
    assert (forward["rows"], training["rows"]) == (FORWARD, TRAINING)
    assert is_refused(casting, name)


@pytest.mark.parametrize("name", FOR_BACKWARD)
def test_no_backward_pass_goes_without(run_without: Asked, name: str) -> None:
    forward, training, _ = run_without(name)
    assert (forward["rows"], forward["complete"]) == (FORWARD, True)
    assert is_refused(training, name)


@pytest.mark.parametrize("name", FOR_MEMORY)
def test_latency_goes_without(run_without: Asked, name: str) -> None:
    *_, measured, _ = run_without("measuring", name)
    assert measured["rows"] == FORWARD
    assert any(f"no torch.{name}," in note for note in measured["notes"])


@pytest.mark.parametrize("name", FOR_COMPILED_CODE)
def test_a_compiled_function_goes_without(run_without: Asked, name: str) -> None:
    *_, compiled, _ = run_without("compiling", name)
    assert (compiled["rows"], compiled["complete"]) == (FORWARD, True)


def test_what_compiled_code_is_told_apart_by() -> None:
    with pytest.raises(private.MissingName, match=r"_inductor.compile_fx.no_such_thing"):
        private.require_part("_inductor.compile_fx", "no_such_thing")
    with pytest.raises(private.MissingName, match=r"no torch._inductor.no_such_module"):
        private.require_module("_inductor.no_such_module")


def test_modules_that_keep_their_parameters_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "MODULE_TABLES", ("_weights",))
    with pytest.raises(private.MissingName, match=r"nn.Module\(\)._weights"):
        private.check_module_tables()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD)
def test_hooks_see_what_the_entry_sees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "__call__", nn.Module._call_impl)
    case = ODD[name]
    profile = archprof.profile(case.make(), case.inputs)
    assert (profile.totals.macs, profile.totals.params, profile.totals.complete) == (
        case.macs, case.params, case.complete,
    )  # fmt: skip


class Catches(nn.Module):
    """Two calls of one layer: the first fails, which the model expects."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            self.inner(x[:, :2])
        except RuntimeError:
            x = self.inner(x)
        return self.last(x)


def test_hooks_know_a_call_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    by_entry = archprof.profile(Catches(), torch.zeros(3, 4))
    monkeypatch.setattr(nn.Module, "__call__", nn.Module._call_impl)
    by_hooks = archprof.profile(Catches(), torch.zeros(3, 4))
    assert by_hooks.layers == by_entry.layers
    rows = [(layer.path, layer.call, cost.macs) for layer, cost in zip(by_hooks.layers, by_hooks.costs, strict=True)]
    assert rows == [
        ("", 0, 0), ("inner", 0, 0), ("inner.0", 0, 0), ("inner", 1, 0), ("inner.0", 1, 48), ("last", 0, 24),
    ]  # fmt: skip


class Looks(nn.Module):
    """Notes what torch's compiler passes over while it runs."""

    seen: ClassVar[queue.SimpleQueue[list[str]]] = queue.SimpleQueue()  # which a pass does not put back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch._dynamo import trace_rules

        self.seen.put(list(trace_rules.SKIP_DIRS))
        return x + 1


def test_the_compiler_passes_over_archprof_for_the_length_of_a_pass() -> None:
    from torch._dynamo import trace_rules

    before = list(trace_rules.SKIP_DIRS), trace_rules.SKIP_DIRS_RE
    archprof.profile(Looks(), torch.zeros(2))
    package = str(Path(archprof.__file__).parent)
    assert any(path.startswith(package) for path in Looks.seen.get_nowait())
    assert before == (trace_rules.SKIP_DIRS, trace_rules.SKIP_DIRS_RE)


PUBLIC_HABITS = {"_parameters", "_buffers", "_modules", "_forward_pre_hooks", "_forward_hooks"}
"""Tables of a module, which `check_module_tables` looks for."""

OTHERS = {
    "_replace",
    "_field_defaults",
    "_fields",
    "_make",
    "_asdict",
    "_exit",
    "_getframe",
    "_current_frames",
    "_archprof_",
}
"""Of Python, and of ours."""


def test_private_names_stand_in_one_file() -> None:
    files = [file for file in Path(archprof.__file__).parent.rglob("*.py") if file.name != "private.py"]
    trees = {file: ast.parse(file.read_text()) for file in files}
    ours = {name for tree in trees.values() for name in defined_names(tree)}
    strange = {
        f"{file.name}: {name}"
        for file, tree in trees.items()
        for name in used_private_names(tree)
        if name not in ours | PUBLIC_HABITS | OTHERS
    }
    assert not strange


def defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def used_private_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (name for name in names if name.startswith("_"))
