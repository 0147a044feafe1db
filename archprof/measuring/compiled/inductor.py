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

from archprof.facts.records import Phase, Profile
from archprof.measuring.boundaries import Marking, Rows
from archprof.measuring.compiled import kernel_border
from archprof.measuring.compiled.kernel_shares import FusedRows, Piece
from archprof.measuring.compiled.lowered_graph import Buffer, Kernel, Owners, ran
from archprof.measuring.live_model import Subject
from archprof.measuring.protocols import UNATTRIBUTED, Row, Unmeasurable

HOOK = "set_kernel_post_grad_provenance_tracing"
"""What inductor calls with the parts of each kernel, just before it writes the call of that kernel."""

IMPORT = "from archprof.measuring.compiled import kernel_border as archprof_border"
LINE = "archprof_border.passed({number})"

NO_CACHES = {"fx_graph_cache": False, "fx_graph_remote_cache": False}

COMPILED_NOTE = (
    "A compiled model runs fused code that knows no modules: only the whole is timed, and no layer has a latency. "
    "The time could not be attributed to layers either: {reason}."
)

NOTHING_WRITTEN = "torch wrote no code in which kernels could be told apart"
NOTHING_KNOWN = "no kernel could be led back to a layer"


def marking(subject: Subject, profile: Profile) -> tuple[Marking | None, list[str]]:
    """How the passes of a subject can be marked, and what to say of that; `None` where they cannot be."""
    if not subject.compiled:
        return Rows(profile), []
    try:
        rows = fused_rows(subject, profile)
    except Unmeasurable as error:
        return None, [COMPILED_NOTE.format(reason=error)]
    return rows, rows.notes


def fused_rows(subject: Subject, profile: Profile) -> FusedRows:
    """Compile a subject once more and run it twice.

    It must become one graph: of parts, torch tells neither which module they begin in nor how often that was called.

    Raises:
        Unmeasurable: this torch does not tell what is needed, or not for this model.
    """
    marked = copy.copy(subject)
    try:
        compiler = _Compiler(subject.model, profile)
        marked.call = torch.compile(subject.model, backend=compiler.backend, fullgraph=True)
        marked.run()
        heard: Counter[int] = Counter()
        with kernel_border.heard(lambda number: heard.update([number])):
            marked.run()
    except Exception as error:  # of any kind: it is private code of torch that was asked
        raise Unmeasurable(_first_words(error)) from error
    if not set(heard) - {kernel_border.END}:
        raise Unmeasurable(NOTHING_WRITTEN)
    rows = FusedRows(profile, compiler.pieces(heard), marked)
    if not rows.known:
        raise Unmeasurable(NOTHING_KNOWN)
    return rows


def _first_words(error: Exception) -> str:
    """Its kind and the first line that says something: dynamo puts "backend raised:" before what a backend says."""
    lines = (line.rstrip(".") for line in str(error).splitlines() if line.strip() and not line.endswith(":"))
    return f"{type(error).__name__}: {next(lines, 'without a word')}"


class _Compiler:
    """A backend for `torch.compile`: inductor, and a border before each kernel that it writes."""

    def __init__(self, model: torch.nn.Module, profile: Profile) -> None:
        self._owners = Owners(model, profile)
        self._pieces: list[Piece] = []

    def pieces(self, heard: Mapping[int, int]) -> list[Piece]:
        """The kernels by number. One that ran twice in a pass may have worked for two calls, so that nobody owns it."""
        nobody = {UNATTRIBUTED: 0}
        return [
            piece if heard.get(number, 0) <= 1 else piece._replace(moved=nobody)
            for number, piece in enumerate(self._pieces)
        ]

    def backend(self, graph: GraphModule, inputs: Sequence[Any]) -> Any:
        from torch._inductor.compile_fx import compile_fx  # by now it is imported

        return compile_fx(graph, inputs, inner_compile=self._compile, config_patches=NO_CACHES)

    def _compile(self, graph: GraphModule, inputs: Sequence[Any], **options: Any) -> Any:
        """What compiles each graph: the forward one at once, the backward one when it is first needed."""
        from torch._inductor.compile_fx import compile_fx_inner

        kernels: list[Kernel] = []
        with _hooked(partial(self._begins, kernels)):
            code: Any = compile_fx_inner(graph, inputs, **options)
        self._pieces += self._pieces_of(kernels, "backward" if options.get("is_backward") else "forward")
        code.current_callable = _ending(code.current_callable)
        return code

    def _pieces_of(self, kernels: Sequence[Kernel], phase: Phase) -> list[Piece]:
        exact = {buffer.exact for kernel in kernels for buffer in kernel.buffers if buffer.exact is not None}
        found = []
        for kernel in kernels:
            moved: Counter[Row] = Counter()
            for node, nbytes in ran(kernel, exact).items():
                moved[self._owners.row(node)] += nbytes
            found.append(Piece(kernel.name, phase, moved or {UNATTRIBUTED: 0}))
        return found

    def _begins(self, kernels: list[Kernel], schedule: Any, name: str, library: bool) -> None:
        """A call of a kernel will be written next."""
        from torch._inductor.virtualized import V

        if V.graph.cpp_wrapper:
            return  # what is written is not Python
        wrapper: Any = V.graph.wrapper_code
        wrapper.add_import_once(IMPORT)
        wrapper.writeline(LINE.format(number=len(self._pieces) + len(kernels)))
        parts = [schedule] if library else [part.node for one in schedule for part in _parts(one)]
        kernels.append(Kernel(name, library, [_buffer(part) for part in parts if part is not None]))


@contextmanager
def _hooked(begins: Callable[[Any, str, bool], None]) -> Iterator[None]:
    """Call `begins` wherever inductor calls its own hook."""
    with ExitStack() as stack:
        for module in _users_of_hook():
            original = getattr(module, HOOK)

            def hook(schedule: Any, name: str, is_extern: bool = False, original: Any = original) -> Any:
                begins(schedule, name, is_extern)
                return original(schedule, name, is_extern)

            setattr(module, HOOK, hook)
            stack.callback(setattr, module, HOOK, original)
        yield


def _users_of_hook() -> list[ModuleType]:
    from torch._inductor import debug
    from torch._inductor.codegen import cpp, triton

    return [debug, cpp, triton]


def _ending(run: Callable[..., Any]) -> Callable[..., Any]:
    def ended(inputs: Any) -> Any:
        outputs = run(inputs)
        kernel_border.passed(kernel_border.END)
        return outputs

    return ended


def _parts(scheduled: Any) -> Sequence[Any]:
    """What a line of a schedule holds; the borders of loops among them hold nothing."""
    return scheduled.get_nodes() if hasattr(scheduled, "get_nodes") else ()


def _buffer(part: Any) -> Buffer:
    return Buffer(part.origin_node, list(part.origins), _size(part))


def _size(part: Any) -> int:
    """Bytes of a result; 0 where it is several, or of a size that is not fixed."""
    try:
        return int(part.get_numel()) * int(part.get_dtype().itemsize)
    except Exception:  # several results have no size of their own, and torch says so in many ways
        return 0
