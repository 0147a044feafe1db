"""What a pass remembers of ops it has seen: no number may depend on it.

The oracle is the same pass with a memory that never keeps anything, where every op is answered by its rule or by torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fuzz.generator import generate
from torch import nn
from torch.nn import functional
from tracing.odd import ODD

import archprof
from archprof.facts.records import Profile
from archprof.tracing import op_memo, shared_specs
from archprof.tracing.op_memo import OpMemo
from archprof.tracing.ops.costs import registry

seen: list[Any] = []
"""What a forward saw. It stands here, since a list that a model holds is copied with the model."""


class Times(nn.Module):
    """A module that runs a function several times on the same inputs, so that all but the first calls are known."""

    def __init__(self, run: Callable[..., Any], times: int = 4, **parts: Any) -> None:
        super().__init__()
        self.run, self.times = run, times
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return [self.run(self, *args, **kwargs) for _ in range(self.times)]


def body(self: Any, *args: Any, **kwargs: Any) -> Any:
    """What `Times` runs of a model that it holds."""
    return self.body(*args, **kwargs)


def forgetful(monkeypatch: pytest.MonkeyPatch, model: Any, inputs: Any = None, **options: Any) -> Profile:
    """The profile of a pass that remembers nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(op_memo, "_answers", [])
        patch.setattr(OpMemo, "remember", lambda *args, **named: None)
        return archprof.profile(model, inputs, **options)


def same(monkeypatch: pytest.MonkeyPatch, model: Any, inputs: Any = None, **options: Any) -> Profile:
    """The profile, after it was compared with that of a pass without memory: every op, tensor, storage and row."""
    expected = forgetful(monkeypatch, model, inputs, **options)
    for _ in range(3):  # the second keeps answers, with which the third begins
        profile = archprof.profile(model, inputs, **options)
        assert profile == expected
    profile.check()
    return profile


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet50", "resnet20_cifar", "torchvision:vit_b_16",
                                  "torchvision:swin_v2_t", "torchvision:densenet121", "torchvision:googlenet",
                                  "torchvision:convnext_tiny"])  # fmt: skip
def test_models_of_repeated_blocks(monkeypatch: pytest.MonkeyPatch, name: str, train: bool) -> None:
    same(monkeypatch, name, train=train)


@pytest.mark.parametrize("name", ODD)
def test_odd_models(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each is made anew for each pass, since some change when they are first called."""
    torch.manual_seed(0)
    expected = forgetful(monkeypatch, Times(body, body=ODD[name].make()), ODD[name].inputs)
    torch.manual_seed(0)
    assert archprof.profile(Times(body, body=ODD[name].make()), ODD[name].inputs) == expected


def compare(run: Callable[..., Any], *args: torch.Tensor) -> None:
    """What forward gets in a pass against what torch gives it: shapes, strides, offsets, dtypes, negated or not."""
    seen.clear()

    def noted(_self: Any, *args: torch.Tensor) -> Any:
        result = run(*args)
        seen.append([(t.shape, t.stride(), t.storage_offset(), t.dtype, t.is_neg()) for t in result])
        return result

    archprof.profile(Times(noted), args)
    made = run(*[torch.empty_like(arg) for arg in args])
    expected = [(t.shape, t.stride(), t.storage_offset(), t.dtype, t.is_neg()) for t in made]
    assert seen == [expected] * 4


X = torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    "run",
    [
        lambda x: list(x.chunk(2, 1)),
        lambda x: [part[1:] for part in x.unbind(1)],
        lambda x: [x[:, 1:, ::2], x[:, 1:, ::2][:, 1:], x.permute(3, 0, 1, 2)[2]],
        lambda x: [x + 1, x.int() + 1, x.int() + 1.0, x.int() + True, x > 1],
        lambda x: [x.int() / 2, x.int().mean(dtype=torch.float64), x.half() * 2.0],
        lambda x: [x.to(memory_format=torch.channels_last) * 2, x * 2],
        lambda x: [*functional.max_pool2d(x, 2, return_indices=True), *torch.var_mean(x, 1)],
        lambda x: [x.clone().transpose_(1, 2).add_(1), x.clone().unsqueeze_(0), x.clone().squeeze_()],
        lambda x: [torch.cat([x, x[:, :0]], 1), torch.cat([x, x], -1), torch.stack([x, x])],
        lambda x: [x.expand(3, 2, 3, 4, 5).reshape(3, -1), x.reshape(-1), x.new_zeros(2), torch.empty(3, 0)],
        lambda x: [torch.view_as_complex(x.reshape(4, 15, 2)).conj().imag[1:]],
        lambda x: [torch.add(x, 1, out=x.new_empty(0)), x.new_empty(3).resize_(4, 5), torch.add(x, 1, out=x.clone())],
        lambda x: [x.roll(1, 2), x.flip(1), x.cumsum(1), x.topk(2)[1], x.sort(1)[0]],
    ],
)
def test_repeated_calls_return_what_torch_returns(run: Callable[..., Any]) -> None:
    compare(run, X)


def test_an_answer_holds_for_views_at_other_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same slice of two halves of one tensor begins at two places."""
    seen.clear()

    def run(_self: Any, x: torch.Tensor) -> Any:
        seen.append([half[1:].storage_offset() for half in x.chunk(2)])
        seen.append([half.as_strided((2,), (1,), 3).storage_offset() for half in x.chunk(2)])
        return x

    same(monkeypatch, Times(run), (torch.zeros(4, 5),))
    assert seen == [[5, 15], [3, 3]] * 16


def test_the_default_dtype_is_part_of_the_question() -> None:
    """An integer division gives the default dtype, which forward may change."""
    seen.clear()

    def run(_self: Any, x: torch.Tensor) -> Any:
        before = torch.get_default_dtype()
        for dtype in (torch.float32, torch.float64) * 3:
            torch.set_default_dtype(dtype)
            seen.append((x / 2).dtype)
        torch.set_default_dtype(before)
        return x

    archprof.profile(Times(run, 1), (torch.zeros(3, dtype=torch.int64),))
    assert seen == [torch.float32, torch.float64] * 3


def test_a_tensor_that_code_gave_other_data_is_asked_anew() -> None:
    """`x.data = y` and `x.set_(y)` change a tensor's shape where no op returns it."""
    seen.clear()

    def run(_self: Any, x: torch.Tensor) -> Any:
        y = x.clone()
        seen.append((y * 2).shape)
        y.data = x[:1].clone()
        seen.append((y * 2).shape)
        y.set_(x.t())
        seen.append((y * 2).shape)
        seen.append(x.clone().set_(x).untyped_storage()._cdata == x.untyped_storage()._cdata)
        return y

    archprof.profile(Times(run), (torch.zeros(3, 5),))
    assert seen == [(3, 5), (1, 5), (5, 3), True] * 4


def test_one_tensor_read_twice_is_read_once_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """x * x moves half of what x * y does, whichever of them came first."""

    def run(_self: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
        return [x * y, x * x, x * y, x * x, y * x, y * y]

    profile = same(monkeypatch, Times(run), (torch.zeros(5), torch.zeros(5)))
    assert [op.signature.bytes_read for op in profile.ops] == [40, 20, 40, 20, 40, 20] * 4


def test_an_answer_does_not_mix_up_an_input_with_the_tensor_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """`out=x` beside `x` is asked as `out=z` beside `x` is, and what comes back is the last of the three."""

    def run(_self: Any, x: torch.Tensor) -> Any:
        for _ in range(3):
            y = x.clone()
            torch.add(y, x, out=y)
        return torch.add(x, x.clone(), out=x.clone())

    profile = same(monkeypatch, Times(run), (torch.zeros(3, 4),))
    assert all(op.outputs == op.inputs[-1:] for op in profile.ops if op.name == "aten.add")


def test_further_results_stay_auxiliary_until_somebody_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_self: Any, x: torch.Tensor) -> Any:
        values, indices = functional.max_pool2d(x, 2, return_indices=True)
        functional.max_pool2d(x, 2, return_indices=True)
        return values + indices

    profile = same(monkeypatch, Times(run), (torch.zeros(1, 1, 4, 4),))
    made = [storage.role for storage in profile.storages if storage.born is not None]
    assert made == ["activation", "activation", "activation", "auxiliary", "activation"] * 4


def test_storages_die_when_they_would_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_self: Any, x: torch.Tensor) -> Any:
        for _ in range(5):
            x = functional.relu(x + 1).view(-1)[1:]
        return x

    same(monkeypatch, Times(run), (torch.zeros(4, 5),))


def test_a_rule_of_the_users_own_is_not_asked_each_time() -> None:
    """It is a function of shapes, so that one answer holds; what it says is charged each time."""
    seen.clear()
    model = Times(lambda _self, x: [torch.special.entr(x), torch.special.entr(x[:1])])

    @archprof.register_cost("aten.special_entr")
    def cost(result: torch.Tensor, x: torch.Tensor) -> tuple[int, int]:
        seen.append(tuple(x.shape))
        return 0, 3 * x.numel()

    try:
        profile = archprof.profile(model, (torch.zeros(2, 5),))
    finally:
        from archprof.tracing.ops.costs import registry

        del registry._rules["aten.special_entr"]
    assert profile.totals.flops == 4 * 3 * (10 + 5)
    assert seen == [(2, 5), (1, 5)] * 2  # the second call is the sign that more may come


@pytest.mark.parametrize("seed", range(40))
def test_random_modules(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    net, inputs, _, _ = generate(seed)
    same(monkeypatch, Times(body, body=net), tuple(inputs))


def test_answers_of_earlier_passes_are_counted_by_the_rules_of_this_one() -> None:
    """A rule that was put in place of another, and causal scores counted otherwise, between passes of one model."""
    relu, wide = nn.ReLU(), torch.empty(1, 8, device="meta")
    for _ in range(3):
        assert archprof.profile(relu, wide).totals.flops == 8
    before = registry._rules["aten.relu"]
    try:
        archprof.register_cost("aten.relu")(lambda result, x: (0, 100))
        assert archprof.profile(relu, wide).totals.flops == 100
    finally:
        registry._rules["aten.relu"] = before
        registry._changed.append("aten.relu")

    class Causal(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(x, x, x, is_causal=True)

    tokens = torch.empty(1, 1, 16, 4, device="meta")
    for _ in range(3):
        full, half = (archprof.profile(Causal(), tokens, causal=how).totals.macs for how in ("full", "half"))
        assert (full, half) == (2 * 16 * 16 * 4, 2 * (16 * 17 // 2) * 4)


def test_answers_go_with_the_layouts_that_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layouts are compared as objects, so that answers with those of a table that was dropped are none."""
    net, x = nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True), nn.Flatten()), torch.empty(1, 3, 4, device="meta")
    expected = forgetful(monkeypatch, net, x)
    for most in (10_000, 10_000, 10_000, 0, 0, 0):
        monkeypatch.setattr(shared_specs, "MAX_SHARED_SPECS", most)
        monkeypatch.setattr(op_memo, "MAX_SHARED_ANSWERS", 10_000 if most else 1)
        assert archprof.profile(net, x) == expected
