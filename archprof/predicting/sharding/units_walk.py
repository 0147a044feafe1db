"""What the units of `fully_shard` have and share while a step is walked through, hook by hook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archprof.facts.records import Phase, Role, Storage, TensorSpec
from archprof.predicting.sharding.data_options import DataOptions
from archprof.predicting.sharding.edit import Place, StepEditor
from archprof.predicting.sharding.gradients import Gradient
from archprof.predicting.sharding.ranks import Collective


class Moment(NamedTuple):
    """When a hook runs: before an old op or behind it, for which call."""

    position: int
    behind: bool
    call: int
    phase: Phase


class Cut(NamedTuple):
    """Who takes part: ranks along which parameters are cut, this one's place there, and ranks that hold the same."""

    shards: int
    shard: int
    copies: int


class Buffer(NamedTuple):
    """A tensor that was put in, and its storage."""

    tensor: int
    storage: int


@dataclass
class ShardedParameter:
    """One parameter of a unit.

    Attributes:
        whole: its layout while it is gathered.
        local: the layout of this rank's shard.
        padded: elements of the shard as it lies in memory: as many on every rank.
        shard: a tensor, in the storage that held the whole parameter in the traced pass.
        gradient: what the backward makes.
        sharded_gradient: the tensor of the reduced gradient, once there is one.
        is_reduced: the backward's gradient is in that already.
    """

    whole: TensorSpec
    local: TensorSpec
    padded: int
    shard: Buffer
    gradient: Gradient | None
    sharded_gradient: int | None = None
    is_reduced: bool = False


@dataclass
class ParamGroup:
    """The parameters of one unit, which are gathered together.

    Attributes:
        reshards: they are freed behind the forward.
        pending: the output of a gather that nobody has waited for yet, and the place of the collective.
        whole: the gathered parameters, in the order of `parameters`, while they are whole.
        lives: since when they were whole, each time, and until when.
        reduced: what an all-reduce over copies holds until the end of the backward.
    """

    parameters: list[ShardedParameter]
    reshards: bool
    pending: tuple[Buffer, Place] | None = None
    whole: list[Buffer] | None = None
    lives: list[tuple[Place, Place | None, list[Buffer]]] = field(default_factory=list)
    reduced: Buffer | None = None


class UnitsWalk:
    """The step that is changed, and the buffers that one unit leaves to the next to free."""

    def __init__(self, editor: StepEditor, cut: Cut, options: DataOptions) -> None:
        self.editor, self.cut, self.options = editor, cut, options
        self.gathered: Buffer | None = None  # the output of the forward's last gather
        self.scattered: tuple[Buffer, Place] | None = None  # the input of the last reduce-scatter, and where that is
        self.reductions: list[Place] = []  # over copies

    def add_flat(self, parameters: Sequence[ShardedParameter], parts: int, dtype: str | None = None) -> Buffer:
        """A flat buffer of so many padded shards of each; in one dtype, that of the whole ones if none is given."""
        dtypes = {dtype or one.whole.dtype for one in parameters}
        count = parts * sum(one.padded for one in parameters)
        if len(dtypes) == 1:
            item_bytes = parameters[0].whole.item_bytes if dtype is None else None
            return self.add(TensorSpec((count,), dtypes.pop(), None, item_bytes), "communication")
        size = parts * sum(cut_padded(one).nbytes for one in parameters)
        return self.add(TensorSpec((size,), "uint8"), "communication")

    def add(self, spec: TensorSpec, role: Role, nbytes: int | None = None) -> Buffer:
        """A tensor in a storage of its own, without a life yet."""
        size = spec.nbytes if nbytes is None else nbytes
        storage = self.editor.add_storage(Storage(size, spec.dtype, role, None, None), None, None)
        return Buffer(self.editor.add_tensor(spec, storage), storage)

    def put(
        self, name: str, at: Moment, inputs: Sequence[int], outputs: Sequence[Buffer],
        collective: Collective | None = None,
    ) -> Place:  # fmt: skip
        """An op at that moment."""
        made = tuple([one.tensor for one in outputs])
        return self.editor.put_op(
            name, at.position, at.call, at.phase, tuple(inputs), made, behind=at.behind, collective=collective
        )

    def mark(self, at: Moment) -> Place:
        return self.editor.mark(at.position, behind=at.behind)


def cut_padded(one: ShardedParameter) -> TensorSpec:
    """The padded shard of a parameter, in the dtype in which it is gathered."""
    return TensorSpec((one.padded,), one.whole.dtype, None, one.whole.item_bytes)
