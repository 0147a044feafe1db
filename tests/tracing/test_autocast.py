"""Autocast in a trace against torch's own: the same ops, in order, in the same dtypes, and the same live bytes.

Oracles: real autocast on the CPU; torch's dispatcher over fake tensors of CUDA, which stops before a backward pass; the
kernels that torch registers for autocast; and the lists that torch tests itself with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import torch
from autocast_nets import NETS, Custom
from autocast_oracles import run_pass, see_cuda, see_trace
from odd import Runs
from real_storages import train_for_real
from test_optimizer_step import live_bytes
from torch import nn
from torch.nn import functional

import archprof
from archprof.facts.request import PassRequest
from archprof.torchside.autocast import PassAutocast
from archprof.torchside.autocast_lists import LISTS
from archprof.tracing.profile import profile_model

pytestmark = pytest.mark.filterwarnings("ignore")

DTYPES = ["bfloat16", "float16"]
RNN_OF_CUDNN = {"_cudnn_rnn"}
"""Has a kernel of its own, in `archprof.tracing.whole_casts`."""


def trace_net(net: str, amp: str | None, train: bool, device: str = "cuda") -> archprof.Profile:
    make, shape = NETS[net]
    profile = profile_model(make(), shape, PassRequest(train=train, amp=amp, amp_device=device))
    profile.check()
    assert profile.ran.device == "meta"
    return profile


@pytest.mark.parametrize("device", LISTS)
def test_the_lists_are_those_of_this_torch(device: str) -> None:
    key = {"cuda": "AutocastCUDA", "cpu": "AutocastCPU"}[device]
    known = (name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names() if "aten::" in name)
    theirs = {name for name in known if torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", key)}
    ours = [name for names in LISTS[device].values() for name in names.split()]
    assert len(ours) == len(set(ours))
    assert set(ours) == theirs - RNN_OF_CUDNN


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("amp", DTYPES)
@pytest.mark.parametrize("net", NETS)
def test_every_op_by_the_rules_of_the_cpu(net: str, amp: str, train: bool) -> None:
    assert see_trace(trace_net(net, amp, train, "cpu")) == run_pass(*NETS[net], amp, train, "cpu")


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("amp", DTYPES)
@pytest.mark.parametrize("net", NETS)
def test_every_op_by_the_rules_of_cuda(net: str, amp: str, train: bool) -> None:
    theirs = see_cuda(*NETS[net], amp, train)
    assert see_trace(trace_net(net, amp, train))[: len(theirs)] == theirs


def load_torchs_lists() -> Any:
    """What torch tests its autocast with, which asks for a package that it does not need for this.

    It forbids to set flags of torch.backends, and sets variables: nothing of that may reach the tests after this one.
    """
    stub = ModuleType("expecttest")
    stub.TestCase = object  # type: ignore[attr-defined]
    with (
        mock.patch.dict(sys.modules, {"expecttest": sys.modules.get("expecttest", stub)}),
        mock.patch.dict(os.environ),
        mock.patch.dict(torch.backends.disable_global_flags.__globals__),
    ):
        from torch.testing._internal import autocast_test_lists

        return autocast_test_lists


def find_function(name: str, others: list[Any]) -> Any:
    places = (
        (torch.Tensor,) if name.startswith("__") else (*others, torch, torch._C._nn, torch._C._linalg, torch.Tensor)
    )
    return next(getattr(place, name) for place in places if hasattr(place, name))


def call_under_autocast(device: str, name: str, args: Any, rest: list[Any]) -> Any:
    options = next((one for one in rest if isinstance(one, dict)), {})
    function = find_function(name, [one for one in rest if isinstance(one, ModuleType)])
    args = torch.utils._pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), args)
    args = args if isinstance(args, tuple) else (args,)
    with PassAutocast(device).watch(), torch.autocast(device, torch.get_autocast_dtype(device)):
        return function(*args, **options)


LISTED = {
    "cuda": {
        "torch_fp16": "float16", "nn_fp16": "float16", "linalg_fp16": "float16", "methods_fp16": "float16",
        "torch_fp32": "float32", "nn_fp32": "float32", "methods_fp32": "float32",
        "torch_need_autocast_promote": "float32", "torch_expect_builtin_promote": None,
        "methods_expect_builtin_promote": None,
    },
    "cpu": {
        "torch_16": "bfloat16", "nn_16": "bfloat16", "torch_fp32": "float32", "nn_fp32": "float32",
        "torch_need_autocast_promote": "float32", "torch_expect_builtin_promote": None,
        "methods_expect_builtin_promote": None,
    },
}  # fmt: skip
"""The dtype that torch's tests expect of the results, by the name of a list; `None`: each entry has its own."""

NO_META = {"_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "cudnn_convolution", "cudnn_convolution_transpose", "equal"}
"""Ops without a kernel for meta tensors."""


@pytest.mark.parametrize(("device", "listed"), [(device, listed) for device in LISTED for listed in LISTED[device]])
def test_torchs_own_lists(device: str, listed: str) -> None:
    module = load_torchs_lists()
    lists = {"cuda": module.AutocastTestLists, "cpu": module.AutocastCPUTestLists}[device](torch.device("cpu"))
    wanted, tried = LISTED[device][listed], 0
    for name, args, *rest in getattr(lists, listed):
        if name == "einsum":  # is written there in another way, and is in a net here
            continue
        try:
            result = call_under_autocast(device, name, args, rest)
        except NotImplementedError:
            assert name in NO_META
            continue
        first = result[0] if isinstance(result, tuple | list) else result
        if isinstance(first, torch.Tensor):
            tried += 1
            told = [one for one in rest if isinstance(one, torch.dtype)]
            expected = told[0] if wanted is None else getattr(torch, wanted)
            assert first.dtype == expected, name
    assert tried


class Under(nn.Module):
    """A model that enters autocast itself, for the CPU."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = inner, dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", self.dtype):
            return self.inner(x)


@pytest.mark.parametrize("amp", DTYPES)
@pytest.mark.parametrize("net", [net for net in NETS if net != "mean squares"])  # the CPU's kernel keeps the squares
def test_live_bytes_are_those_of_real_training(net: str, amp: str) -> None:
    make, shape = NETS[net]
    real = train_for_real(Under(make(), getattr(torch, amp)), (torch.randn(shape),), torch.optim.SGD)
    request = PassRequest(train=True, optimizer="sgd(foreach=False)", amp=amp, amp_device="cpu")
    asked = profile_model(make(), shape, request)
    entered = archprof.profile(Under(make(), getattr(torch, amp)), shape, train=True, optimizer="sgd(foreach=False)")
    for profile in (asked, entered):
        profile.check()
        assert live_bytes(profile, "first") == real[0]
        assert live_bytes(profile, "steady") == real[1] == real[2]


def test_bytes_and_flops_of_a_layer_by_hand() -> None:
    """A linear layer 4 -> 3 without bias over 2 rows: both casts, then 2 x 4 and 4 x 3 elements in, 2 x 3 out."""
    profile = archprof.profile(nn.Linear(4, 3, bias=False), (2, 4), amp="bfloat16")
    found = [(op.name, op.signature.bytes_read, op.signature.bytes_written, op.signature.macs) for op in profile.ops]
    assert [one for one in found if one[0] != "aten.t"] == [
        ("aten._to_copy", 4 * 12, 2 * 12, 0), ("aten._to_copy", 4 * 8, 2 * 8, 0),
        ("aten.mm", 2 * (8 + 12), 2 * 6, 2 * 4 * 3),
    ]  # fmt: skip
    assert (profile.dtype, profile.ran.autocast, profile.product_dtype) == ("float32", "bfloat16", "bfloat16")
    assert "float32 under autocast to bfloat16" in repr(profile)
    assert any("Autocast to bfloat16 by CUDA's rules" in note for note in profile.notes)


def test_attention_is_one_op_in_the_dtype_of_autocast() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(
            *self.line(x).view(2, 2, 5, 12).chunk(3, -1), torch.ones(5, 5)
        )  # the mask is cast, too

    profile = archprof.profile(Runs(run, line=nn.Linear(8, 24)), (2, 5, 8), amp="float16", train=True)
    whole = [op.signature for op in profile.ops if "attention" in op.name]
    assert [signature.name for signature in whole] == [
        "aten.scaled_dot_product_attention.default", "aten.scaled_dot_product_attention_backward.default",
    ]  # fmt: skip
    assert [spec.dtype for spec in whole[0].inputs] == ["float16"] * 4
    assert whole[0].outputs[0].dtype == "float16"


@pytest.mark.parametrize("amp", DTYPES)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_of_cudnn(kind: Any, amp: str) -> None:
    """cuDNN's run in float16 in either case, over one buffer of all weights that is made in each call."""
    net = kind(4, 6, 2, bidirectional=True)
    profile = archprof.profile(net, (3, 2, 4), amp=amp, train=True)
    profile.check()
    whole = next(op.signature for op in profile.ops if op.name in ("aten.lstm", "aten.gru", "aten.rnn_tanh"))
    assert {spec.dtype for spec in (*whole.inputs, *whole.outputs)} == {"float16"}
    weights = sum(weight.numel() for weight in net.parameters())
    assert [one.nbytes for one in profile.storages if one.dtype == "float16"].count(2 * weights) == 1
    plain = archprof.profile(net, (3, 2, 4), train=True)
    assert profile.totals.macs == plain.totals.macs
    assert sum(op.name == "aten._to_copy" and op.phase == "backward" for op in profile.ops) >= len(
        list(net.parameters())
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_of_the_cpu(kind: Any) -> None:
    profile = profile_model(kind(4, 6), (3, 2, 4), PassRequest(amp="bfloat16", amp_device="cpu"))
    with torch.no_grad(), torch.autocast("cpu"):
        theirs = kind(4, 6)(torch.zeros(3, 2, 4))[0].dtype
    assert f"torch.{profile.layers[0].outputs[0].dtype}" == str(theirs)


def test_inputs_of_a_custom_function_are_cast() -> None:
    profile = archprof.profile(Custom(), (2, 8), amp="bfloat16", train=True)
    doubled = [op.signature.inputs[0].dtype for op in profile.ops if op.name == "aten.mul"]
    assert doubled == ["float32", "float32"]


@pytest.mark.parametrize("device", ["cuda", "cpu", "meta"])
def test_a_model_that_enters_autocast(device: str) -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        assert torch.is_autocast_enabled(device) is False
        with torch.autocast(device, dtype=torch.bfloat16):
            assert torch.is_autocast_enabled(device)
            assert torch.get_autocast_dtype(device) == torch.bfloat16
            return self.layer(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = archprof.profile(Runs(run, layer=nn.Linear(4, 4)), (2, 4))
    assert profile.ran.device == "meta"
    assert profile.layers[0].outputs[0].dtype == "bfloat16"
    rules = "the CPU's" if device == "cpu" else "CUDA's"
    assert profile.notes == (
        f"Autocast to bfloat16 by {rules} rules: each op runs, and is counted, in the dtype that it has there.",
    )


def test_a_pass_on_real_tensors_follows_the_same_rules() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x * (1 + 0 * x.sum().item())
        return functional.layer_norm(self.layer(x), (4,)).softmax(-1)

    real = archprof.profile(Runs(run, layer=nn.Linear(4, 4)), (2, 4), amp="bfloat16")
    assert real.ran.device == "cpu"
    found = [(op.name, op.signature.outputs[0].dtype) for op in real.ops if op.signature.outputs]
    assert [one for one in found if one[0] in ("aten.addmm", "aten.native_layer_norm", "aten._softmax")] == [
        ("aten.addmm", "bfloat16"), ("aten.native_layer_norm", "float32"), ("aten._softmax", "float32"),
    ]  # fmt: skip


def test_the_callers_autocast_is_not_that_of_the_pass() -> None:
    """Nor does it keep the casts of a pass longer than the pass's own would."""
    net = Under(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.bfloat16)
    plain, asked = archprof.profile(net, (2, 4)), archprof.profile(net.inner, (2, 4), amp="float16")
    with torch.autocast("cpu", torch.bfloat16):
        assert archprof.profile(net, (2, 4)).storages == plain.storages
        assert archprof.profile(net.inner, (2, 4), amp="float16").storages == asked.storages
        assert torch.is_autocast_enabled("cpu")
        assert nn.Linear(4, 4)(torch.zeros(2, 4)).dtype == torch.bfloat16
        assert torch.autocast_decrement_nesting() == 0
        torch.autocast_increment_nesting()


def test_torch_is_afterwards_what_it_was() -> None:
    places = (torch, torch.amp, torch.amp.autocast_mode, torch.autocast)
    before = [vars(place).copy() for place in places]

    def leave_on(self: Any, x: torch.Tensor) -> torch.Tensor:
        torch.autocast("cpu", torch.float16).__enter__()
        raise ValueError("left in the middle")

    with pytest.raises(archprof.TraceError):
        archprof.profile(Runs(leave_on, layer=nn.Linear(4, 4)), (2, 4), amp="float16")
    assert [vars(place) for place in places] == before
    assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cuda")
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert nn.Linear(4, 4)(torch.zeros(2, 4)).dtype == torch.float32
    assert nn.Linear(4, 4, device="meta")(torch.zeros(2, 4, device="meta")).dtype == torch.float32


def test_losses_that_cuda_refuses_are_refused() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy(self.layer(x).sigmoid(), x)

    with pytest.raises(archprof.TraceError, match="unsafe to autocast"):
        archprof.profile(Runs(run, layer=nn.Linear(4, 4)), (2, 4), amp="float16")


@pytest.mark.parametrize(
    ("model", "inputs", "amp", "message"),
    [
        (nn.Linear(4, 4), (2, 4), "int8", "Autocast cannot run in 'int8'.\nAllowed: bfloat16, float16"),
        (nn.Linear(4, 4), (2, 4), "float32", "Autocast cannot run in 'float32'"),
        (Runs(lambda self, x: x + 1), torch.ones(3, dtype=torch.int64), "float16", "nothing for autocast to cast"),
        (nn.Linear(4, 4, dtype=torch.float64), torch.ones(2, 4).double(), "float16", "nothing for autocast to cast"),
    ],
)
def test_what_cannot_be_is_refused(model: nn.Module, inputs: Any, amp: str, message: str) -> None:
    with pytest.raises(archprof.UsageError, match=message):
        archprof.profile(model, inputs, amp=amp)


def test_a_saved_profile_keeps_what_was_asked(tmp_path: Any) -> None:
    profile = archprof.profile("lenet5", amp="float16")
    profile.save(tmp_path / "a.json")
    read = archprof.load(tmp_path / "a.json")
    assert (read.ran, read.ops) == (profile.ran, profile.ops)
    with pytest.raises(archprof.UsageError, match="float32 against float32 under autocast to float16"):
        archprof.check("lenet5", baseline=str(tmp_path / "a.json"))
    assert archprof.check("lenet5", amp="float16", baseline=str(tmp_path / "a.json"))[0].ok


def test_a_plain_pass_does_nothing_for_autocast() -> None:
    """No op is registered, and no list is read, until autocast is on."""
    script = (
        "import sys, archprof; archprof.profile('lenet5', train=True); "
        "from archprof.torchside import autocast; "
        "print(autocast._libraries, 'archprof.torchside.autocast_lists' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{} False"


def test_autocast_in_another_thread_is_that_of_the_thread() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        found: list[torch.Tensor] = []

        def work() -> None:
            with torch.autocast("cuda", dtype=torch.float16):
                found.append(self.there(x))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return self.here(found[0].float())

    profile = archprof.profile(Runs(run, here=nn.Linear(4, 4), there=nn.Linear(4, 4)), (2, 4))
    assert {layer.path: layer.outputs[0].dtype for layer in profile.layers if layer.path} == {
        "here": "float32", "there": "float16",
    }  # fmt: skip
