"""Work that a forward hands to threads and processes. Oracle: the same model run plainly in one thread, and by hand."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from tracing.odd import LINE, ROWS, Runs, line

import archprof
from archprof.errors import TraceError

pytestmark = pytest.mark.filterwarnings("ignore")

Call = Callable[[], torch.Tensor]

OLD_EXECUTOR, OLD_POOL = ThreadPoolExecutor(2), multiprocessing.pool.ThreadPool(2)
OLD_EXECUTOR.submit(int).result()


class HandMade(threading.Thread):
    """A class of one's own, whose work is its `run`."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def run(self) -> None:
        self.result = self.call()


def in_threads(calls: list[Call]) -> list[Any]:
    found: dict[int, Any] = {}

    def work(at: int, call: Call) -> None:
        found[at] = call()

    threads = [threading.Thread(target=work, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[at] for at in range(len(calls))]


def in_own_class(calls: list[Call]) -> list[Any]:
    threads = [HandMade(call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [thread.result for thread in threads]


def in_executor(calls: list[Call]) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda call: call(), calls))


def in_old_executor(calls: list[Call]) -> list[Any]:
    return [future.result() for future in [OLD_EXECUTOR.submit(call) for call in calls]]


def in_pool(calls: list[Call]) -> list[Any]:
    with multiprocessing.pool.ThreadPool(2) as pool:
        return pool.map(lambda call: call(), calls)


def in_old_pool(calls: list[Call]) -> list[Any]:
    return [each.get() for each in [OLD_POOL.apply_async(call) for call in calls]]


def nested(calls: list[Call]) -> list[Any]:
    return in_executor([lambda call=call: in_threads([call])[0] for call in calls])


def at_a_barrier(calls: list[Call]) -> list[Any]:
    """Each waits for the others in the middle of its work."""
    barrier = threading.Barrier(len(calls))

    def both(call: Call) -> torch.Tensor:
        barrier.wait()
        result = call()
        barrier.wait()
        return result

    return in_threads([lambda call=call: both(call) for call in calls])


def by_queue(calls: list[Call]) -> list[Any]:
    """A thread that waits for what comes after its start."""
    tasks: queue.Queue[Any] = queue.Queue()
    results: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        while (call := tasks.get()) is not None:
            results.put(call())

    thread = threading.Thread(target=work)
    thread.start()
    for call in (*calls, None):
        tasks.put(call)
    thread.join()
    return [results.get() for _ in calls]


WAYS = [in_threads, in_own_class, in_executor, in_old_executor, in_pool, in_old_pool, nested, at_a_barrier, by_queue]


def make_model(way: Callable[[list[Call]], list[Any]]) -> torch.nn.Module:
    """Two layers and two products without a layer, side by side; 4 lines of work behind one more layer."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        calls = [lambda: self.a(x).relu() * 2, lambda: (x @ self.weight).tanh(), lambda: self.b(x)]
        return self.last(sum(way(calls)))

    weight = torch.nn.Parameter(torch.rand(4, 4))
    return Runs(run, first=line(), a=line(), b=line(), last=line(), weight=weight)


def plainly(calls: list[Call]) -> list[Any]:
    return [call() for call in calls]


def rows(profile: archprof.Profile) -> list[Any]:
    """Own work of each row."""
    named = zip(profile.layers, profile.costs, strict=True)
    return sorted(
        (row.path, row.kind, cost.macs, cost.flops, cost.backward_macs, cost.activation_elements) for row, cost in named
    )


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_threads_are_counted_and_charged_to_their_layers(way: Any, train: bool) -> None:
    profile = archprof.profile(make_model(way), ROWS, train=train)
    profile.check()
    plain = archprof.profile(make_model(plainly), ROWS, train=train)
    assert (profile.totals.macs, profile.totals.complete, profile.ran.device) == (5 * LINE, True, "meta")
    assert rows(profile) == rows(plain)
    assert any("other threads" in note for note in profile.notes)
    assert not plain.notes


def forward_ops(profile: archprof.Profile) -> list[Any]:
    return [op for op in profile.ops if op.phase == "forward"]


@pytest.mark.parametrize("way", [in_threads, in_own_class, in_executor, in_old_executor, nested])
def test_what_does_not_wait_comes_out_the_same_in_each_pass(way: Any) -> None:
    """Also the order of ops, and with it peak memory; autograd goes back in another order than over one thread."""
    first, second = (archprof.profile(make_model(way), ROWS, train=True) for _ in range(2))
    plain = archprof.profile(make_model(plainly), ROWS, train=True)
    assert (first.ops, first.storages) == (second.ops, second.storages)
    assert forward_ops(first) == forward_ops(plain)


def test_an_old_thread_of_ones_own() -> None:
    """What it does in layers is seen, wherever it came from."""
    tasks: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            task[1].put(task[0]())

    thread = threading.Thread(target=work)
    thread.start()

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        answer: queue.Queue[Any] = queue.Queue()
        tasks.put((lambda: self.a(x), answer))
        return self.b(answer.get())

    profile = archprof.profile(Runs(run, a=line(), b=line()), ROWS)
    assert (profile.totals.macs, profile.totals.complete) == (2 * LINE, True)
    assert {row.path: cost.macs for row, cost in zip(profile.layers, profile.costs, strict=True)} == {
        "": 0,
        "a": LINE,
        "b": LINE,
    }
    tasks.put(None)
    thread.join()


def test_a_recurrent_layer_in_a_thread() -> None:
    """Found by the fuzz run (seed 771): what an answer by shape makes on its way is no constant of the model."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return in_threads([lambda: self.a(x), lambda: self.gru(x[None].detach())[0]])[1]

    model = Runs(run, a=line(), gru=torch.nn.GRU(4, 2, batch_first=True).requires_grad_(False))
    elements = archprof.profile(model, ROWS, train=True).totals.activation_elements
    assert elements == 3 * 4 + 3 * 2 + 2 + 2  # of the layer; of the GRU its zeros, its rows and its state


def test_a_pool_that_the_model_holds() -> None:
    """Nobody would take a task from a copy of it."""
    pool = ThreadPoolExecutor(1)

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.pool.submit(self.a, x).result()

    assert archprof.profile(Runs(run, a=line(), pool=pool), ROWS).totals.macs == LINE
    assert pool.submit(int).result() == 0


def product(x: torch.Tensor) -> torch.Tensor:
    return torch.mm(x, x.t())


@torch.jit.script
def forked(x: torch.Tensor) -> torch.Tensor:
    first, second = torch.jit.fork(product, x), torch.jit.fork(product, x)
    return torch.jit.wait(first) + torch.jit.wait(second)


def test_forks_of_torchscript() -> None:
    """Its threads bring the modes along, and are nobody's but the caller's."""
    profile = archprof.profile(Runs(lambda self, x: forked(self.a(x)), a=line()), ROWS)
    assert (profile.totals.macs, profile.totals.complete) == (LINE + 2 * 3 * 3 * 4, True)
    eager = Runs(lambda self, x: torch.jit.wait(torch.jit.fork(self.a, x)), a=line())
    assert archprof.profile(eager, ROWS).totals.macs == LINE


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_want_values(way: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """On meta a thread fails, and may keep that to itself; the pass is run again on real tensors."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return sum(way([lambda: self.a(x) * x.sum().item(), lambda: self.b(x)]))  # type: ignore[return-value]

    if way in (at_a_barrier, by_queue):
        pytest.skip("the others wait for one that has failed, as without archprof")
    profile = archprof.profile(Runs(run, a=line(), b=line()), ROWS)
    assert (profile.totals.macs, profile.totals.complete, profile.ran.device) == (2 * LINE, True, "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("way", [in_executor, in_old_executor, in_pool, in_old_pool])
def test_a_layer_that_fails_in_a_thread(way: Any) -> None:
    model = Runs(lambda self, x: way([lambda: self.a(x), lambda: self.b(x[:, :2])]), a=line(), b=line())
    with pytest.raises(TraceError, match="failed in b, a Linear") as caught:
        archprof.profile(model, ROWS)
    assert caught.value.profile.totals.macs == LINE


def test_threads_started_in_an_op_are_part_of_the_op() -> None:
    """An operator of one's own is one op, whatever it does."""

    @torch.library.custom_op("threads_test::product", mutates_args=())
    def own(x: torch.Tensor) -> torch.Tensor:
        return in_threads([lambda: x @ x.T])[0]

    profile = archprof.profile(Runs(lambda self, x: own(self.a(x)), a=line()), ROWS)
    assert (profile.totals.macs, profile.totals.complete) == (LINE, False)
    assert not any("other threads" in note for note in profile.notes)


def in_process(calls: list[Call]) -> list[Any]:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    return plainly(calls)


def in_process_pool(calls: list[Call]) -> list[Any]:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(int)
    return plainly(calls)


def in_process_executor(calls: list[Call]) -> list[Any]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        pool.submit(int).result()
    return plainly(calls)


@pytest.mark.parametrize("way", [in_process, in_process_pool, in_process_executor])
def test_processes_are_not_seen_into(way: Any) -> None:
    profile = archprof.profile(make_model(way), ROWS)
    assert (profile.totals.macs, profile.totals.complete) == (5 * LINE, False)
    assert "python.another_process" in str(profile.table())


METHODS = [
    (threading.Thread, "start"), (ThreadPoolExecutor, "submit"), (multiprocessing.process.BaseProcess, "start"),
    *[(multiprocessing.pool.Pool, name) for name in ("apply", "map", "imap")],
]  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_python_is_put_back(way: Any, fails: bool) -> None:
    before = [vars(owner)[name] for owner, name in METHODS]
    model = Runs(lambda self, x: way([lambda: self.a(x[:, :2] if fails else x)] * 2), a=line())
    if not (fails and way in (at_a_barrier, by_queue, in_threads, in_own_class, nested)):
        try:
            archprof.profile(model, ROWS)
        except TraceError:
            assert fails
    assert [vars(owner)[name] for owner, name in METHODS] == before
    assert OLD_EXECUTOR.submit(torch._C._len_torch_dispatch_stack).result() == 0
    assert OLD_POOL.apply(torch._C._len_torch_function_stack) == 0
