"""What the modules of a model are and own, as it was built: also what is never called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import nn

from archprof.facts.modules import find_holder
from archprof.facts.records import Module, Parameter
from archprof.torchside.held_weights import OwnedRole, count_tensor_bytes, has_scales, list_tensors
from archprof.torchside.tensors import LAZY_KINDS
from archprof.tracing.recorder import Recorder

if TYPE_CHECKING:
    from archprof.tracing.calls import CallRow, ModuleNode

OPAQUE_KINDS = (torch.jit.ScriptModule, nn.modules.linear.NonDynamicallyQuantizableLinear)
"""Modules whose calls nobody sees: TorchScript, and the projection whose weights attention takes into its product."""

# What `_make` of each does, without a function of Python in between: they are made by the thousand.
new_parameter: Callable[[Iterable[Any]], Parameter] = partial(tuple.__new__, Parameter)
new_module: Callable[[Iterable[Any]], Module] = partial(tuple.__new__, Module)


class OwnedTensor(NamedTuple):
    """A parameter or buffer: its name in `state_dict`, the number of its first owner and its further names.

    Attributes:
        tensor: of a plain buffer its index alone, since a forward may put another in its place: it then goes.
    """

    name: str
    module: int
    tensor: torch.Tensor | int
    role: OwnedRole
    aliases: tuple[str, ...] = ()


new_owned: Callable[[Iterable[Any]], OwnedTensor] = partial(tuple.__new__, OwnedTensor)


class Inventory:
    """The modules of a pass, by id, and the tensors that they own."""

    def __init__(
        self, model: nn.Module, nodes: Mapping[int, ModuleNode], rows: Sequence[CallRow], recorder: Recorder
    ) -> None:
        self.model, self.nodes, self.rows, self.recorder = model, nodes, rows, recorder
        self.lazy_names: list[str] = []
        self.owned_tensors = self._collect_owned()
        self.parameter_count = self._count_parameters()

    def register_owned(self) -> None:
        """Write down the parameters and buffers, as what is there before the pass."""
        for place, owned in enumerate(self.owned_tensors):
            tensor: Any = owned.tensor
            index = self.recorder.add_tensor(tensor, owned.role)
            if owned.role == "buffer" and not (has_scales(tensor) or tensor.requires_grad):
                self.owned_tensors[place] = owned._replace(tensor=index)

    def register_lazy(self) -> None:
        """After the pass: a lazy parameter had no shape before it, and one that the forward made was not there."""
        if self.lazy_names or self._count_parameters() != self.parameter_count:
            self.owned_tensors = self._collect_owned()
            for owned in self.owned_tensors:
                self.recorder.set_role(cast("torch.Tensor", owned.tensor), owned.role)
        self._register_late()

    def _count_parameters(self) -> int:
        """Places of parameters in the modules that were there before the pass, which hold one."""
        held = [node.module._parameters for node in self.nodes.values() if not node.runs_unwatched]
        return sum([len(places) - sum([one is None for one in places.values()]) for places in held if places])

    def _register_late(self) -> None:
        """Weights that no table held before the pass: of modules that the forward made, and of those in plain lists."""
        late = [*self._list_made_in_forward(), *self._list_used_parameters()]
        known = {id(owned.tensor) for owned in self.owned_tensors} if late else set()
        names = {owned.name for owned in self.owned_tensors} if late else set()
        for owned in late:
            if id(owned.tensor) not in known:
                known.add(id(owned.tensor))
                self.recorder.set_role(cast("torch.Tensor", owned.tensor), owned.role)
                if owned.name not in names:  # what takes the place of another is not one more of the model
                    self.owned_tensors.append(owned)

    def _list_made_in_forward(self) -> Iterator[OwnedTensor]:
        """The tensors of modules that are new, each with the nearest module that was there before."""
        if self.nodes.keys() >= set(map(id, self._list_children())):
            return
        numbers = {node.path: index for index, node in enumerate(self.nodes.values())}
        for path, module in self.model.named_modules():
            if id(module) in self.nodes:
                continue
            holder = find_holder(path, numbers)
            for name, tensor, role in list_tensors(module):
                yield OwnedTensor(f"{path}.{name}", holder or 0, tensor, role)

    def _list_used_parameters(self) -> Iterator[OwnedTensor]:
        """The parameters that ops read and no module has, each with the module that used it first."""
        numbers = {key: index for index, key in enumerate(self.nodes)}
        for place, (tensor, row) in enumerate(self.recorder.find_loose_parameters()):
            node = self.rows[row].node
            name = f"{node.path}.(unregistered {place})".lstrip(".")
            yield OwnedTensor(name, numbers[id(node.module)], tensor, "parameter")

    def find_param_rows(self) -> dict[int, int]:
        """The row of each parameter's first owner, by the parameter's id."""
        first_rows = [node.call_rows[0] if node.call_rows else None for node in self.nodes.values()]
        rows = ((id(owned.tensor), first_rows[owned.module]) for owned in self.owned_tensors)
        return {key: row for key, row in rows if row is not None}

    def _collect_owned(self) -> list[OwnedTensor]:
        """The parameters and buffers of the modules in order, every tensor at its first owner only."""
        seen: dict[int, OwnedTensor] = {}
        self.lazy_names = []
        for index, node in enumerate(self.nodes.values()):
            module, prefix = node.module, f"{node.path}." if node.path else ""
            if node.runs_unwatched and not module._parameters and not module._buffers:
                continue
            for name, tensor, role in list_tensors(module, hidden=not node.runs_unwatched):
                full_name = prefix + name
                if type(tensor) in LAZY_KINDS:
                    self.lazy_names.append(full_name)
                    continue
                known = seen.get(id(tensor))
                if known is None:
                    seen[id(tensor)] = new_owned((full_name, index, tensor, role, ()))
                else:
                    seen[id(tensor)] = known._replace(aliases=(*known.aliases, full_name))
        return list(seen.values())

    def build_modules(self) -> tuple[Module, ...]:
        """The modules of the model as it was built, in order."""
        nodes = self.nodes
        numbers = {node.path: index for index, node in enumerate(nodes.values())}
        kinds = {kind: _name_class(kind) for kind in {type(node.module) for node in nodes.values()}}
        opaque = {kind for kind in kinds if issubclass(kind, OPAQUE_KINDS)}
        aliases, owners = self._aliases, {owned.module for owned in self.owned_tensors}

        def build(key: int, path: str, module: nn.Module) -> Module:
            kind, holder = type(module), numbers.get(path.rpartition(".")[0]) if path else None
            if holder is None:  # some class names its modules as it likes
                holder = find_holder(path, numbers)
            is_bare = bool(module._modules) and not module._parameters and not module._buffers
            is_container = is_bare and numbers[path] not in owners  # it may own what the forward made
            return new_module((path, kinds[kind], holder, tuple(aliases.get(key, ())), is_container, kind in opaque))

        return tuple([build(key, node.path, node.module) for key, node in nodes.items()])

    def _list_children(self) -> list[nn.Module]:
        """What the modules hold now, at every place where they hold it."""
        return [child for node in self.nodes.values() for child in node.module._modules.values() if child is not None]

    @cached_property
    def _aliases(self) -> dict[int, list[str]]:
        """The further places of modules that stand in several after the pass, by the module's id."""
        aliases: dict[int, list[str]] = {}
        held = self._list_children()
        if len(held) == len(set(held)):  # as in most models
            return aliases
        for path, module in self.model.named_modules(remove_duplicate=False):
            known = self.nodes.get(id(module))  # none of a module that the forward made
            if known is not None and path != known.path:
                aliases.setdefault(id(module), []).append(path)
        return aliases

    def build_parameters(self) -> tuple[Parameter, ...]:
        """What the modules own."""
        place, places = self.recorder.find_place, self._aliases
        further = {self.nodes[key].path: paths for key, paths in places.items()}
        return tuple(
            [
                new_parameter((name, module, shared.tensor_spec, requires_grad, role, nbytes, storage, other_names))
                for name, module, tensor, role, aliases in self.owned_tensors
                for shared, storage in (place(tensor),)
                for requires_grad, nbytes in (_describe_data(tensor, shared.nbytes),)
                for other_names in (_name_everywhere(name, aliases, further) if further else aliases,)
            ]
        )


def _describe_data(tensor: torch.Tensor | int, nbytes: int) -> tuple[bool, int]:
    """Whether it has a gradient, and its bytes; `nbytes` by its layout."""
    if isinstance(tensor, int):
        return False, nbytes
    return tensor.requires_grad, count_tensor_bytes(tensor) if has_scales(tensor) else nbytes


def _name_everywhere(name: str, aliases: tuple[str, ...], places: dict[str, list[str]]) -> tuple[str, ...]:
    """The further names of a tensor, also under the further places of the modules that hold it."""
    names = list(aliases)
    for known in (name, *aliases):
        holder, _, leaf = known.rpartition(".")
        names += [f"{place}.{leaf}" if place else leaf for place in places.get(holder, ())]
    return tuple(dict.fromkeys(names))


def _name_class(kind: type) -> str:
    """The name of a class, behind that of its package where torch has another class of that name."""
    known = getattr(nn, kind.__name__, kind)
    same = known is kind or known.__module__ == kind.__module__  # as the class of an exported module
    return kind.__name__ if same else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
