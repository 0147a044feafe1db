"""Programs saved by `torch.export`: the module calls that they were, run op by op from the archive's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import torch
from torch import nn

from archprof.errors import UsageError
from archprof.sources.exported.archive import (
    MALFORMED_FILE_ERRORS,
    ProgramTensor,
    Pt2Archive,
    read_tensor_meta,
)
from archprof.sources.exported.ops import (
    ValueLookup,
    bind_results,
    find_value_names,
    make_refusal_error,
    run_op,
)
from archprof.sources.exported.run_limits import RUN_LIMITS
from archprof.sources.input_spec import InputSpec
from archprof.sources.inputs import Inputs
from archprof.torchside.tensors import dtype_name, tensors_in


def load_program(path: str, *, values: bool = False) -> nn.Module:
    """The module tree of a `.pt2` file, whose forward runs the program.

    Args:
        path: of the file.
        values: with the weights' values; otherwise they are on meta and are not read.

    Raises:
        UsageError: there is no such file.
        ArchprofError: it is no exported program, or has ops that are not run from a file.
    """
    archive = Pt2Archive(path)
    try:
        return _ProgramBuilder(archive, values).build_root()
    except MALFORMED_FILE_ERRORS as error:
        raise archive.make_unreadable_error(error) from error


def default_inputs(model: nn.Module, batch: int) -> Inputs:
    """The inputs that the program was exported with, in shape; a batch other than 1 replaces a dynamic first size."""
    assert isinstance(model, _ProgramRoot)
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    found = []
    for name, known in model._exported_inputs:
        shape = known.shape
        if batch != 1 and shape:
            if not known.dynamic[0]:
                raise UsageError(f"{name} was exported for a first size of {shape[0]}; no batch can be set.")
            shape = (batch, *shape[1:])
        found.append(InputSpec(shape, None if known.dtype == own else dtype_name(known.dtype)))
    return Inputs(tuple(found), {})


class _ProgramModule(nn.Module):
    """A module of the program: its tensors, and no code but that of the body it is called with."""

    _exported_constants: dict[str, torch.Tensor]  # a name that no module below will have

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_exported_constants"] = {}

    def forward(self, body: _CallBody, *values: Any) -> Any:
        found = body.run(dict(zip(body.inputs, values, strict=True)))
        return found[0] if len(found) == 1 else found


class _ProgramRoot(_ProgramModule):
    """The whole: takes the tensors of the exported signature, in order or by name."""

    _exported_body: _CallBody
    _exported_inputs: list[tuple[str, ProgramTensor]]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        names = [name for name, _ in self._exported_inputs]
        named = {name: kwargs.pop(name) for name in names if name in kwargs}
        rest = tensors_in(args)
        if kwargs or len(rest) + len(named) != len(names):
            got = f"{len(rest) + len(named)} of them" if not kwargs else ", ".join(kwargs)
            raise ValueError(f"the inputs of the exported program are {', '.join(names)}; given: {got}")
        values = [named.pop(name) if name in named else rest.pop(0) for name in names]
        for (name, known), value in zip(self._exported_inputs, values, strict=True):
            _check_input(name, known, value)
        RUN_LIMITS.begin()
        return super().forward(self._exported_body, *values)


def _check_input(name: str, known: Any, value: Any) -> None:
    """An input must be one that the program was exported for."""
    fits = isinstance(value, torch.Tensor) and value.dim() == len(known.shape)
    sizes = zip(value.shape, known.shape, known.dynamic, strict=True) if fits else ()
    if not fits or any(size != exported and not dynamic for size, exported, dynamic in sizes):
        wanted = ",".join("any" if free else str(size) for size, free in zip(known.shape, known.dynamic, strict=True))
        got = f"[{','.join(map(str, value.shape))}]" if isinstance(value, torch.Tensor) else "no tensor"
        raise ValueError(f"input {name} was exported as [{wanted}] and is given {got}")


class _CallBody:
    """What one module call does: ops and calls in order, on values by name."""

    def __init__(self, tensors: dict[str, tuple[nn.Module, str]]) -> None:
        self.tensors = tensors
        self.steps: list[tuple[Any, list[str]]] = []  # an op's JSON or a call, and the values last used by it
        self.inputs: list[str] = []
        self.outputs: list[str] = []

    def run(self, values: dict[str, Any]) -> tuple[Any, ...]:
        for step, done in self.steps:
            if isinstance(step, _SubmoduleCall):
                step.run(values)
            else:
                bind_results(step["outputs"], run_op(step, ValueLookup(values, self.tensors)), values)
            for name in done:
                values.pop(name, None)
        lookup = ValueLookup(values, self.tensors)
        return tuple(lookup[name] for name in self.outputs)


class _SubmoduleCall:
    """A call of a module below."""

    def __init__(self, module: nn.Module, body: _CallBody) -> None:
        self.module, self.body = module, body

    def run(self, values: dict[str, Any]) -> None:
        found = self.module(self.body, *(values[name] for name in self.body.inputs))
        many = found if len(self.body.outputs) != 1 else (found,)
        values.update(zip(self.body.outputs, many, strict=True))


class _ProgramBuilder:
    """Makes the module tree and the bodies of its calls."""

    def __init__(self, archive: Pt2Archive, values: bool) -> None:
        self.archive, self.values = archive, values
        self.graph = archive.program["graph"]
        self.modules: dict[str, nn.Module] = {}
        self.tensors: dict[str, tuple[nn.Module, str]] = {}
        self.tensor_by_storage: dict[Any, torch.Tensor] = {}  # by where and how they are stored: tied ones are one

    def build_root(self) -> nn.Module:
        nodes = [(node, _read_module_stack(node)) for node in self.graph["nodes"]]
        kinds = {path: kind for _, stack in nodes for _, path, kind in stack}
        root: Any = _make_class(kinds.get("", "Program"), _ProgramRoot)()
        self.modules[""] = root
        for path, kind in kinds.items():
            self.get_module(path, kind)
        given = [
            each for spec in self.archive.program["signature"]["input_specs"] for each in self.register_input(spec)
        ]
        outputs = [name for name in find_value_names(self.graph["outputs"]) if name not in self.tensors]
        body = self.build_body(nodes, 1, set(outputs))
        body.inputs, body.outputs = [name for name, _ in given], self.list_output_names()
        root.__dict__.update(_exported_body=body, _exported_inputs=given)
        return root  # type: ignore[no-any-return]

    def list_output_names(self) -> list[str]:
        """The values that the user gets, and not those written back to buffers."""
        specs = self.archive.program["signature"]["output_specs"]
        return [
            name for spec in specs if "user_output" in spec for name in find_value_names(spec["user_output"]["arg"])
        ]

    def get_module(self, path: str, kind: str = "Module") -> Any:
        """The module at a path; what is on the way to it and was never called is a plain container."""
        if path not in self.modules:
            before, _, name = path.rpartition(".")
            self.modules[path] = _make_class(kind, _ProgramModule)()
            self.get_module(before)._modules[name] = self.modules[path]
        return self.modules[path]

    def register_input(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Register a tensor of the model, or give the name and facts of one that the user gives."""
        ((kind, held),) = spec.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            self.register_tensor(kind, held["arg"]["name"], held[f"{kind}_name"])
        elif kind == "user_input" and "as_tensor" in held["arg"]:
            name = held["arg"]["as_tensor"]["name"]
            yield name, read_tensor_meta(self.graph["tensor_values"][name])
        elif kind != "constant_input" and any(find_value_names(held["arg"])):
            raise make_refusal_error(f"an input of the kind {kind}")

    def register_tensor(self, kind: str, name: str, full_name: str) -> None:
        path, _, attribute = full_name.rpartition(".")
        holder = self.get_module(path)
        stored = self.archive.stored_tensors[full_name]
        same = (stored.payload_path, stored.shape, stored.strides, stored.offset)
        tied = stored.payload_path is not None and same in self.tensor_by_storage
        tensor = self.tensor_by_storage[same] if tied else self.archive.load_tensor(full_name, values=self.values)
        if kind == "parameter" and not isinstance(tensor, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=stored.trainable)
        self.tensor_by_storage[same] = tensor
        tables = {"parameter": holder._parameters, "buffer": holder._buffers}
        tables.get(kind, holder._exported_constants)[attribute] = tensor
        self.tensors[name] = (holder, attribute)

    def build_body(self, nodes: list[tuple[Any, Any]], depth: int, wanted: set[str]) -> _CallBody:
        """The body of a call from its ops; `wanted` are the values that somebody uses after it."""
        body = _CallBody(self.tensors)
        groups = [list(group) for _, group in groupby(nodes, lambda pair: _find_call_key(pair, depth))]
        used, later = [], set(wanted)
        for group in reversed(groups):
            reads = {name for node, _ in group for name in find_value_names(node["inputs"])} - set(self.tensors)
            used.append((group, reads, set(later)))
            later |= reads
        for group, reads, after in reversed(used):
            if _find_call_key(group[0], depth) is None:
                self.add_own_ops(body, group, after)
            else:
                body.steps.append((self.build_call(group, depth, reads, after), sorted(reads - after)))
        return body

    def add_own_ops(self, body: _CallBody, group: list[tuple[Any, Any]], after: set[str]) -> None:
        """Ops of the module itself, each with the values that nobody reads after it."""
        later, steps = set(after), []
        for node, _ in reversed(group):
            reads = set(find_value_names(node["inputs"])) - set(self.tensors)
            made = set(find_value_names(node["outputs"]))
            steps.append((node, sorted((reads | made) - later)))
            later |= reads
        body.steps += reversed(steps)

    def build_call(self, group: list[tuple[Any, Any]], depth: int, reads: set[str], after: set[str]) -> _SubmoduleCall:
        made = [name for node, _ in group for name in find_value_names(node["outputs"])]
        outputs = [name for name in made if name in after]
        body = self.build_body(group, depth + 1, set(outputs))
        body.inputs = [name for name in dict.fromkeys(self.list_names_read(group)) if name in reads - set(made)]
        body.outputs = outputs
        path, kind = group[0][1][depth][1:]
        return _SubmoduleCall(self.get_module(path, kind), body)

    @staticmethod
    def list_names_read(group: list[tuple[Any, Any]]) -> Iterator[str]:
        return (name for node, _ in group for name in find_value_names(node["inputs"]))


def _make_class(kind: str, base: type) -> type:
    """A class by the name of the one that the module had, for the rows to show."""
    package, _, name = kind.rpartition(".")
    return type(name, (base,), {"__module__": package or __name__})


def _read_module_stack(node: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The module calls that an op was made in, outermost first: key of the call, path and class of the module."""
    text = (node.get("metadata") or {}).get("nn_module_stack", "")
    entries = (entry.rsplit(",", 2) for entry in text.split(";") if entry.count(",") >= 2)
    calls = [(key, path, kind) for key, path, kind in entries if kind.rpartition(".")[2].isidentifier()]
    return calls if calls and calls[0][1] == "" else []


def _find_call_key(pair: tuple[Any, list[tuple[str, str, str]]], depth: int) -> str | None:
    """Which call below the one at hand an op belongs to; `None`: to itself."""
    return pair[1][depth][0] if len(pair[1]) > depth else None
