"""The ranks that hold whole copies of a model, and what they send each other in one flat tensor."""

from __future__ import annotations

from typing import Literal

from archprof.facts.records import Phase, Storage, TensorSpec
from archprof.predicting.sharding.buckets import BROADCAST_BYTES, fill_buckets
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.edit import Place, StepEditor
from archprof.predicting.sharding.mesh import Axis
from archprof.predicting.sharding.ranks import Collective
from archprof.predicting.sharding.units_walk import Buffer

NAMES = {"all-reduce": "c10d.allreduce_.default", "broadcast": "c10d.broadcast_.default"}
MOST_IN_FLIGHT = 2
"""Broadcasts whose flat copies are there at once."""


class Copies:
    """Whole copies along both data axes."""

    def __init__(self, editor: StepEditor, options: DataOptions) -> None:
        mesh = editor.step.mesh
        self.editor, self.options = editor, options
        self.ranks = mesh.dp * mesh.fsdp
        self.axis: Axis = "dp" if mesh.dp > 1 else "fsdp"

    def add_flat(self, count: int, dtype: str) -> Buffer:
        """A flat buffer, without a life yet."""
        spec = TensorSpec((count,), dtype)
        storage = self.editor.add_storage(Storage(spec.nbytes, dtype, "communication", None, None), None, None)
        return Buffer(self.editor.add_tensor(spec, storage), storage)

    def put_collective(
        self, kind: Literal["all-reduce", "broadcast"], tensor: int, at: int, call: int, phase: Phase,
        *, behind: bool = True,
    ) -> Place:  # fmt: skip
        """One that works in place, of one tensor."""
        nbytes = self.editor.tensors[tensor].spec.nbytes
        collective = Collective(kind, self.axis, self.ranks, nbytes, at, is_ahead=kind == "all-reduce")
        return self.editor.put_collective(NAMES[kind], collective, call, phase, (tensor,), (tensor,), behind=behind)

    def broadcast_buffers(self) -> None:
        """Before a forward that trains, rank 0's buffers go to all: those of one dtype together, in a flat copy."""
        profile = self.editor.step.profile
        buffers = [one for one in profile.parameters if one.role == "buffer" and one.storage is not None]
        if not (profile.mode == "train" and profile.ops and self.options.broadcast_buffers):
            return
        waiting: list[tuple[Buffer, tuple[int, ...]]] = []
        for bucket in sorted(fill_buckets([one.spec for one in buffers], (BROADCAST_BYTES,))):
            parts = tuple([self.editor.add_tensor(buffers[at].spec, buffers[at].storage or 0) for at in bucket])
            if len(parts) == 1:
                self.put_collective("broadcast", parts[0], 0, 0, "forward", behind=False)
                continue
            if len(waiting) == MOST_IN_FLIGHT:
                self._copy_back(*waiting.pop(0))
            waiting.append((self._broadcast_flat(parts), parts))
        for flat, parts in waiting:
            self._copy_back(flat, parts)

    def _broadcast_flat(self, parts: tuple[int, ...]) -> Buffer:
        specs = [self.editor.tensors[part].spec for part in parts]
        flat = self.add_flat(sum(spec.numel for spec in specs), specs[0].dtype)
        self.editor.move_birth(
            flat.storage, self.editor.put_op("aten.cat.default", 0, 0, "forward", parts, (flat.tensor,))
        )
        self.put_collective("broadcast", flat.tensor, 0, 0, "forward", behind=False)
        return flat

    def _copy_back(self, flat: Buffer, parts: tuple[int, ...]) -> None:
        place = self.editor.put_op("aten._foreach_copy_.default", 0, 0, "forward", (flat.tensor,), parts)
        self.editor.move_death(flat.storage, place)
