from __future__ import annotations

import pytest
import torch

from archprof.tracing.ops import costs
from archprof.tracing.ops.costs import registry


@pytest.fixture(autouse=True)
def _rules_as_they_were(monkeypatch):
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("aten.convolution", "counted"),
        ("aten.view", "zero"),
        ("aten.copy_", "zero"),
        ("aten._linalg_svd", "unknown"),
        ("convolution", "unknown"),
        ("mylib.relu", "unknown"),
    ],
)
def test_three_states(name, status):
    assert costs.find_cost_status(name) == status
    assert (costs.find_cost_rule(name) is None) == (status == "unknown")


def test_an_in_place_op_finds_its_twin_and_an_operator_keeps_its_underscores():
    assert costs.find_cost_rule("aten.relu_") is costs.find_cost_rule("aten.relu") is not None
    assert costs.find_cost_rule("aten.__iand__") is not None
    assert costs.find_cost_rule("aten.relu__") is None


def test_two_rules_for_one_op_are_refused():
    with pytest.raises(ValueError, match=r"aten\.mm has a rule already"):
        costs.cost_rule("aten.mm")(lambda result: costs.OpCost(0, 0))


@pytest.mark.parametrize("returned", [(3, 7), costs.OpCost(3, 7)])
def test_a_registered_cost_may_be_a_pair(returned):
    @costs.register_cost("mylib.my_op")
    def my_op(result, x):
        return returned

    assert costs.find_cost_rule("mylib.my_op")(None, torch.empty(1)) == costs.OpCost(3, 7, None)
    assert costs.find_cost_status("mylib.my_op") == "counted"
    assert my_op(None, 1) == returned  # the decorated function itself stays as it was written


def test_a_registered_cost_replaces_the_built_in_one_also_for_causal_counts():
    name = "aten.scaled_dot_product_attention"
    costs.register_cost(name)(lambda result, *args, **kwargs: None)
    assert costs.find_cost_rule(name, "half")(None, 1, 2, 3) is None


@pytest.mark.parametrize("name", ["my_op", "mylib::my_op"])
def test_a_name_without_its_namespace_is_refused(name):
    with pytest.raises(ValueError, match=r"mylib\.my_op"):
        costs.register_cost(name)


@pytest.mark.skipif(not hasattr(torch.ops.aten, "_upsample_lanczos2d_aa"), reason="some of the ops are newer")
def test_every_rule_is_of_an_op_that_torch_has():
    """But for what the tracer records whole: backwards, and an op that is none of the dispatcher's."""
    import torchvision  # noqa: F401  (registers its ops)

    assert torch.ops.higher_order.flex_attention
    known = {name.split(".")[0].replace("::", ".") for name in torch._C._dispatch_get_all_op_names()}
    missing = {name for name in registry._rules if name not in known and f"{name}_" not in known}
    recorded_whole = {
        f"aten.{name}_backward" for name in ("lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention")
    }
    assert missing == recorded_whole | {"higher_order.flex_attention", "higher_order.flex_attention_backward"}
