"""Compiled code that tells where its kernels begin, by torch's inductor, and whose ops each kernel holds.

The model is compiled a second time, with everything as the user has set it but for a line before the call of each
kernel. The kernels are the same, byte by byte; this code is never put into torch's caches of compiled graphs, so that
nobody gets it who did not ask for it. What is used of torch is private: where it is not as expected, this raises.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch.fx import GraphModule

from archprof.facts.overlays import Outside
from archprof.facts.records import Phase, Profile
from archprof.measuring.boundaries import Marking, ModuleMarking
from archprof.measuring.compiled import kernel_border
from archprof.measuring.compiled.kernel_shares import KernelMarking, KernelWork
from archprof.measuring.compiled.lowered_graph import KernelResult, LoweredKernel, OpOwners, find_ops_run
from archprof.measuring.live_model import LiveModel
from archprof.measuring.protocols import RowKey, Unmeasurable
from archprof.torchside.private import require_module, require_part

PROVENANCE_HOOK = "set_kernel_post_grad_provenance_tracing"
"""What inductor calls with the parts of each kernel, just before it writes the call of that kernel."""

BORDER_IMPORT = "from archprof.measuring.compiled import kernel_border as archprof_border"
BORDER_LINE = "archprof_border.kernel_begins({number})"

NO_CACHES = {"fx_graph_cache": False, "fx_graph_remote_cache": False}

COMPILED_NOTE = (
    "A compiled model runs fused code that knows no modules: only the whole is timed, and no layer has a latency. "
    "The time could not be attributed to layers either: {reason}."
)

NO_KERNELS_WRITTEN = "torch wrote no code in which kernels could be told apart"
NO_KERNELS_KNOWN = "no kernel could be led back to a layer"


def choose_marking(subject: LiveModel, profile: Profile) -> tuple[Marking | None, list[str]]:
    """How the passes of a subject can be marked, and what to say of that; `None` where they cannot be."""
    if not subject.compiled:
        return ModuleMarking(profile), []
    try:
        rows = compile_marked(subject, profile)
    except Unmeasurable as error:
        return None, [COMPILED_NOTE.format(reason=error)]
    return rows, rows.notes


def compile_marked(subject: LiveModel, profile: Profile) -> KernelMarking:
    """Compile a subject once more and run it twice.

    It must become one graph: of parts, torch tells neither which module they begin in nor how often that was called.

    Raises:
        Unmeasurable: this torch does not tell what is needed, or not for this model.
    """
    marked = copy.copy(subject)
    try:
        compiler = _Compiler(subject.model, profile)
        marked.callable_model = torch.compile(subject.model, backend=compiler.backend, fullgraph=True)
        marked.run_pass()
        heard: Counter[int] = Counter()
        with kernel_border.listening(lambda number: heard.update([number])):
            marked.run_pass()
    except Exception as error:  # of any kind: it is private code of torch that was asked
        raise Unmeasurable(_first_words(error)) from error
    if not set(heard) - {kernel_border.GRAPH_END}:
        raise Unmeasurable(NO_KERNELS_WRITTEN)
    rows = KernelMarking(profile, compiler.list_pieces(heard), marked)
    if not rows.knows_rows:
        raise Unmeasurable(NO_KERNELS_KNOWN)
    return rows


def _first_words(error: Exception) -> str:
    """Its kind and the first line that says something: dynamo puts "backend raised:" before what a backend says."""
    lines = (line.rstrip(".") for line in str(error).splitlines() if line.strip() and not line.endswith(":"))
    return f"{type(error).__name__}: {next(lines, 'without a word')}"


class _Compiler:
    """A backend for `torch.compile`: inductor, and a border before each kernel that it writes."""

    def __init__(self, model: torch.nn.Module, profile: Profile) -> None:
        self._op_owners = OpOwners(model, profile)
        self._pieces: list[KernelWork] = []

    def list_pieces(self, heard: Mapping[int, int]) -> list[KernelWork]:
        """The kernels by number. One that ran twice in a pass may have worked for two calls, so that nobody owns it."""
        nobody: dict[RowKey, int] = {Outside.UNATTRIBUTED: 0}
        return [
            piece if heard.get(number, 0) <= 1 else piece._replace(moved_by_row=nobody)
            for number, piece in enumerate(self._pieces)
        ]

    def backend(self, graph: GraphModule, inputs: Sequence[Any]) -> Any:
        compile_fx = require_part("_inductor.compile_fx", "compile_fx")
        return compile_fx(graph, inputs, inner_compile=self._compile, config_patches=NO_CACHES)

    def _compile(self, graph: GraphModule, inputs: Sequence[Any], **options: Any) -> Any:
        """What compiles each graph: the forward one at once, the backward one when it is first needed."""
        compile_fx_inner = require_part("_inductor.compile_fx", "compile_fx_inner")
        kernels: list[LoweredKernel] = []
        with _hook_inductor(partial(self._note_kernel, kernels)):
            code: Any = compile_fx_inner(graph, inputs, **options)
        self._pieces += self._make_pieces(kernels, "backward" if options.get("is_backward") else "forward")
        code.current_callable = _tell_end(code.current_callable)
        return code

    def _make_pieces(self, kernels: Sequence[LoweredKernel], phase: Phase) -> list[KernelWork]:
        exact = {buffer.exact_op for kernel in kernels for buffer in kernel.results if buffer.exact_op is not None}
        found = []
        for kernel in kernels:
            moved: Counter[RowKey] = Counter()
            for node, nbytes in find_ops_run(kernel, exact).items():
                moved[self._op_owners.find_row(node)] += nbytes
            found.append(KernelWork(kernel.name, phase, moved or {Outside.UNATTRIBUTED: 0}))
        return found

    def _note_kernel(self, kernels: list[LoweredKernel], schedule: Any, name: str, library: bool) -> None:
        """A call of a kernel will be written next."""
        graph = require_part("_inductor.virtualized", "V").graph
        if graph.cpp_wrapper:
            return  # what is written is not Python
        wrapper = graph.wrapper_code
        wrapper.add_import_once(BORDER_IMPORT)
        wrapper.writeline(BORDER_LINE.format(number=len(self._pieces) + len(kernels)))
        parts = [schedule] if library else [part.node for one in schedule for part in _schedule_parts(one)]
        kernels.append(LoweredKernel(name, library, [_make_buffer(part) for part in parts if part is not None]))


@contextmanager
def _hook_inductor(begins: Callable[[Any, str, bool], None]) -> Iterator[None]:
    """Call `begins` wherever inductor calls its own hook."""
    with ExitStack() as stack:
        for module in _users_of_hook():
            original = getattr(module, PROVENANCE_HOOK)

            def hook(schedule: Any, name: str, is_extern: bool = False, original: Any = original) -> Any:
                begins(schedule, name, is_extern)
                return original(schedule, name, is_extern)

            setattr(module, PROVENANCE_HOOK, hook)
            stack.callback(setattr, module, PROVENANCE_HOOK, original)
        yield


def _users_of_hook() -> list[ModuleType]:
    return [require_module(f"_inductor.{name}") for name in ("debug", "codegen.cpp", "codegen.triton")]


def _tell_end(run: Callable[..., Any]) -> Callable[..., Any]:
    def ended(inputs: Any) -> Any:
        outputs = run(inputs)
        kernel_border.kernel_begins(kernel_border.GRAPH_END)
        return outputs

    return ended


def _schedule_parts(scheduled: Any) -> Sequence[Any]:
    """What a line of a schedule holds; the borders of loops among them hold nothing."""
    return scheduled.get_nodes() if hasattr(scheduled, "get_nodes") else ()


def _make_buffer(part: Any) -> KernelResult:
    return KernelResult(part.origin_node, list(part.origins), _count_bytes(part))


def _count_bytes(part: Any) -> int:
    """Bytes of a result; 0 where it is several, or of a size that is not fixed."""
    try:
        return int(part.get_numel()) * int(part.get_dtype().itemsize)
    except Exception:  # several results have no size of their own, and torch says so in many ways
        return 0
