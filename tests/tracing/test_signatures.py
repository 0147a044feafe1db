"""What ops share: name with overload, arguments, layouts, and what autograd keeps, against torch's own graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import archprof
from archprof.facts.records import Kept, Op, Profile, TensorSpec


class Forward(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args):
        return self.function(self, *args)


def ops_named(profile: Profile, name: str) -> list[Op]:
    return [op for op in profile.ops if op.name == name]


def test_equal_layers_share_one_signature():
    profile = archprof.profile(nn.Sequential(*[nn.Linear(8, 8) for _ in range(126)]), (2, 8))
    products = ops_named(profile, "aten.addmm")
    assert len(products) == 126
    assert len({id(op.signature) for op in products}) == 1


def test_names_are_those_that_torch_dispatches():
    class Listening(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            heard.append((str(func), len(args), sorted(kwargs or {})))
            return func(*args, **(kwargs or {}))

    heard: list[tuple[str, int, list[str]]] = []
    model = Forward(
        lambda m, x: functional.relu(torch.add(x.transpose(0, 1), x.sum(0, keepdim=True), alpha=2)).mean(-1)
    )
    x = torch.zeros(3, 3)
    with torch.no_grad(), Listening():
        model(x)
    profile = archprof.profile(model, (3, 3))
    assert [
        (op.signature.name, len(op.args), sorted(name for name, _ in op.signature.kwargs)) for op in profile.ops
    ] == heard
    assert [op.name for op in profile.ops] == [name.rpartition(".")[0] for name, _, _ in heard]


def test_all_arguments_are_kept_plain():
    model = Forward(lambda m, x: torch.add(functional.pad(x, (1, 2), value=0.5), 3, alpha=2).to(torch.float16))
    padded, added, cast = archprof.profile(model, (2, 4)).ops
    assert padded.args == ("<tensor>", (1, 2), 0.5)
    assert (added.signature.name, added.args) == ("aten.add.Tensor", ("<tensor>", 3))
    assert added.signature.kwargs == (("alpha", 2),)
    assert ("dtype", "torch.float16") in cast.signature.kwargs
    hash(padded.signature)
    optional = archprof.profile(nn.Conv2d(3, 4, 3, bias=False), (1, 3, 8, 8)).ops[0]
    assert optional.args[:3] == ("<tensor>", "<tensor>", None)


def test_strides_are_there_where_they_are_not_plain():
    transposed, product = archprof.profile(Forward(lambda m, x: x.t() @ x), (2, 3)).ops[:2]
    assert transposed.signature.inputs == (TensorSpec((2, 3), "float32"),)
    assert transposed.signature.outputs == (TensorSpec((3, 2), "float32", (1, 3)),)
    assert product.signature.inputs == (TensorSpec((3, 2), "float32", (1, 3)), TensorSpec((2, 3), "float32"))


def test_the_same_op_on_another_layout_is_another_signature():
    model = Forward(lambda m, x: (torch.relu(x), torch.relu(x.to(memory_format=torch.channels_last))))
    first, second = ops_named(archprof.profile(model, (1, 2, 3, 3)), "aten.relu")
    assert first.signature.inputs != second.signature.inputs


def test_what_autograd_keeps_is_what_torchs_nodes_hold():
    """By torch's derivatives: a product keeps both factors, relu its result, tanh its result, a sum nothing."""
    x = torch.ones(2, 2, requires_grad=True)
    assert torch.relu(x).grad_fn._saved_result is not None
    assert torch.tanh(x).grad_fn._saved_result is not None
    assert {"_saved_self", "_saved_mat2"} <= set(dir((x @ x).grad_fn))
    model = Forward(lambda m, x: torch.tanh(torch.relu(m.w @ x) + x).sum(), w=nn.Parameter(torch.ones(2, 2)))
    profile = archprof.profile(model, torch.ones(2, 2), train=True)
    kept = {op.name: op.signature.keeps for op in profile.ops if op.phase == "forward"}
    assert kept == {
        "aten.mm": Kept((1,)),  # only the weight has a gradient, for which the other factor is needed
        "aten.relu": Kept((), (0,)),
        "aten.add": Kept(),
        "aten.tanh": Kept((), (0,)),
        "aten.sum": Kept(),
    }
    assert {op.signature.keeps for op in profile.ops if op.phase == "backward"} == {None}
    assert {op.signature.keeps for op in archprof.profile(model, torch.ones(2, 2)).ops} == {None}


def kept_bytes(function, *tensors) -> list[int]:
    """What autograd keeps on the CPU: bytes of each storage, without single random numbers."""
    found: dict[int, int] = {}

    def pack(tensor):
        if tensor.dim():
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = function(*tensors)
    assert out is not None
    return sorted(found.values())


def test_attention_keeps_its_result_and_a_number_per_query_as_torch_does():
    """Flash attention on the CPU: query, key, value, result (2 heads, 5 and 7 positions of 8), logsumexp."""
    shapes = ((1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8))
    tensors = [torch.randn(shape, requires_grad=True) for shape in shapes]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        torchs = kept_bytes(functional.scaled_dot_product_attention, *tensors)
    model = Forward(lambda m: functional.scaled_dot_product_attention(m.q * 1, m.k * 1, m.v * 1), **{
        name: nn.Parameter(torch.zeros(shape)) for name, shape in zip("qkv", shapes, strict=True)
    })  # fmt: skip
    profile = archprof.profile(model, (), train=True)
    [op] = [op for op in profile.ops if op.name == "aten.scaled_dot_product_attention"]
    assert op.signature.keeps == Kept((0, 1, 2), (0, 1))
    assert op.signature.outputs == (TensorSpec((1, 2, 5, 8), "float32"), TensorSpec((1, 2, 5), "float32"))
    ours = [profile.tensors[index].storage for index in (*op.inputs, *op.outputs)]
    assert sorted(profile.storages[place].nbytes for place in ours) == torchs
    assert all(profile.storages[place].saved for place in ours)


def test_the_result_of_attention_lives_until_its_backward():
    model = Forward(
        lambda m, x: m.out(functional.scaled_dot_product_attention(*m.qkv(x).chunk(3, -1))),
        qkv=nn.Linear(8, 24), out=nn.Linear(8, 8),
    )  # fmt: skip
    profile = archprof.profile(model, (1, 2, 5, 8), train=True)
    [back] = [i for i, op in enumerate(profile.ops) if op.name == "aten.scaled_dot_product_attention_backward"]
    [there] = [op for op in profile.ops if op.name == "aten.scaled_dot_product_attention"]
    for tensor in there.outputs:
        storage = profile.storages[profile.tensors[tensor].storage]
        assert storage.saved
        assert storage.died is not None
        assert storage.died >= back


def test_a_recurrent_layer_keeps_what_its_fused_cells_keep():
    """torch's fused cell keeps its four gates and its new state: 5 x 7 per step and sequence; 3 steps of 2, 2 layers.

    Between the layers stands the output of the first, 7 wide.
    """
    profile = archprof.profile(nn.LSTM(4, 7, num_layers=2), (3, 2, 4), train=True)
    [op] = [op for op in profile.ops if op.name == "aten.lstm"]
    assert op.signature.name == "aten.lstm.input"
    result, _hidden, _cell, reserve = op.signature.outputs
    assert result.shape == (3, 2, 7)
    assert reserve.numel == 3 * 2 * (2 * 5 * 7 + 7)
    assert op.signature.keeps is not None
    assert op.signature.keeps.outputs == (0, 3)
    assert all(profile.storages[profile.tensors[index].storage].saved for index in (op.outputs[0], op.outputs[3]))


def test_a_dtype_of_tomorrow_loads_in_a_fresh_process(tmp_path: Path):
    """Two 4-bit numbers in each byte: a dtype that the table of item sizes does not hold."""
    model = nn.Linear(4, 4)
    model.register_buffer("packed", torch.zeros(6, dtype=torch.uint8).view(torch.float4_e2m1fn_x2))
    profile = archprof.profile(model, (1, 4))
    assert "float4_e2m1fn_x2" not in archprof.facts.records.ITEM_BYTES
    [packed] = [one for one in profile.parameters if one.name == "packed"]
    assert (packed.spec.dtype, packed.nbytes, packed.spec.item_bytes) == ("float4_e2m1fn_x2", 6, 1)
    profile.save(tmp_path / "four.json")
    code = (
        f"import archprof; p = archprof.load({str(tmp_path / 'four.json')!r}); print(p.totals.buffers, p.totals.macs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "16"]
    columns = json.loads((tmp_path / "four.json").read_text())["specs"]["columns"]
    assert columns == ["shape", "dtype", "strides", "item_bytes"]
