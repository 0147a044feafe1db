"""Models as people write them. Oracle: a count by hand, in `odd`, and torch's own counter where it sees all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn
from tracing.odd import LINE, ODD, ROWS, Runs, line

import archprof
from archprof.errors import ArchprofError, TraceError
from archprof.tracing.oracles import torch_macs

pytestmark = pytest.mark.filterwarnings("ignore")

SEES_LESS = {
    "old spectral_norm": "it leaves out a product with a vector",
    "complex weights": "it takes a complex product for one real one",
    "a Fourier layer": "it takes a complex product for one real one",
}
"""Why torch's counter gives another number."""

NOT_ON_META = ("a Jacobian in forward", "a shape that depends on data", "lazy layers")


@pytest.mark.parametrize("name", ODD)
def test_forward(name: str) -> None:
    case = ODD[name]
    profile = archprof.profile(case.make(), case.inputs)
    profile.check()
    totals = profile.totals
    assert (totals.macs, totals.params, totals.complete) == (case.macs, case.params, case.complete)
    assert profile.ran.device == case.device
    fallback = [note for note in profile.notes if "computes gradients itself" not in note]
    assert bool(fallback) == (case.device == "cpu")


@pytest.mark.parametrize("name", [name for name, case in ODD.items() if case.train is not None])
def test_backward(name: str) -> None:
    case = ODD[name]
    profile = archprof.profile(case.make(), case.inputs, train=True)
    profile.check()
    assert (profile.totals.macs, profile.totals.backward_macs) == (case.macs, case.train)


@pytest.mark.parametrize("name", ODD)
def test_torchs_counter(name: str) -> None:
    case = ODD[name]
    plain = isinstance(case.inputs, torch.Tensor)
    if case.device == "cpu" or not plain or not case.complete or name in NOT_ON_META:
        pytest.skip("it cannot run there on meta")
    counted = torch_macs(case.make().eval(), (case.inputs,))
    assert (counted == case.macs) != (name in SEES_LESS)


def test_a_training_spectral_norm_iterates() -> None:
    made = nn.utils.spectral_norm(line())
    assert archprof.profile(made, ROWS, train=True).totals.macs == LINE + 2 * 16 + 16 + 4


def test_lists_of_sequences() -> None:
    """A packed sequence as an input keeps its lengths."""
    packed = rnn.pack_sequence([torch.zeros(3, 4), torch.zeros(2, 4)])
    profile = archprof.profile(nn.LSTM(4, 6), [packed])
    assert profile.totals.macs == 5 * 4 * 6 * (4 + 6)


def test_inputs_that_are_more_than_a_shape() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.contiguous())

    model = Runs(run, layer=line())
    assert archprof.profile(model, torch.zeros(3, 4)).totals.activation_elements == 12
    assert archprof.profile(model, torch.zeros(4, 3).T).totals.activation_elements == 24
    given = torch.zeros(3, 4, requires_grad=True)
    assert archprof.profile(model, given, train=True).totals.backward_macs == 2 * LINE
    assert archprof.profile(model, given.detach(), train=True).totals.backward_macs == LINE
    assert given.grad is None


def test_the_layout_of_an_lstm_costs_a_copy() -> None:
    """Found by the fuzz run (seed 376): batch first, a result is laid out step by step, so a linear layer copies it."""
    model = Runs(lambda self, x: self.head(self.lstm(x)[0]), lstm=nn.LSTM(4, 6, batch_first=True), head=line(6, 5))
    profile = archprof.profile(model, (2, 3, 4))
    states = 2 * 2 * 6
    assert [op.name for op in profile.ops].count("aten.clone") == 1
    assert profile.totals.activation_elements == states + 2 * 3 * (6 + 6 + 5) + states  # zeros that go in, states


def test_attention_over_an_expanded_query() -> None:
    """Found by the fuzz run (seed 484): a dimension of stride 0 keeps its place in the layout of the result."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        query = x[:1].expand(3, 4, 5, 8)
        return nn.functional.scaled_dot_product_attention(query, x, x).view(3, 4, 40)

    assert archprof.profile(Runs(run), (3, 4, 5, 8)).totals.activation_elements == 480


@pytest.mark.parametrize("kind", ["sparse", "quantised"])
def test_layouts_among_the_inputs(kind: str) -> None:
    """What a sparse product does depends on its values; taking quantised numbers apart has no rule."""
    eye = torch.eye(4)
    given = eye.to_sparse() if kind == "sparse" else torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8)
    model = line() if kind == "sparse" else Runs(lambda self, x: self.layer(x.dequantize()), layer=line())
    totals = archprof.profile(model, [given]).totals
    assert (totals.macs, totals.complete) == (0 if kind == "sparse" else 64, False)


def test_nested_tensors_are_refused() -> None:
    jagged = torch.nested.nested_tensor([torch.zeros(1, 4), torch.zeros(2, 4)], layout=torch.jagged)
    with pytest.raises(ArchprofError, match="Nested tensors are not traced"):
        archprof.profile(line(), [jagged])
    with pytest.raises(TraceError, match="Nested tensors are not traced"):
        archprof.profile(Runs(lambda self, x: torch.nested.nested_tensor([x[:1], x], layout=torch.jagged)), ROWS)


class Cache:
    """An object of the user's own that a forward writes to."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []


def test_an_object_among_the_inputs_is_copied() -> None:
    def run(self: Any, x: torch.Tensor, cache: Cache) -> torch.Tensor:
        cache.kept.append(self.layer(x))
        return cache.kept[-1]

    cache = Cache()
    assert archprof.profile(Runs(run, layer=line()), [ROWS, cache]).totals.macs == LINE
    assert cache.kept == []


def test_model_outputs_of_transformers() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")

    def run(self: Any, given: Any) -> Any:
        return outputs.BaseModelOutput(last_hidden_state=self.layer(given.last_hidden_state))

    model = Runs(run, layer=line())
    profile = archprof.profile(model, [outputs.BaseModelOutput(last_hidden_state=ROWS)])
    assert (profile.totals.macs, profile.layers[0].outputs[0].shape) == (LINE, (3, 4))
    assert archprof.profile(model, [outputs.BaseModelOutput(last_hidden_state=ROWS)], train=True).totals.backward_macs


@pytest.mark.parametrize("returned", ["pair", "triple", "strings"])
def test_a_factory_with_its_inputs(tmp_path: Any, returned: str) -> None:
    forms = {
        "pair": "model, {'x': torch.zeros(3, 4), 'scale': 2.0, 'size': None}",
        "triple": "model, (torch.zeros(3, 4),), {'scale': 2.0, 'size': [None]}",
        "strings": "model, ['[3,4]', 'scale=2.0', 'size={a: (int(3), int(4))}']",
    }
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def forward(self, x, scale, size):\n"
        "        assert scale == 2.0\n        return super().forward(x) * scale\n"
        f"def factory(width=4):\n    model = Net(4, width)\n    return {forms[returned]}\n"
    )
    assert archprof.profile(f"{file}:factory").totals.macs == LINE
    assert archprof.profile(f"{file}:factory(width=8)").totals.macs == 2 * LINE
    if returned != "strings":
        with pytest.raises(TraceError, match="AssertionError"):
            archprof.profile(f"{file}:factory", "scale=3.0")


def test_two_odd_models_in_one() -> None:
    names = ["old weight_norm", "one weight, transposed", "an autograd function of one's own", "vmap over an ensemble"]
    made = [ODD[name].make() for name in names]
    model = nn.Sequential(*made[:3], made[0], made[3])
    assert archprof.profile(model, ROWS).totals.macs == sum(ODD[name].macs for name in names) + LINE
