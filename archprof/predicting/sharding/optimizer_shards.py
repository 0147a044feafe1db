"""The optimizer of one rank: it steps shards, and its state and temporaries are as small as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from archprof.facts.records import Op, Signature, TensorSpec
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.shards import cut_spec

LISTS = ("aten._foreach_", "aten._fused_")
"""Ops that do to each tensor of a list what others do to one: results stand in the order of the first list."""


class LocalParameter(NamedTuple):
    """What of a parameter one rank's optimizer steps.

    Attributes:
        whole: its layout in the traced pass.
        local: the layout of the shard; `None`: another rank steps it.
        tensors: what stands for it, its gradient and its numbers now, by their storage in the traced pass; `None`:
            what was there.
    """

    whole: TensorSpec
    local: TensorSpec | None
    tensors: Mapping[int, int | None]


def cut_optimizer(editor: StepEditor, parameters: Sequence[LocalParameter]) -> None:
    """The ops of the optimizer's steps, on what this rank holds."""
    run = _OptimizerCut(editor, parameters)
    for position, op in enumerate(editor.ops):
        if op.phase == "optimizer":
            run.cut_op(position, op)


class _OptimizerCut:
    def __init__(self, editor: StepEditor, parameters: Sequence[LocalParameter]) -> None:
        self.editor, self.parameters = editor, parameters
        self.homes = {storage: number for number, one in enumerate(parameters) for storage in one.tensors}
        self.owners: dict[int, int] = {}  # the parameter that a tensor belongs to
        self.replaced: dict[int, int] = {}  # the tensor that stands for another now
        self.signatures: dict[tuple[int, tuple[int, ...]], Signature] = {}

    def cut_op(self, position: int, op: Op) -> None:
        """Each tensor in the size that it has here; without those of other ranks' parameters."""
        for tensor in (*op.inputs, *op.outputs):
            self._know(tensor)
        for number, tensor in enumerate(op.inputs):
            if tensor not in self.owners:  # made with the optimizer, before its first step
                owner = self._find_partner(op, number, tensor)
                if owner is not None:
                    self._cut_tensor(tensor, owner)
        for number, tensor in enumerate(op.outputs):
            if tensor not in self.owners:
                owner = self._find_owner(op, number, tensor)
                if owner is not None:
                    self._cut_tensor(tensor, owner)
        if not any(tensor in self.owners for tensor in (*op.inputs, *op.outputs)):
            return
        inputs, outputs = (tuple(self._list_kept(side)) for side in (op.inputs, op.outputs))
        if not inputs and not outputs:
            self.editor.drop(position)
            return
        signature = self._cut_signature(op, inputs, outputs)
        self.editor.ops[position] = op._replace(signature=signature, inputs=inputs, outputs=outputs)

    def _know(self, tensor: int) -> None:
        """Whether a tensor is a parameter, or its gradient."""
        if tensor in self.owners:
            return
        storage = self.editor.tensors[tensor].storage
        owner = self.homes.get(storage)
        if owner is not None:
            self.owners[tensor] = owner
            now = self.parameters[owner].tensors[storage]
            self.replaced[tensor] = tensor if now is None else now

    def _find_partner(self, op: Op, number: int, tensor: int) -> int | None:
        """The parameter in the same place of another list, or beside which the tensor goes in, if they are alike."""
        args = op.signature.args
        length = len(args[0]) if args and isinstance(args[0], tuple) and args[0] else 1
        partners = op.inputs[number % length :: length]
        shape = self.editor.tensors[tensor].spec.shape
        owners = (self.owners[one] for one in partners if one in self.owners)
        return next((one for one in owners if shape and shape == self.parameters[one].whole.shape), None)

    def _find_owner(self, op: Op, number: int, tensor: int) -> int | None:
        """The parameter as long as whose rows a result is, among those that went in."""
        first = op.inputs[number : number + 1] if op.signature.name.startswith(LISTS) else op.inputs
        shape = self.editor.tensors[tensor].spec.shape
        owners = (self.owners[one] for one in first if one in self.owners)
        return next((one for one in owners if shape and shape[0] == self.parameters[one].whole.shape[0]), None)

    def _cut_tensor(self, tensor: int, owner: int) -> None:
        """A tensor of the optimizer's own, and its storage, in the size of the shard."""
        editor, parameter = self.editor, self.parameters[owner]
        self.owners[tensor] = owner
        spec, storage = editor.tensors[tensor]
        if parameter.local is None:
            editor.storages[storage] = editor.storages[storage]._replace(nbytes=0)
            return
        dtype = parameter.local.dtype if spec.dtype == parameter.whole.dtype else spec.dtype
        local = cut_spec(spec, parameter.local.shape[0], dtype)
        editor.tensors[tensor] = editor.tensors[tensor]._replace(spec=local)
        if editor.storages[storage].nbytes == spec.nbytes:
            editor.storages[storage] = editor.storages[storage]._replace(nbytes=local.nbytes, dtype=local.dtype)

    def _list_kept(self, tensors: Iterable[int]) -> Iterable[int]:
        for tensor in tensors:
            owner = self.owners.get(tensor)
            if owner is None or self.parameters[owner].local is not None:
                yield self.replaced.get(tensor, tensor)

    def _cut_signature(self, op: Op, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Signature:
        came, left = (tuple([self.editor.tensors[at].spec for at in side]) for side in (inputs, outputs))
        old = op.signature
        key = (id(old), inputs)
        found = self.signatures.get(key)
        if found is None:
            before = sum(spec.numel for spec in old.inputs)
            share = sum(spec.numel for spec in came) / before if before else 1.0
            found = old._replace(
                inputs=came, outputs=left, flops=None if old.flops is None else round(old.flops * share),
                bytes_read=round(old.bytes_read * share), bytes_written=sum(spec.nbytes for spec in left),
                args=old.args if len(inputs) == len(op.inputs) else (),
            )  # fmt: skip
            self.signatures[key] = found
        return found
