"""The schedules of a pipeline against those of torch.distributed.pipelining, and the formulas of the papers."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from torch.distributed.pipelining import schedules as torch_schedules

from archprof.errors import UnknownName, UsageError
from archprof.predicting.sharding.schedules import (
    Pass,
    check_schedule,
    count_in_flight,
    order_passes,
    share_bubble,
)

KINDS = torch_schedules._ComputationType


def order_by_torch(stages: int, rank: int, microbatches: int) -> list[Pass]:
    """What torch's class for interleaved stages makes of two stages on each rank."""
    schedule = object.__new__(torch_schedules.ScheduleInterleaved1F1B)
    schedule.pp_group_size = stages
    schedule.n_local_stages = 2
    schedule._n_microbatches = microbatches
    schedule.number_of_rounds = max(1, microbatches // stages)
    schedule.microbatches_per_round = microbatches // schedule.number_of_rounds
    actions = schedule._calculate_single_rank_operations(rank)
    return [
        Pass(one.computation_type == KINDS.FORWARD, one.stage_index // stages, one.microbatch_index)
        for one in actions
        if one is not None
    ]


class RecordedStage:
    """A stage that computes nothing and writes down what a schedule of torch asks of it."""

    def __init__(self, stages: int, rank: int) -> None:
        self.stage_index, self.num_stages, self.group_size, self.group_rank = rank, stages, stages, rank
        self.is_first, self.is_last = rank == 0, rank == stages - 1
        self.has_backward = True
        self.device, self.group, self.submod = "cpu", None, SimpleNamespace()
        self.passes: list[Pass] = []

    def forward_one_chunk(self, chunk: int, *args: object, **kwargs: object) -> None:
        self.passes.append(Pass(True, 0, chunk))

    def backward_one_chunk(self, chunk: int, *args: object, **kwargs: object) -> None:
        self.passes.append(Pass(False, 0, chunk))

    def __getattr__(self, name: str) -> object:
        return (lambda *args, **kwargs: []) if name.startswith(("get_", "clear", "scale", "perform")) else None


def run_by_torch(kind: str, stages: int, rank: int, microbatches: int, monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """What torch's class runs on a rank, with a stage that only writes it down."""
    names = {"1f1b": torch_schedules.Schedule1F1B, "gpipe": torch_schedules.ScheduleGPipe}
    schedule = object.__new__(names[kind])
    stage = RecordedStage(stages, rank)
    schedule._stage, schedule._num_stages, schedule._n_microbatches = stage, stages, microbatches
    schedule._has_backward = True
    schedule.scale_grads = False
    monkeypatch.setattr(torch_schedules, "_batch_p2p", lambda *args, **kwargs: [])
    monkeypatch.setattr(torch_schedules, "_sorted_batch_p2p", lambda *args, **kwargs: {}, raising=False)
    monkeypatch.setattr(torch_schedules, "_wait_batch_p2p", lambda *args: None)
    for name in ("_initialize_stage", "_maybe_compute_loss", "_maybe_get_loss", "_update_losses"):
        monkeypatch.setattr(schedule, name, lambda *args, **kwargs: None)
    monkeypatch.setattr(schedule, "_check_inputs", lambda args, kwargs, *rest: (args, kwargs))
    schedule._step_microbatches([()] * microbatches, [{}] * microbatches)
    return stage.passes


SIZES = [(2, 2), (2, 5), (4, 4), (4, 8), (4, 11), (8, 32)]


@pytest.mark.parametrize("kind", ["1f1b", "gpipe"])
@pytest.mark.parametrize(("stages", "microbatches"), SIZES)
def test_orders_as_torch_does(kind: str, stages: int, microbatches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in range(stages):
        assert order_passes(kind, stages, rank, microbatches) == run_by_torch(
            kind, stages, rank, microbatches, monkeypatch
        )


@pytest.mark.parametrize(("stages", "microbatches"), [(2, 2), (2, 6), (4, 4), (4, 8), (4, 10), (8, 32)])
def test_interleaves_as_torch_does(stages: int, microbatches: int) -> None:
    for rank in range(stages):
        assert order_passes("interleaved", stages, rank, microbatches) == order_by_torch(stages, rank, microbatches)


def test_in_flight() -> None:
    for rank in range(4):
        assert count_in_flight(order_passes("1f1b", 4, rank, 16), [10]).counts == (4 - rank,)  # PipeDream-Flush
        assert count_in_flight(order_passes("gpipe", 4, rank, 16), [10]) == ((16,), True)
        assert count_in_flight(order_passes("gpipe", 4, rank, 16), [10], 11) == ((15,), False)
        assert count_in_flight(order_passes("1f1b", 4, rank, 16), [10], 1) == ((4 - rank,), False)
    # Megatron section 2.2: the first of p ranks with v stages keeps p (1 + (p - 1) / (p v)) microbatches' whole part
    first = count_in_flight(order_passes("interleaved", 4, 0, 16), [10, 10])
    assert sum(first.counts) / 2 == 4 * (1 + 3 / 8)


def test_bubbles() -> None:
    assert share_bubble("1f1b", 8, 8) == pytest.approx(7 / 15)
    assert share_bubble("gpipe", 4, 16) == pytest.approx(3 / 19)
    assert share_bubble("interleaved", 4, 16) == pytest.approx(3 / 35)
    assert share_bubble("1f1b", 1, 8) == 0


def simulate(kind: str, stages: int, microbatches: int) -> float:
    """Run every pass as soon as what it needs is there, forward 1 and backward 2 long: the length of the step."""
    chunks = 2 if kind == "interleaved" else 1
    done: dict[tuple[bool, int, int], float] = {}
    queues = [order_passes(kind, stages, rank, microbatches) for rank in range(stages)]
    free = [0.0] * stages
    last = stages * chunks - 1
    while any(queues):
        for rank, queue in enumerate(queues):
            while queue:
                forward, chunk, microbatch = queue[0]
                stage = chunk * stages + rank
                before = (True, stage - 1, microbatch) if forward else (False, stage + 1, microbatch)
                if not forward and stage == last:
                    before = (True, stage, microbatch)
                ready = 0.0 if forward and stage == 0 else done.get(before)
                if ready is None:
                    break
                free[rank] = max(free[rank], ready) + (1 if forward else 2) / chunks
                done[forward, stage, microbatch] = free[rank]
                queue.pop(0)
    return max(free)


@pytest.mark.parametrize("kind", ["1f1b", "gpipe", "interleaved"])
@pytest.mark.parametrize(("stages", "microbatches"), [*itertools.product([2, 4, 8], [8, 16])])
def test_bubble_of_a_simulated_pipeline(kind: str, stages: int, microbatches: int) -> None:
    length = simulate(kind, stages, microbatches)
    assert 1 - 3 * microbatches / length == pytest.approx(share_bubble(kind, stages, microbatches))


def test_bad_schedules() -> None:
    with pytest.raises(UnknownName, match="1f1b"):
        check_schedule("1f2b", 2, 4)
    with pytest.raises(UsageError, match="--microbatches 8, or --schedule gpipe"):
        check_schedule("1f1b", 8, 4)
    with pytest.raises(UsageError, match="--microbatches 4"):
        check_schedule("gpipe", 4, 0)
    with pytest.raises(UsageError, match="--microbatches 8"):
        check_schedule("interleaved", 4, 9)
