"""What a generated module costs, by means that share nothing with archprof."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fuzz.elsewhere import Elsewhere
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@contextmanager
def run_plainly() -> Iterator[None]:
    """Without the fused path of evaluation, which hides its products; in this thread, which alone is seen."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    Elsewhere.plainly = True
    try:
        yield
    finally:
        Elsewhere.plainly = False
        torch.backends.mha.set_fastpath_enabled(before)


class Formulas(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Torch's formulas, summed over ops: what its own counter does, which hooks modules besides."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        self.flops += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
        return result


def counted_macs(model: nn.Module, inputs: list[torch.Tensor], *, train: bool) -> tuple[int, int]:
    """Forward and backward MACs by torch's formulas, on meta."""
    model = copy.deepcopy(model).to("meta")
    with run_plainly(), torch.set_grad_enabled(train), Formulas() as formulas:
        results = model(*(tensor.to("meta") for tensor in inputs))
        forward = formulas.flops // 2
        roots = [leaf for leaf in pytree.tree_leaves(results) if leaf.requires_grad]
        if roots:
            torch.autograd.backward(roots, [torch.empty_like(root) for root in roots])
    return forward, formulas.flops // 2 - forward


class Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements of storages that ops make, on real tensors.

    The first result of an op counts; a further one counts when a later op reads it. What recurrent layers
    do inside is one op, all results of which a module returns.
    """

    def __init__(self, model: nn.Module, inputs: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: list[Any] = []  # alive, so that no address comes twice
        self.seen: set[int] = set()
        self.waiting: dict[int, int] = {}
        self.elements, self.paused = 0, False
        for tensor in (*inputs, *model.parameters(), *model.buffers()):
            self.new(tensor)

    def new(self, tensor: torch.Tensor) -> int:
        """The elements of a tensor's storage if it was not seen before."""
        storage = tensor.untyped_storage()
        if storage._cdata in self.seen:
            return 0
        self.seen.add(storage._cdata)
        self.kept.append(storage)
        return storage.nbytes() // tensor.element_size()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in pytree.tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self.new(leaf)  # a weight that the model does not list
        result = func(*args, **(kwargs or {}))
        if self.paused:
            return result
        outputs = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        views = all(leaf.untyped_storage()._cdata in self.seen for leaf in outputs)
        if not views:
            for leaf in pytree.tree_leaves((args, kwargs)):
                if isinstance(leaf, torch.Tensor):
                    self.elements += self.waiting.pop(leaf.untyped_storage()._cdata, 0)
        for at, leaf in enumerate(outputs):
            made = self.new(leaf)
            if at == 0:
                self.elements += made
            elif made:
                self.waiting[leaf.untyped_storage()._cdata] = made
        return result


class Recurrent(TorchFunctionMode):
    """Takes recurrent functions for one op."""

    def __init__(self, storages: Storages) -> None:
        super().__init__()
        self.storages = storages

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu):
            return func(*args, **(kwargs or {}))
        self.storages.paused = True
        result = func(*args, **(kwargs or {}))
        self.storages.paused = False
        self.storages.elements += sum(tensor.numel() for tensor in result)
        for tensor in result:
            self.storages.new(tensor)
        return result


def parameters(model: nn.Module, inputs: list[torch.Tensor]) -> int:
    """Elements of the parameters that torch lists after one forward."""
    model = copy.deepcopy(model)
    model(*(tensor.clone() for tensor in inputs))
    return sum(parameter.numel() for parameter in model.parameters())


def activation_elements(model: nn.Module, inputs: list[torch.Tensor], *, train: bool) -> int:
    """Elements of the storages that one real forward makes, without those of layers that it makes."""
    model, inputs = copy.deepcopy(model), [tensor.clone() for tensor in inputs]
    known = {id(parameter) for parameter in model.parameters()}
    storages = Storages(model, inputs)
    with run_plainly(), torch.set_grad_enabled(train), storages, Recurrent(storages):
        model(*inputs)
    made = {id(parameter) for parameter in model.parameters()} - known
    return storages.elements - sum(p.numel() for p in model.parameters() if id(p) in made)
