"""What a stage of a pipeline has beside its own ops: what it gets, what it gives, and the other microbatches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from archprof.facts.records import ITEM_BYTES, Profile
from archprof.predicting.sharding.cut import Part
from archprof.predicting.sharding.edit import StepEditor
from archprof.predicting.sharding.ranks import Collective, CollectiveKind, RankStep
from archprof.predicting.sharding.schedules import Pass, count_in_flight


class Shared(NamedTuple):
    """A parameter that the stages of several ranks use, by its storage in the whole."""

    storage: int
    ranks: frozenset[int]


class WholeSums(NamedTuple):
    """Gradients are summed over microbatches in whole, and dealt out behind the last backward.

    Attributes:
        dtype: of the sums; `None`: that of the gradients.
    """

    dtype: str | None = None


class StagedProfile:
    """A profile whose ops are dealt out to stages, and those to ranks in turn."""

    def __init__(self, profile: Profile, stages: Sequence[int], ranks: int) -> None:
        self.profile, self.stages, self.ranks = profile, stages, ranks

    @cached_property
    def depends(self) -> list[bool]:
        """Of each tensor, whether a parameter is in it: what is not, a stage works out by itself."""
        profile = self.profile
        storages = {at for at, storage in enumerate(profile.storages) if storage.role == "parameter"}
        for op in profile.ops:
            if op.phase == "forward" and any(profile.tensors[at].storage in storages for at in op.inputs):
                storages.update(profile.tensors[at].storage for at in op.outputs)
        return [tensor.storage in storages for tensor in profile.tensors]

    @cached_property
    def shared(self) -> tuple[Shared, ...]:
        """Parameters that are trained on more than one rank."""
        profile = self.profile
        trained = {one.storage for one in profile.parameters if one.trainable and one.role == "parameter"}
        found: dict[int, set[int]] = {}
        for op, stage in zip(profile.ops, self.stages, strict=True):
            for tensor in op.inputs if op.phase == "forward" else ():
                if profile.tensors[tensor].storage in trained:
                    found.setdefault(profile.tensors[tensor].storage, set()).add(stage % self.ranks)
        return tuple(Shared(storage, frozenset(ranks)) for storage, ranks in found.items() if len(ranks) > 1)

    @cached_property
    def summed(self) -> frozenset[int]:
        """Storages of gradients of shared parameters, which are summed over the ranks and not sent."""
        profile = self.profile
        held = {one.storage for one in self.shared}
        shapes = {tensor.spec.shape for tensor in profile.tensors if tensor.storage in held}
        roles = ("temporary", "gradient")
        return frozenset(
            tensor.storage for tensor in profile.tensors
            if tensor.spec.shape in shapes and profile.storages[tensor.storage].role in roles
        )  # fmt: skip

    @cached_property
    def readers(self) -> dict[int, set[int]]:
        """Of each storage that must be sent where it is read: the stages that do so."""
        profile = self.profile
        found: dict[int, set[int]] = {}
        for op, stage in zip(profile.ops, self.stages, strict=True):
            for tensor in () if op.phase == "optimizer" else op.inputs:
                storage = profile.tensors[tensor].storage
                born = profile.storages[storage].born
                if self.depends[tensor] or (born is not None and profile.ops[born].phase == "backward"):
                    found.setdefault(storage, set()).add(stage)
        return found


class StageBuilder:
    """A part of a profile, to which the rest of a rank's step is added."""

    def __init__(self, whole: StagedProfile, part: Part, step: RankStep, sums: WholeSums | None = None) -> None:
        self.whole, self.part, self.rank, self.sums = whole, part, step.place.pp, sums
        self.editor = StepEditor(step)
        self.ops, self.storages = step.profile.ops, step.profile.storages
        passed = [at for at, op in enumerate(self.ops) if op.phase != "optimizer"]
        self.end = passed[-1] if passed else 0
        backward = next((at for at in passed if self.ops[at].phase == "backward"), self.end + 1)
        self.forward_end = max(backward - 1, 0)

    def build(self, passes: Sequence[Pass]) -> RankStep:
        """The step, with what these passes have in flight."""
        microbatches = self.microbatches = 1 + max(one.microbatch for one in passes)
        got, given = self._list_got(), self._list_given()
        for storage, readers in given.items():
            self._send(storage, readers)
        self._copy_in_flight(passes, set(got), set(given))
        for at, one in enumerate(self.storages):
            if one.role == "input":
                self._copy(at, microbatches - 1)
        for storage in got:
            self._receive(storage, microbatches)
        if self.end > self.forward_end:
            self._sum_shared()
        return self.editor.build()

    def _list_got(self) -> list[int]:
        """Storages that other stages' ops made."""
        whole, own = self.whole.profile, set(self.part.ops)
        return [
            at for at, storage in enumerate(self.part.storages)
            if (born := whole.storages[storage].born) is not None and born not in own
            and whole.ops[born].phase != "optimizer" and storage not in self.whole.summed
        ]  # fmt: skip

    def _list_given(self) -> dict[int, int]:
        """Storages that other ranks' stages read: how many stages of theirs."""
        whole, own, ranks = self.whole.profile, set(self.part.ops), self.whole.ranks
        found = {}
        for at, storage in enumerate(self.part.storages):
            readers = [stage for stage in self.whole.readers.get(storage, ()) if stage % ranks != self.rank]
            born = whole.storages[storage].born
            if readers and born in own and storage not in self.whole.summed:
                found[at] = len(readers)
        return found

    def _copy_in_flight(self, passes: Sequence[Pass], got: set[int], given: set[int]) -> None:
        """What microbatches keep that went forward and not yet back, beside the one whose ops are here."""
        kept = self._list_kept(got, given)
        sizes = [sum(self.storages[at].nbytes for at in one) for one in kept]
        gradients = self._list_gradients()
        found = count_in_flight(passes, sizes, sum(nbytes for _, nbytes, _ in gradients))
        for storages, count in zip(kept, found.counts, strict=True):
            for at in storages:
                self._copy(at, count - 1)
        self._add_sums(gradients, found.before_backward)

    def _list_gradients(self) -> list[tuple[int, int, int]]:
        """Of each gradient its storage, the bytes of the sum over microbatches, and the op after which it is done."""
        found = []
        last = self._find_last_touches()
        for at, one in enumerate(self.storages):
            if one.role == "gradient" and one.born is not None:
                sum_bytes = one.nbytes
                if self.sums is not None and self.sums.dtype in ITEM_BYTES:
                    sum_bytes = one.nbytes // ITEM_BYTES[one.dtype] * ITEM_BYTES[self.sums.dtype]
                found.append((at, sum_bytes, last.get(at, one.born)))
        return found

    def _find_last_touches(self) -> dict[int, int]:
        """The last op of the backward on each storage."""
        tensors = self.editor.tensors
        return {
            tensors[tensor].storage: at
            for at, op in enumerate(self.ops[: self.end + 1]) for tensor in (*op.inputs, *op.outputs)
        }  # fmt: skip

    def _add_sums(self, gradients: Sequence[tuple[int, int, int]], before_backward: bool) -> None:
        """The gradients of earlier microbatches, until those of this one are added; whole ones stay to the end."""
        whole = self.sums is not None
        for at, nbytes, done in gradients:
            born, died = (done, 0, 0) if before_backward else (0, 0, 0), (self.end if whole else done, 0, 0)
            if self.microbatches > 1 and (whole or not before_backward):
                self.editor.add_storage(self.storages[at]._replace(nbytes=nbytes), born, died)

    def _list_kept(self, got: set[int], given: set[int]) -> list[list[int]]:
        """Storages that a microbatch keeps from its forward to its backward, by the rank's stages."""
        stages = self.whole.stages
        chunks = 1 + max(stages) // self.whole.ranks
        kept: list[list[int]] = [[] for _ in range(chunks)]
        for at, (storage, one) in enumerate(zip(self.part.storages, self.storages, strict=True)):
            born = self.whole.profile.storages[storage].born
            if born is None or one.born is None or one.born > self.forward_end or at in got:
                continue
            if at in given or one.died is None or one.died > self.forward_end:
                kept[stages[born] // self.whole.ranks].append(at)
        return kept

    def _copy(self, storage: int, times: int) -> None:
        """As many more of a storage, there from the first op of the step to the last of the backward."""
        one = self.storages[storage]
        is_input = one.role == "input"
        for _ in range(times):
            self.editor.add_storage(one, None if is_input else (0, 0, 0), None if is_input else (self.end, 0, 0))

    def _send(self, storage: int, readers: int) -> None:
        """To each stage that reads it; what the forward sends is kept for the backward."""
        phase = self.ops[self.storages[storage].born or 0].phase
        if phase == "forward":
            self.editor.move_death(storage, (self.end, 0, 0))
        at = self._find_touch(storage, phase)
        for _ in range(readers):
            self._exchange("send", storage, at, behind=True)

    def _find_touch(self, storage: int, phase: str) -> int:
        """The last op of a phase that reads or writes it; of none that does, the last of the backward."""
        tensors = {at for at, tensor in enumerate(self.editor.tensors) if tensor.storage == storage}
        touching = (
            at for at, op in enumerate(self.ops)
            if op.phase == phase and not tensors.isdisjoint((*op.inputs, *op.outputs))
        )  # fmt: skip
        return max(touching, default=self.end)

    def _receive(self, storage: int, microbatches: int) -> None:
        """Into a buffer that each microbatch has from the start on."""
        self._exchange("receive", storage, self.storages[storage].born or 0, behind=False)
        buffer = self.storages[storage]._replace(role="communication", saved=False)
        self.editor.storages[storage] = buffer
        self.editor.move_birth(storage, None)
        self.editor.move_death(storage, None)
        for _ in range(microbatches - 1):
            self.editor.add_storage(buffer, None, None)

    def _sum_shared(self) -> None:
        """The gradients of shared parameters, behind the backward."""
        own = {storage: at for at, storage in enumerate(self.part.storages)}
        for storage, ranks in self.whole.shared:
            if self.rank in ranks:
                self._exchange("all-reduce", own[storage], self.end, behind=True, group=len(ranks))

    def _exchange(self, kind: CollectiveKind, storage: int, at: int, *, behind: bool, group: int = 2) -> None:
        nbytes = self.storages[storage].nbytes
        tensor = self._find_tensor(storage)
        phase = self.ops[at].phase if self.ops else "forward"
        inputs, outputs = ((), (tensor,)) if kind == "receive" else ((tensor,), ())
        collective = Collective(kind, "pp", group, nbytes, at, is_ahead=kind == "send")
        self.editor.put_collective(OP_NAMES[kind], collective, 0, phase, inputs, outputs, behind=behind)

    def _find_tensor(self, storage: int) -> int:
        """The largest tensor that lies there."""
        tensors = Counter({at: one.spec.nbytes for at, one in enumerate(self.editor.tensors) if one.storage == storage})
        return max(tensors, key=tensors.__getitem__)


OP_NAMES: dict[CollectiveKind, str] = {
    "send": "c10d.send.default", "receive": "c10d.recv_.default", "all-reduce": "c10d.allreduce_.default",
}  # fmt: skip
