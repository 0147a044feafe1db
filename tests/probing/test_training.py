"""Training as a whole: against a loop of plain torch, after a kill, after Ctrl-C, and where something does not fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from models.lectures import ROWS
from torch import nn
from torch.nn import functional

import archprof
from archprof.facts.trained import load_run
from archprof.models.vgg import vgg16
from archprof.probing.live import seed_all
from archprof.probing.tensor_files import read_tensors
from archprof.probing.training import session
from archprof.probing.training.session import EPOCH_STRIDE
from archprof.probing.training.snapshots import copy_filters, find_first_convolution

pytest.importorskip("safetensors", reason="safetensors is not installed")

NET = """
import torch
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(54, 10),
    ), "1x8x8"


def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)), "1x8x8"
"""


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.py"
    path.write_text(NET, encoding="utf-8")
    return path


def make_batches(count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 4, generator=generator), torch.randint(3, (8,), generator=generator)) for _ in range(count)]


def make_net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


def weights_of(folder: Path, at: int = 0) -> dict[str, torch.Tensor]:
    tensors, _ = read_tensors(folder / load_run(folder).models[at].weights)
    return tensors


def test_it_is_what_a_loop_of_plain_torch_does(tmp_path: Path) -> None:
    """The same weights to the last bit, the same losses and accuracies; the module of the caller is only read."""
    net, batches = make_net(), make_batches()
    before = {name: one.clone() for name, one in net.state_dict().items()}
    run = archprof.train(net, tmp_path / "run", data=batches, epochs=2, optimizer="adam(lr=0.01)", held_out=batches[:1])
    assert all(torch.equal(net.state_dict()[name], one) for name, one in before.items())
    mine, state = make_net(), torch.get_rng_state()
    optimizer = torch.optim.Adam(mine.parameters(), lr=0.01)
    for epoch in (1, 2):
        seed_all(epoch)  # the seed of the run is 0
        losses, right = [], 0
        for given, labels in batches:
            optimizer.zero_grad()
            scores = mine.train()(given)
            loss = functional.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            right += int((scores.argmax(1) == labels).sum())
        found = run.models[0].epochs[epoch]
        assert found.loss == pytest.approx(sum(losses) / 3)
        assert found.accuracy == right / 24
        with torch.no_grad():
            scores = mine.eval()(batches[0][0])
        assert found.held_out_loss == pytest.approx(functional.cross_entropy(scores, batches[0][1]).item())
        assert found.held_out_accuracy == (scores.argmax(1) == batches[0][1]).float().mean().item()
    torch.set_rng_state(state)
    kept = weights_of(tmp_path / "run")
    assert all(torch.equal(kept[f"model.{name}"], one) for name, one in mine.state_dict().items())
    assert load_run(tmp_path / "run") == run
    assert EPOCH_STRIDE > 1000


def test_gradients_before_after_one_epoch_and_at_the_end(tmp_path: Path) -> None:
    net, batches = make_net(), make_batches()
    run = archprof.train(net, tmp_path / "run", data=batches, epochs=4)
    flows = run.models[0].flows
    assert [flow.epoch for flow in flows] == [0, 1, 4]
    assert [point.name for point in flows[0].gradients] == ["0.weight", "3.weight"]
    assert [path for path, _ in flows[0].spread] == ["0", "1", "2", "3"]
    mine = make_net().train()
    seed_all(0)
    functional.cross_entropy(mine(batches[0][0]), batches[0][1]).backward()
    for point, parameter in zip(flows[0].gradients, (mine[0].weight, mine[3].weight), strict=True):
        assert point.gradient == torch.linalg.vector_norm(parameter.grad, dtype=torch.float64).item()
        assert point.weight == torch.linalg.vector_norm(parameter.detach(), dtype=torch.float64).item()


def test_the_first_filters_before_and_after(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 70, 3), nn.ReLU(), nn.Flatten(), nn.Linear(70 * 4, 3))
    given, labels = torch.randn(6, 3, 4, 4), torch.arange(6) % 3
    run = archprof.train(net, tmp_path / "run", data=[(given, labels)], epochs=2, optimizer="sgd(lr=0.1)")
    filters = run.models[0].filters
    assert filters.name == "0.weight"
    for found, expected in (
        (filters.before, net[0].weight.detach()),
        (filters.after, weights_of(tmp_path / "run")["model.0.weight"]),
    ):
        assert torch.tensor(found).shape == (64, 3, 3, 3)
        assert torch.allclose(torch.tensor(found), expected[:64], rtol=1e-5)
    assert filters.before != filters.after


def test_k8_vgg16_has_the_64_patches_of_the_lecture() -> None:
    """The first layer's filters, 64 patches of 3x3x3 on an 8x8 grid."""
    assert ROWS["K8"].expected == "64 patches of 3x3x3 on an 8x8 grid"
    found = find_first_convolution(vgg16())
    assert found is not None
    assert found[0] == "features.0"
    assert torch.tensor(copy_filters(found[1])).shape == (64, 3, 3, 3)


KILLED = """
import sys, torch, archprof
torch.set_num_threads(1)
archprof.train({models}, {folder!r}, data="digits", epochs=4, batch=64, seed=3, resume={resume})
"""


def run_in_process(folder: Path, models: list[str], resume: bool = False) -> subprocess.Popen[bytes]:
    code = KILLED.format(models=models, folder=str(folder), resume=resume)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, net_file: Path) -> None:
    """kill -9 in the middle of an epoch, with one net ahead of the other; then the run of one that was let be."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    models = [f"{net_file}:make", f"{net_file}:other"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_in_process(whole, models).wait(120) == 0
    killed = run_in_process(cut, models)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and killed.poll() is None:
        if (cut / "run.json").is_file() and any(len(model.epochs) > 2 for model in load_run(cut).models):
            break
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert min(model.epochs[-1].number for model in load_run(cut).models) < 4
    assert run_in_process(cut, models, resume=True).wait(120) == 0
    for at in range(2):
        one, two = weights_of(whole, at), weights_of(cut, at)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    for first, second in zip(load_run(whole).models, load_run(cut).models, strict=True):
        assert [epoch[:5] for epoch in first.epochs] == [epoch[:5] for epoch in second.epochs]
        assert (first.flows, first.filters) == (second.flows, second.filters)


def test_a_run_that_is_over_can_be_made_longer(tmp_path: Path) -> None:
    batches = make_batches()
    short, long = tmp_path / "short", tmp_path / "long"
    archprof.train(make_net(), short, data=batches, epochs=2)
    archprof.train(make_net(), short, data=batches, epochs=5, resume=True)
    archprof.train(make_net(), long, data=batches, epochs=5)
    assert all(torch.equal(weights_of(short)[name], one) for name, one in weights_of(long).items())


def test_ctrl_c_keeps_what_was_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second step of the second epoch: the first epoch is kept, and the weights of that moment beside it."""
    steps = 0
    tell = session._Session._tell

    def interrupt(self: session._Session) -> None:
        nonlocal steps
        steps += 1
        tell(self)
        if steps == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(session._Session, "_tell", interrupt)
    folder = tmp_path / "run"
    run = archprof.train(make_net(), folder, data=make_batches(), epochs=3)
    assert run.stopped is not None
    assert [epoch.number for epoch in run.models[0].epochs] == [0, 1]
    now, _ = read_tensors(folder / run.stopped[run.models[0].weights])
    kept = weights_of(folder)
    assert not torch.equal(now["0.weight"], kept["model.0.weight"])
    assert archprof.probe(make_net(), data=make_batches(), weights=str(folder / run.models[0].weights)).probe.weights
    monkeypatch.setattr(session._Session, "_tell", tell)
    again = archprof.train(make_net(), folder, data=make_batches(), epochs=3, resume=True)
    archprof.train(make_net(), tmp_path / "whole", data=make_batches(), epochs=3)
    assert again.stopped is None
    assert all(torch.equal(weights_of(folder)[name], one) for name, one in weights_of(tmp_path / "whole").items())


def test_progress_comes_to_its_end(tmp_path: Path) -> None:
    told: list[float] = []
    tell = lambda done, left: told.append(done)  # noqa: E731
    archprof.train(make_net(), tmp_path / "run", data=make_batches(), epochs=2, progress=tell)
    assert told == pytest.approx([i / 6 for i in range(1, 7)])


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    net, batches, folder = make_net(), make_batches(), tmp_path / "run"
    archprof.train(net, folder, data=batches, epochs=1)
    cases = {
        "holds a run already": {"path": folder, "data": batches},
        "holds no run to go on with": {"path": tmp_path / "none", "data": batches, "resume": True},
        "The run in .* was another: seed was 0, and is 4": {"path": folder, "data": batches, "resume": True, "seed": 4},
        "no recipe called 'secret'": {"path": tmp_path / "x", "data": batches, "recipe": "secret"},
        "0 epochs": {"path": tmp_path / "x", "data": batches, "epochs": 0},
        "Random inputs have no classes": {"path": tmp_path / "x", "data": "random"},
        "cannot be of type list_iterator": {"path": tmp_path / "x", "data": iter(batches)},
        "gave no batch": {"path": tmp_path / "x", "data": []},
        "no optimizer in torch.optim": {"path": tmp_path / "x", "data": batches, "optimizer": "adem"},
    }
    for words, options in cases.items():
        with pytest.raises(archprof.UsageError, match=words):
            archprof.train(net, **options)
    frozen = make_net().requires_grad_(False)
    with pytest.raises(archprof.UsageError, match="no trainable parameter"):
        archprof.train(frozen, tmp_path / "y", data=batches)
    (tmp_path / "file").write_text("")
    with pytest.raises(archprof.ArchprofError, match="cannot be made"):
        archprof.train(net, tmp_path / "file" / "run", data=batches)


def test_a_run_does_not_go_on_with_images_of_another_size(tmp_path: Path, net_file: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    folder, net = tmp_path / "run", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    archprof.train(net, folder, "3x8x8", data="digits", epochs=1, batch=512)
    with pytest.raises(archprof.UsageError, match=r"notes was .*3x8x8.* and is .*3x9x9"):
        archprof.train(net, folder, "3x9x9", data="digits", epochs=2, batch=512, resume=True)


def test_a_checkpoint_of_another_net_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = archprof.train(make_net(), folder, data=make_batches(), epochs=1)
    other = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(archprof.ArchprofError, match="is no checkpoint of this net"):
        archprof.train(other, folder, data=make_batches(), epochs=2, resume=True)
    assert run.models[0].params == 4 * 8 + 8 + 8 * 3 + 3


def test_a_run_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(archprof.ArchprofError, match="cannot be read"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(archprof.ArchprofError, match="newer archprof"):
        load_run(tmp_path)
    with pytest.raises(archprof.UsageError, match="holds no run"):
        load_run(tmp_path / "nothing")


def test_without_safetensors_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(archprof.ArchprofError, match=r"pip install 'archprof\[probe\]'"):
        archprof.train(make_net(), tmp_path / "run", data=make_batches())
    assert not (tmp_path / "run").exists()


def test_the_command_trains_and_the_page_draws_it(tmp_path: Path, net_file: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from typer.testing import CliRunner

    from archprof.cli import app

    words = f"train {net_file}:make {net_file}:other --data digits --epochs 1 -o {tmp_path / 'run'}"
    shown = CliRunner().invoke(app, words.split())
    assert shown.exit_code == 0, shown.output
    run = load_run(tmp_path / "run")
    assert f"{run.models[0].epochs[1].held_out_accuracy * 100:.1f}" in shown.stdout
    drawn = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "-o", str(tmp_path / "x.html")])
    assert drawn.exit_code == 0, drawn.output
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 + 2
    assert page.count("data:image/png;base64,") == 3
    archprof.report(tmp_path / "run", tmp_path / "z.html")
    assert (tmp_path / "z.html").read_text(encoding="utf-8") == page
    two = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "lenet5", "-o", str(tmp_path / "y.html")])
    assert two.exit_code == 2
    assert "One folder of a run." in two.output
