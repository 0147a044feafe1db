"""Probing as a whole: gradients are torch's, the model is only read, and what does not fit is said."""

from __future__ import annotations

import copy
import math
import random
from functools import cache
from pathlib import Path

import nets
import pytest
import torch
from models.lectures import ROWS
from torch import nn
from torch.nn import functional

import archprof
from archprof.analysis.probed import list_gradient_flow, list_relu_rows, measure_shrinking, measure_vanishing
from archprof.facts.records import Profile
from archprof.facts.request import PassRequest, ProbeRequest
from archprof.probing import run
from archprof.probing.live import seed_all
from archprof.sources.resolve import resolve

SEED = 5


def plain_step(net: nn.Module, given: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradients of a step as torch takes it, without any of our code."""
    net = copy.deepcopy(net).train()
    torch.manual_seed(SEED)
    output = net(given)
    scores = output["logits"] if isinstance(output, dict) else output
    functional.cross_entropy(scores.float() if scores.dtype == torch.float16 else scores, labels).backward()
    return {name: one.grad for name, one in net.named_parameters() if one.grad is not None}


def by_name(profile: Profile) -> dict[str, archprof.facts.probed.Gradient]:
    assert profile.probe is not None
    return {profile.parameters[one.parameter].name: one for one in profile.probe.gradients}


@pytest.mark.parametrize("name", [name for name in nets.NETS if name != "words"])
def test_gradients_are_those_of_torch_to_the_last_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, given, labels = nets.make(name)
    kept = {}

    def keep(trainable: list[tuple[str, nn.Parameter]], *rest: object) -> object:
        kept.update({name: one.grad.clone() for name, one in trainable if one.grad is not None})
        return measure(trainable, *rest)

    measure = run.measure_gradients
    monkeypatch.setattr(run, "measure_gradients", keep)
    profile = archprof.probe(net, data=[(given, labels)], seed=SEED)
    plain = plain_step(net, given, labels)
    assert kept.keys() == plain.keys() == by_name(profile).keys()
    for key, gradient in plain.items():
        assert torch.equal(kept[key], gradient)
        assert by_name(profile)[key].norm == torch.linalg.vector_norm(gradient, dtype=torch.float64).item()


@pytest.mark.parametrize("optimizer", ["sgd(lr=0.1, momentum=0.9)", "adamw(lr=0.01)"])
def test_the_update_is_that_of_the_optimizer(optimizer: str) -> None:
    net, given, labels = nets.make("signal")
    profile = archprof.probe(net, data=[(given, labels)], optimizer=optimizer)
    mine = copy.deepcopy(net).train()
    made = (
        torch.optim.SGD(mine.parameters(), 0.1, 0.9)
        if "sgd" in optimizer
        else torch.optim.AdamW(mine.parameters(), 0.01)
    )
    functional.cross_entropy(mine(given), labels).backward()
    made.step()
    for (name, before), after in zip(net.named_parameters(), mine.parameters(), strict=True):
        assert (
            by_name(profile)[name].update_norm == torch.linalg.vector_norm(after - before, dtype=torch.float64).item()
        )


def test_without_an_optimizer_there_is_no_update() -> None:
    net, given, labels = nets.make("signal")
    profile = archprof.probe(net, data=[(given, labels)], optimizer=None)
    assert {one.update_norm for one in by_name(profile).values()} == {None}


def test_several_batches_have_the_gradient_of_their_mean_loss() -> None:
    """For halves of equal size, that of the whole; means and counts are those of the whole, too."""
    net, given, labels = nets.make("signal")
    whole, halves = [(given[:6], labels[:6])], [(given[:3], labels[:3]), (given[3:6], labels[3:6])]
    one, two = (archprof.probe(net, data=data, batches=len(data)) for data in (whole, halves))
    for name, gradient in by_name(one).items():
        assert by_name(two)[name].norm == pytest.approx(gradient.norm, rel=1e-5)
    assert one.probe.loss == pytest.approx(two.probe.loss)
    for a, b in zip(one.probe.activations, two.probe.activations, strict=True):
        assert (a.elements, a.zeros) == (b.elements, b.zeros)
        assert a.std == pytest.approx(b.std, rel=1e-5)


def test_the_model_and_the_process_are_left_as_they_were() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 3))
    net.eval()
    before, given = copy.deepcopy(net.state_dict()), torch.randn(4, 3, 8, 8)
    torch.manual_seed(1)
    random.seed(1)
    states = torch.get_rng_state(), random.getstate(), torch.is_grad_enabled()
    with torch.no_grad():
        archprof.probe(net, data=[(given, torch.tensor([0, 1, 2, 0]))], optimizer="adam")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert torch.is_grad_enabled() == states[2]
    assert all(torch.equal(net.state_dict()[name], one) for name, one in before.items())
    assert all(one.grad is None for one in net.parameters())
    assert not net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    one, again, other = (archprof.probe("lenet5", batch=4, seed=seed).probe for seed in (7, 7, 8))
    assert one == again
    assert one.activations != other.activations
    assert (one.seed, other.seed) == (7, 8)


def test_it_is_saved_and_read_back(tmp_path: Path) -> None:
    profile = archprof.probe("lenet5", batch=4, optimizer="adam(lr=0.01)")
    profile.check()
    profile.save(tmp_path / "x.json")
    assert archprof.load(tmp_path / "x.json") == profile


def test_a_frozen_parameter_has_no_gradient() -> None:
    net, given, labels = nets.make("signal")
    net[0].weight.requires_grad_(False)
    assert "0.weight" not in by_name(archprof.probe(net, data=[(given, labels)]))


def test_shared_weights_are_one_parameter() -> None:
    _, given, labels = nets.make("shared")
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 3))
    tied[2].weight = tied[0].weight
    profile = archprof.probe(tied, data=[(given, labels)])
    assert by_name(profile)["0.weight"].norm == torch.linalg.vector_norm(
        plain_step(tied, given, labels)["0.weight"], dtype=torch.float64
    )
    assert "2.weight" not in by_name(profile)


def test_what_a_checkpoint_runs_again_is_counted_once() -> None:
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(checkpoint(self.inner, x, use_reentrant=False))

    profile = archprof.probe(Net(), data=[(torch.randn(5, 4), torch.arange(5) % 3)])
    assert {one.elements for one in profile.probe.activations if profile.calls[one.key].outputs[0].shape == (5, 4)} == {
        20
    }


def test_a_loss_of_the_models_own_is_taken() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
            out = self.head(x)
            return {"loss": ((out - y) ** 2).mean(), "out": out}

    net, x = Net(), torch.randn(5, 4)
    profile = archprof.probe(net, data=[{"x": x, "y": torch.zeros(5, 1)}])
    assert profile.probe.loss_kind == "own"
    assert profile.probe.loss == pytest.approx(float((net.head(x).detach() ** 2).mean()))


def test_a_hopeless_loss_is_none_and_the_gradients_say_so() -> None:
    net, given, labels = nets.make("signal")
    profile = archprof.probe(net, data=[(given * math.inf, labels)])
    profile.check()
    assert profile.probe.loss is None
    assert all(one.norm is None for one in by_name(profile).values() if one.nonfinite)
    assert any(one.nonfinite for one in by_name(profile).values())


def test_weights_of_a_file_are_taken(tmp_path: Path) -> None:
    net, given, labels = nets.make("signal")
    other = nets.NETS["signal"][0]()
    torch.save({"epoch": 3, "state_dict": other.state_dict()}, tmp_path / "x.pt")
    read = archprof.probe(net, data=[(given, labels)], weights=str(tmp_path / "x.pt")).probe
    assert read.loss == pytest.approx(float(functional.cross_entropy(other(given), labels).detach()))
    assert read.weights == str(tmp_path / "x.pt")


def test_weights_of_safetensors_are_taken(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    net, given, labels = nets.make("signal")
    other = nets.NETS["signal"][0]()
    library.save_file(other.state_dict(), tmp_path / "x.safetensors")
    read = archprof.probe(net, data=[(given, labels)], weights=str(tmp_path / "x.safetensors")).probe
    assert read.loss == pytest.approx(float(functional.cross_entropy(other(given), labels).detach()))


def save(path: Path, tensors: object) -> str:
    torch.save(tensors, path)
    return str(path)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    net, given, labels = nets.make("signal")
    own = net.state_dict()
    cases = {
        "has no 3.bias": {name: one for name, one in own.items() if name != "3.bias"},
        "has extra, which the model has not": {**own, "extra": torch.zeros(1)},
        r"3.bias is 4 in .*x.pt and 3 in the model": {**own, "3.bias": torch.zeros(4)},
        "holds more than tensors": nets.make("signal")[0],
        "no tensors under names": [1],
    }
    for words, content in cases.items():
        path = save(tmp_path / "x.pt", content)
        with pytest.raises(archprof.UsageError, match=words):
            archprof.probe(net, data=[(given, labels)], weights=path)
    for path, words in {"none.pt": "There is no file", "x.json": "no file of weights"}.items():
        with pytest.raises(archprof.UsageError, match=words):
            archprof.probe(net, data=[(given, labels)], weights=str(tmp_path / path))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(archprof.UsageError, match="cannot be read as safetensors"):
        archprof.probe(net, data=[(given, labels)], weights=str(tmp_path / "bad.safetensors"))


def test_what_cannot_be_probed_is_said() -> None:
    net, given, labels = nets.make("signal")
    for data, words in {
        (): "gave no batch",
        ((given, labels[:3]),): "The model returned 7x3 for 3 labels",
        ((given, labels + 9),): "There is a label 11, and the model has 3 outputs",
        ("text",): "A loader gave str, which is no batch",
        ((given, labels, labels),): "which is no batch",
    }.items():
        with pytest.raises(archprof.UsageError, match=words):
            archprof.probe(net, data=list(data))
    with pytest.raises(archprof.UsageError, match="Data cannot be of type int"):
        archprof.probe(net, data=7)
    with pytest.raises(archprof.UsageError, match="LBFGS takes no step"):
        archprof.probe(net, data=[(given, labels)], optimizer="lbfgs")
    with pytest.raises(archprof.UsageError, match="only a model runs"):
        archprof.probe("x.json")
    with pytest.raises(archprof.ArchprofError, match="does not come through"):
        archprof.probe(net, data=[(given, labels)], loss=lambda output, labels: output.missing)
    for options, words in (({"batches": 0}, "0 batches"), ({"seed": -1}, "no seed"), ({"device": "tpu"}, "'tpu'")):
        with pytest.raises(archprof.UsageError, match=words):
            archprof.probe("lenet5", **options)
    if not torch.cuda.is_available():
        with pytest.raises(archprof.ArchprofError, match="no CUDA device"):
            archprof.probe("lenet5", device="cuda")


@cache
def start(name: str, seed: int) -> Profile:
    """A net of the lecture with real digits, as it starts; of 32 samples, for what is asked does not need more."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    return archprof.probe(name, data="digits", batch=32, seed=seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_r7_gradients_vanish_without_batch_norm(seed: int) -> None:
    """The lecture's first layer has 1e-5 to 1e-4 of its weight, its last about 1e-2, all nets with batch norm more."""
    assert "1e-5 .. 1e-4" in ROWS["R7"].expected
    assert "about 1e-2" in ROWS["R7"].expected
    flow = list_gradient_flow(start("cifar_vgg", seed))
    assert [point.name for point in (flow[0], flow[-1])] == ["features.0.weight", "classifier.weight"]
    assert 1e-5 <= flow[0].of_weight <= 1e-4
    assert 5e-3 <= flow[-1].of_weight <= 5e-2
    healthy = list_gradient_flow(start("cifar_vgg_bn", seed))
    assert flow[0].norm <= 1e-3 * healthy[0].norm
    assert healthy[0].of_weight > 0.1


def test_r8_half_of_the_activations_are_zero_and_their_spread_shrinks() -> None:
    profile = start("cifar_vgg", 0)
    rows = {one.key: one for one in profile.probe.activations}
    shares = [rows[profile.layers[row].call_index] for row in list_relu_rows(profile)]
    assert len(shares) == 9
    assert all(abs(one.zeros / one.elements - ROWS["R8"].numbers[0] / 100) < 0.1 for one in shares)
    assert measure_shrinking(profile) > 10
    assert measure_shrinking(start("cifar_vgg_bn", 0)) < 10


def test_the_table_has_what_was_probed() -> None:
    net, given, labels = nets.make("dead")
    profile = archprof.probe(net, data=[(given, labels)])
    table = profile.table(columns=["dead", "zeros", "rank", "grad_norm", "grad_weight", "update_weight", "act_std"])
    rows = {row["layer"]: row for row in table.records()}
    facts = {profile.modules[profile.calls[one.key].module].path: one for one in profile.probe.activations}
    assert rows["1"]["dead"] == 2 / 6
    assert rows["1"]["zeros"] == facts["1"].zeros / facts["1"].elements
    assert rows["0"]["act_std"] == facts["0"].std
    norms = [by_name(profile)[f"0.{name}"].norm for name in ("weight", "bias")]
    assert rows["0"]["grad_norm"] == math.hypot(*norms)
    assert rows["1"]["grad_norm"] is None
    assert "Nothing was probed" in str(archprof.profile(net, given).table(columns=["dead"]))
    assert "Probed on a list from Python, 1 batch of 7" in str(table)


def test_the_first_and_the_last_weight_stand_to_each_other_as_their_gradients() -> None:
    net, given, labels = nets.make("signal")
    profile = archprof.probe(net, data=[(given, labels)])
    plain = plain_step(net, given, labels)
    first, last = (float(plain[f"{i}.weight"].norm() / net[i].weight.detach().norm()) for i in (0, 3))
    assert measure_vanishing(profile) == pytest.approx(first / last)
    assert archprof.compare(profile, profile).summary.records()[0]["vanishing"] == measure_vanishing(profile)


def test_random_inputs_have_random_classes_where_there_are_scores() -> None:
    probed = archprof.probe("lenet5", batch=64).probe
    assert probed.loss_kind == "cross entropy"
    assert probed.loss == pytest.approx(math.log(10), abs=0.1)
    assert archprof.probe(nn.Conv1d(2, 3, 1), "2x5", batch=4).probe.loss_kind == "means"


def test_the_first_weight_is_no_token() -> None:
    """A class token and an embedding of positions multiply nothing: the first weight is the patches'."""
    names = [point.name for point in list_gradient_flow(archprof.probe("timm:vit_tiny_patch16_224(depth=1)", batch=1))]
    assert (names[0], names[-1]) == ("patch_embed.proj.weight", "head.weight")


def test_a_head_of_one_output_is_the_last_weight() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    profile = archprof.probe(net, data=[(torch.randn(5, 4),)[0]])
    assert [point.name for point in list_gradient_flow(profile)] == ["0.weight", "2.weight"]


def test_a_model_without_trainable_parameters_is_said() -> None:
    with pytest.raises(archprof.UsageError, match="no trainable parameter"):
        archprof.probe(nn.Linear(4, 3).requires_grad_(False), data=[torch.randn(5, 4)])


def test_random_inputs_differ_by_seed_and_batch() -> None:
    target = resolve("lenet5", None, PassRequest(batch=2, train=True))
    from archprof.probing.data.choose import draw_batches

    one, two = (each.args[0] for each in draw_batches(None, target, 2, 2, "float32", 3))
    assert one.shape == two.shape == (2, 1, 32, 32)
    assert not torch.equal(one, two)
    assert torch.equal(two, draw_batches(None, target, 2, 1, "float32", 4)[0].args[0])
    with torch.random.fork_rng():
        seed_all(1)
    assert ProbeRequest().seed == 0
