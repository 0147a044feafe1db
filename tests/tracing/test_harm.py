"""A profile does no harm, over the sixty models of the sample: also when it fails, is interrupted, or runs in threads.

The watch is that of `test_peers_damage`: state, flags, hooks, versions of tensors, random states, torch's globals.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import torch
from test_peers_damage import IMAGE, Net, Watch, of_model, of_process
from torch import nn
from torch.utils import _python_dispatch
from tracing.odd import ODD, Runs
from zoo.sample import SAMPLE, Sampled

import archprof
from archprof.errors import ArchprofError, TraceError
from archprof.sources.input_grammar import NamedInput
from archprof.sources.resolve import resolve

pytestmark = pytest.mark.filterwarnings("ignore")


def of_compiler() -> Any:
    """What torch's compiler does with what it was given, and what it passes over, where it is imported."""
    frames, rules = sys.modules.get("torch._dynamo.eval_frame"), sys.modules.get("torch._dynamo.trace_rules")
    return [frames and frames._stance, rules and [*rules.SKIP_DIRS, rules.SKIP_DIRS_RE.pattern]]


def of_python() -> Any:
    """What a careless tool leaves in the interpreter, beside what `of_process` sees."""
    return [
        dict(os.environ), list(sys.path), os.getcwd(), sys.getrecursionlimit(), threading.active_count(),
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        list(warnings.filters), warnings.showwarning, logging.root.level, list(logging.root.handlers),
        sys.stdout, sys.stderr, sys.displayhook, sys.meta_path[:], threading.excepthook, sys.unraisablehook,
        [getattr(_python_dispatch, name) for name in vars(_python_dispatch) if name.startswith("_is_in_")],
        torch.get_num_interop_threads(), torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled,
        torch._C._autograd._top_saved_tensors_default_hooks(True), of_compiler(),
    ]  # fmt: skip


@contextmanager
def nothing_changes(model: nn.Module) -> Iterator[None]:
    before = of_python()
    with Watch(model):
        yield
    assert of_python() == before


class Stop(Exception):
    """Raised by a hook of the user's own."""


def raising(error: type[BaseException]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any) -> None:
        raise error

    return hook


def set_as_users_do(model: nn.Module) -> None:
    """In training, with some parts frozen."""
    model.train()
    for at, module in enumerate(model.modules()):
        if at % 3 == 0 and not module._modules:
            module.eval()
    for at, parameter in enumerate(model.parameters()):
        if not nn.parameter.is_lazy(parameter):
            parameter.requires_grad_(at % 4 != 0 and parameter.is_floating_point())


SIXTY = [pytest.param(each, id=each.name, marks=[pytest.mark.slow] * bool(at % 3)) for at, each in enumerate(SAMPLE)]
"""The sixty, of which every third is part of the fast run."""


@pytest.mark.parametrize("sampled", SIXTY)
def test_the_sixty(sampled: Sampled) -> None:
    target = resolve(sampled.spec, sampled.inputs)
    model = target.model
    inputs = [*target.args, *(NamedInput(name, value) for name, value in target.kwargs.items())]
    set_as_users_do(model)
    with nothing_changes(model):
        archprof.profile(model, inputs)
        with suppress(ArchprofError):  # some cannot be trained with parts frozen
            archprof.profile(model, inputs, train=True)
    parts = list(model.modules())
    for error, seen in ((Stop, archprof.TraceError), (KeyboardInterrupt, KeyboardInterrupt)):
        handle = random.Random(sampled.name).choice(parts).register_forward_pre_hook(raising(error))
        with nothing_changes(model), suppress(seen):
            archprof.profile(model, inputs, train=error is Stop)
        handle.remove()


@pytest.mark.parametrize("name", ODD)
def test_the_odd_ones(name: str) -> None:
    case = ODD[name]
    model = case.make()
    before = dict(of_model_or_less(model, name))
    process = of_process(), of_python()
    for train in (False, True):
        with suppress(ArchprofError):
            archprof.profile(model, case.inputs, train=train)
    assert dict(of_model_or_less(model, name)) == before
    assert (of_process(), of_python()) == process


def of_model_or_less(model: nn.Module, name: str) -> Any:
    """All that can be seen of a model; TorchScript and quantised modules make new objects at each look."""
    if "scripted" in name or "quantised" in name:
        return [(key, str(tensor)) for key, tensor in model.state_dict().items()]
    return enumerate(of_model(model))


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def small() -> nn.Module:
    return nn.Sequential(Net(), nn.Flatten(), nn.Linear(144, 5), nn.LSTM(5, 3))


def falls_back() -> nn.Module:
    return Net(lambda self, x: x * x.sum().item() * torch.rand(1).item())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
@pytest.mark.parametrize("make", [small, falls_back])
@pytest.mark.parametrize("train", [False, True])
def test_ctrl_c_at_any_moment(make: Callable[[], nn.Module], train: bool) -> None:
    """A timer interrupts as Ctrl-C does, 20 times at random moments of a pass."""
    model, rng = make(), random.Random(0)
    archprof.profile(model, IMAGE, train=train)
    start = time.perf_counter()
    archprof.profile(model, IMAGE, train=train)
    took = time.perf_counter() - start
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        with nothing_changes(model):
            for _ in range(400):  # a pass may also come to its end before the timer does
                if interrupted == 20:
                    break
                try:
                    signal.setitimer(signal.ITIMER_REAL, max(2e-4, rng.random() * took))
                    archprof.profile(model, IMAGE, train=train)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    interrupted += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 20


def test_threads_on_one_model_and_on_many() -> None:
    shared, others = small(), [small() for _ in range(3)]
    broken = nn.Sequential(Net(), nn.Linear(7, 7))
    models = [shared, *others, falls_back(), broken] * 4

    def run(at: int) -> Any:
        try:
            return archprof.profile(models[at], IMAGE, train=at % 2 == 0).totals
        except archprof.TraceError as error:
            return error.given

    alone = [run(at) for at in range(len(models))]
    with nothing_changes(shared), nothing_changes(broken), ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(len(models)))) == alone
        pool.shutdown()


@pytest.mark.parametrize("threshold", [(700, 10, 10), (50_000, 3, 4), (0, 10, 10)])
def test_the_collector_is_as_it_was(threshold: tuple[int, int, int]) -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(*threshold)
        archprof.profile(small(), IMAGE)
        with pytest.raises(archprof.TraceError):
            archprof.profile(nn.Linear(7, 7), (2, 4))
        assert gc.get_threshold() == threshold
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0
    finally:
        gc.set_threshold(*before)


def test_what_the_user_froze_for_the_collector_stays_frozen() -> None:
    code = (
        "import gc, torch, archprof; gc.freeze(); count = gc.get_freeze_count()\n"
        "archprof.profile(torch.nn.Linear(4, 4), (2, 4)); assert gc.get_freeze_count() > count * 0.9"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_large_is_imported() -> None:
    code = (
        "import sys, torch, archprof; from torch import nn; before = set(sys.modules)\n"
        "archprof.profile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), '3x8x8')\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not new & {'torchvision', 'timm', 'transformers', 'sympy', 'numpy', 'rich', 'plotly', 'fvcore'}, new\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def on_values(_self: Any, x: torch.Tensor) -> Any:
    return x + 1 if x.sum() > 0 else x


def fails(_self: Any, x: torch.Tensor) -> Any:
    return x @ x


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("run", [lambda _self, x: x * 2, on_values, fails], ids=["on meta", "on the CPU", "fails"])
def test_a_pass_leaves_nothing_to_the_collector(run: Callable[..., Any], train: bool) -> None:
    """The stand-in goes with the pass: one with real weights would stay until the next full collection."""
    net = nn.Sequential(nn.Linear(4, 4), Runs(run), nn.BatchNorm1d(4))

    def profiled() -> None:
        with suppress(TraceError):
            archprof.profile(net, (torch.ones(3, 4),), train=train)

    profiled()
    gc.collect()
    gc.disable()
    try:
        profiled()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(thing).__name__ for thing in gc.garbage if isinstance(thing, torch.Tensor | nn.Module)}
        ours = {type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith("archprof")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left | ours == set()
