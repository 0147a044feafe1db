"""A profile changes nothing: the model, torch and the process are bit for bit what they were before."""

from __future__ import annotations

import dataclasses
import functools
import gc
import hashlib
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # whose first import replaces `torch.manual_seed`
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

import archprof

HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
IMAGE = torch.zeros(2, 3, 8, 8)


def seen(value: Any) -> Any:
    """What can be compared of an attribute: the content of tensors and containers, else which object it is."""
    if isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and not value.is_meta and not nn.parameter.is_lazy(value)
        content = (
            hashlib.sha256(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()).hexdigest()
            if plain
            else ""
        )
        return id(value), type(value), value.dtype, value.requires_grad, value._version, content, sorted(vars(value))
    if isinstance(value, dict):
        return {key if isinstance(key, str | int) else id(key): seen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [seen(item) for item in value]
    if isinstance(value, int | float | str | bool):
        return value
    return id(value), seen(vars(value)) if isinstance(value, types.SimpleNamespace) else ""


def of_model(model: nn.Module) -> Any:
    """Everything that a module holds, of it and of each module below."""
    tensors = [*model.parameters(), *model.buffers()]
    return [
        [(name, id(module), module.training, seen(vars(module))) for name, module in model.named_modules()],
        [[seen(getattr(module, hooks)) for hooks in HOOKS] for module in model.modules()],
        [id(tensor.grad) if tensor.is_leaf else None for tensor in tensors if tensor.layout == torch.strided],
        [sorted(vars(tensor)) for tensor in tensors],
        [
            [name for name in dir(tensor.untyped_storage()) if "archprof" in name]
            for tensor in tensors
            if tensor.layout == torch.strided and not nn.parameter.is_lazy(tensor)
        ],
    ]


def is_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType)  # torch imports parts of itself when they are first needed


def of_process() -> Any:
    """What a careless tool leaves behind in torch and in the interpreter."""
    spaces = (
        torch,
        nn.functional,
        torch.Tensor,
        torch.nn.Module,
        torch.nn.init,
        torch.utils.checkpoint,
        torch.autograd,
    )
    return [
        [{name: id(value) for name, value in vars(space).items() if not is_module(value)} for space in spaces],
        hashlib.sha256(torch.get_rng_state().numpy()).hexdigest(),
        random.getstate(),
        [str(part) for part in np.random.get_state()],
        (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
        ),
        (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"), torch.is_autocast_cache_enabled()),
        torch.backends.mha.get_fastpath_enabled(),
        [getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")],
        (torch.backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()),
        (torch.is_anomaly_enabled(), torch._C._autograd._saved_tensors_hooks_is_enabled()),
        (gc.isenabled(), gc.get_threshold(), len(gc.callbacks), sys.gettrace(), sys.getprofile(), sys.excepthook),
        (_get_current_dispatch_mode_stack(), torch._C._len_torch_function_stack()),
        [
            len(vars(nn.modules.module)[name])
            for name in vars(nn.modules.module)
            if name.startswith("_global_") and "hooks" in name
        ],
        sorted(vars(nn.Module)),
    ]


class Watch:
    """`with Watch(model):` fails at its end if anything changed inside."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.before = of_model(self.model), of_process()

    def __exit__(self, *error: object) -> None:
        model, process = of_model(self.model), of_process()
        assert model == self.before[0]
        assert process == self.before[1]


class Net(nn.Module):
    """A convolution and a batch norm, then whatever the test wants."""

    def __init__(self, body: Callable[..., Any] = lambda self, x: x) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.body = body

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, self.norm(self.conv(x)))


@dataclasses.dataclass
class Result:
    loss: torch.Tensor
    nothing: None = None


def raises(error: type[BaseException]) -> Callable[..., Any]:
    def body(self: Net, x: torch.Tensor) -> None:
        raise error("on purpose")

    return body


def frozen_norm() -> nn.Module:
    model = nn.Sequential(Net(), Net(), nn.Dropout())
    model[0].norm.eval()
    model[0].norm.weight.requires_grad_(False)
    return model


BODIES: dict[str, Callable[..., Any]] = {
    "a tensor": lambda self, x: x.mean(),
    "none": lambda self, x: None,
    "a dict": lambda self, x: {"loss": x.sum(), "other": [x, None]},
    "a dataclass": lambda self, x: Result(x.sum()),
    "dropout": lambda self, x: nn.functional.dropout(x, 0.5, training=True),
    "random numbers": lambda self, x: x + torch.rand(1) * random.random() + np.random.rand(),
    "needs values": lambda self, x: x * x.sum().item() + torch.rand(1).item(),
    "needs values, random": lambda self, x: x[x > 0] * random.random() * np.random.rand() + torch.randn(()),
    "raises": raises(ValueError),
    "raises after meta": lambda self, x: [x.sum().item(), raises(KeyError)(self, x)],
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("body", BODIES)
def test_nothing_changes(body: str, train: bool) -> None:
    model = Net(BODIES[body]).train()
    with Watch(model):
        if "raises" in body:
            with pytest.raises(archprof.TraceError):
                archprof.profile(model, IMAGE, train=train)
        else:
            archprof.profile(model, IMAGE, train=train).check()


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_changes_nothing(error: type[BaseException], train: bool) -> None:
    model = nn.Sequential(Net(raises(error)))
    with Watch(model), pytest.raises(error):
        archprof.profile(model, IMAGE, train=train)


@pytest.mark.parametrize("train", [False, True])
def test_frozen_batch_norm_stays_frozen(train: bool) -> None:
    model = frozen_norm().train()
    model[0].norm.eval()
    shape = torch.zeros(2, 3, 16, 16)
    model[1].conv = nn.Conv2d(4, 4, 3)
    with Watch(model):
        profile = archprof.profile(model, shape, train=train)
    assert profile.totals.trainable_params == profile.totals.params - 4
    assert not model[0].norm.training
    assert model[1].norm.training
    assert int(model[1].norm.num_batches_tracked) == 0


def test_gradients_and_optimizer_state_stay() -> None:
    model = Net(lambda self, x: x.mean())
    model(torch.randn(2, 3, 8, 8)).backward()
    grads = {name: (id(p.grad), p.grad.clone()) for name, p in model.named_parameters()}
    with Watch(model):
        archprof.profile(model, IMAGE, train=True)
    for name, parameter in model.named_parameters():
        assert id(parameter.grad) == grads[name][0]
        assert torch.equal(parameter.grad, grads[name][1])


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return Net()


class Mutates(nn.Module):
    """Everything that a forward should not do to its module, done."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("total", torch.zeros(4))
        self.plain, self.calls, self.cache = torch.zeros(4), 0, [torch.zeros(1)]
        self.table: dict[str, Any] = {"x": [0]}
        self.state = types.SimpleNamespace(items=[1], tensor=torch.zeros(4), lock=threading.Lock())
        self.same_state = self.state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.cache.append(x)
        self.table["x"].append(x)
        self.table["y"] = x
        with self.same_state.lock:
            self.state.items.append(2)
            assert self.same_state.items is self.state.items
            self.state.new = x
            self.state.tensor += 1
        self.total += 1
        self.plain += 1
        self.linear.weight.data.mul_(2)
        self.linear.register_forward_hook(lambda *_: None)
        self.register_buffer("late", x)
        self.training = not self.training
        return self.linear(x) + self.total + self.plain


class Holds(nn.Module):
    """Attributes that cannot be copied, or must not be."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.lock, self.generator = threading.Lock(), (i for i in range(3))
        self.file = open(path, "w")  # noqa: SIM115
        self.outside, self.tensors = [nn.Linear(4, 4)], [torch.ones(4)]
        self.near = weakref.ref(self.linear)
        self.forward = functools.partial(type(self).run, self)
        self.other = self.run

    def run(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return self.outside[0](self.near()(x)) * self.tensors[0]


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())
    kept: list[Any] = []
    by_name: dict[str, Any] = {}
    model[0].register_forward_hook(lambda m, i, o: kept.append(o))
    model[0].register_forward_pre_hook(lambda m, i, kept=kept: kept.append(i))
    model[0].register_full_backward_hook(lambda m, i, o: kept.append(o))
    model.register_forward_hook(lambda m, i, o: by_name.update(out=o))
    model.kept, model.by_name = kept, by_name
    return model


def forward_by_closure() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model.forward = lambda x: model[1](model[0](x))
    return model


def not_contiguous() -> nn.Module:
    model = nn.Module()
    model.a = nn.Parameter(torch.randn(8, 4).t()[:, ::2])
    model.b = nn.Parameter(torch.randn(1, 4).expand(4, 4))
    model.c = nn.Parameter(torch.randn(4, 4, dtype=torch.complex64))
    model.forward = lambda x: ((x @ model.a @ model.b).to(torch.complex64) @ model.c).real
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


def from_lists() -> nn.Module:
    model = nn.Module()
    model.weights = nn.ParameterList([torch.randn(4, 4)])
    model.named = nn.ParameterDict({"bias": torch.randn(4)})
    model.forward = types.MethodType(lambda self, x: x @ self.weights[0] + self.named["bias"], model)
    return model


def compiled() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model.compile(backend="eager")
    return model


def linear() -> nn.Linear:
    return nn.Linear(4, 4)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mutates itself": Mutates,
    "user's hooks": hooked,
    "forward by closure": forward_by_closure,
    "weight_norm": lambda: nn.utils.weight_norm(linear()),
    "spectral_norm": lambda: nn.utils.spectral_norm(linear()),
    "parametrized weight_norm": lambda: parametrizations.weight_norm(linear()),
    "parametrized spectral_norm": lambda: parametrizations.spectral_norm(linear()),
    "orthogonal": lambda: parametrizations.orthogonal(linear()),
    "pruned": lambda: prune.l1_unstructured(linear(), "weight", 0.5),
    "tied": tied,
    "lists of parameters": from_lists,
    "strange parameters": not_contiguous,
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d()),
    "scripted": lambda: nn.Sequential(torch.jit.script(linear()), nn.ReLU()),
    "scripted whole": lambda: torch.jit.script(nn.Sequential(linear(), nn.ReLU())),
    "compiled in place": compiled,
    "data parallel": lambda: nn.DataParallel(nn.Sequential(linear(), nn.BatchNorm1d(4))),
    "bfloat16": lambda: nn.Sequential(linear(), nn.BatchNorm1d(4)).bfloat16(),
    "inference tensors": lambda: made_in_inference_mode(),
}


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return linear()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:Lazy modules")
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_a_strange_model_is_left_alone(kind: str, train: bool) -> None:
    model = MODELS[kind]()
    rows = torch.zeros(3, 4, dtype=torch.bfloat16 if kind == "bfloat16" else torch.float32)  # torch mixes none
    if kind in ("scripted", "scripted whole", "inference tensors"):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        profile = archprof.profile(model, rows, train=train)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    else:
        with Watch(model):
            profile = archprof.profile(model, rows, train=train)
    profile.check()
    if kind not in ("strange parameters", "orthogonal", "spectral_norm", "parametrized spectral_norm"):
        assert profile.totals.macs == 3 * 4 * 4 * (2 if kind == "tied" else 1)
    assert profile.ran.device == "meta"


def test_what_cannot_be_copied_is_left_alone(tmp_path: Any) -> None:
    model = Holds(str(tmp_path / "log"))
    with Watch(model):
        profile = archprof.profile(model, torch.zeros(3, 4))
    assert profile.totals.macs == 2 * 3 * 4 * 4
    assert not model.file.closed
    assert list(model.generator) == [0, 1, 2]
    model.file.close()


def test_a_model_on_meta_is_profiled_and_left_there() -> None:
    model = on_meta()
    with Watch(model):
        assert archprof.profile(model, IMAGE).totals.macs == 2 * 36 * 4 * 27
    model.body = lambda self, x: x * x.sum().item()
    with Watch(model):
        assert archprof.profile(model, IMAGE).totals.macs == 2 * 36 * 4 * 27
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_real_bfloat16_model_on_the_cpu_fallback() -> None:
    model = Net(lambda self, x: x * x.sum().item()).bfloat16()
    with Watch(model):
        profile = archprof.profile(model, torch.zeros(2, 3, 8, 8, dtype=torch.bfloat16))
    assert (profile.dtype, profile.ran.device) == ("bfloat16", "cpu")


def test_tensors_outside_the_model_gain_no_attribute() -> None:
    real, meta = torch.ones(4, 4), torch.ones(4, 4, device="meta")
    model = Net(lambda self, x: x.mean() + (GLOBALS["real"] @ GLOBALS["meta"]).sum())
    GLOBALS.update(real=real, meta=meta)
    given = torch.ones(2, 3, 8, 8)
    archprof.profile(model, given)
    for tensor in (real, meta, given):
        assert not vars(tensor)
        assert not [name for name in dir(tensor.untyped_storage()) if "archprof" in name]


GLOBALS: dict[str, torch.Tensor] = {}


def test_integer_inputs_are_not_written_to() -> None:
    model = Net()
    model.forward = lambda ids: ids.add_(1)
    ids = torch.zeros(5, dtype=torch.int64)
    archprof.profile(model, ids)
    assert not ids.any()


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "context",
    [
        torch.inference_mode,
        torch.no_grad,
        torch.enable_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.device("meta"),
    ],
)
def test_the_callers_context_neither_matters_nor_changes(context: Callable[[], Any], train: bool) -> None:
    model = Net()
    plain = archprof.profile(model, IMAGE, train=train).totals
    with context():
        before = of_process()
        assert archprof.profile(model, IMAGE, train=train).totals == plain
        assert of_process() == before


def test_a_torch_compiled_model_is_neither_compiled_nor_hidden() -> None:
    from torch._dynamo.utils import counters

    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    function = torch.compile(lambda x: x.sin() + 1)
    replaced = nn.Linear(4, 4)
    replaced.forward = torch.compile(replaced.forward)
    models = {
        48: [torch.compile(inner), nn.Sequential(torch.compile(inner)), replaced],
        0: [nn.Sequential(nn.ReLU()).append(Applies(function))],
    }
    counters.clear()
    for macs, made in models.items():
        for model in made:
            with Watch(model):
                profile = archprof.profile(model, torch.zeros(3, 4))
            assert profile.totals.macs == macs
            assert profile.totals.complete
    assert not counters["frames"]
    kinds = [layer.kind for layer in archprof.profile(torch.compile(inner), torch.zeros(3, 4)).layers]
    assert kinds == ["Sequential", "Linear", "ReLU"]


class Applies(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = [function]

    def forward(self, x: torch.Tensor) -> Any:
        return self.function[0](x)


def test_four_threads_profile_one_model() -> None:
    model = nn.Sequential(Net(), nn.Flatten(), nn.Linear(144, 5))
    expected = {train: archprof.profile(model, IMAGE, train=train) for train in (False, True)}
    with Watch(model), ThreadPoolExecutor(4) as pool:
        runs = [(i % 2 == 0, pool.submit(archprof.profile, model, IMAGE, train=i % 2 == 0)) for i in range(16)]
        results = [(train, run.result()) for train, run in runs]
    for train, result in results:
        assert result == expected[train]


def test_nothing_is_kept_alive() -> None:
    model = Net()
    reference = weakref.ref(model)
    archprof.profile(model, IMAGE, train=True)
    del model
    gc.collect()
    assert reference() is None
