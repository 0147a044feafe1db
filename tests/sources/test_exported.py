"""Programs saved by torch.export. Oracle: the module itself, profiled; for safety, a file that would do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.errors import ArchprofError, TraceError, UsageError
from archprof.tracing.oracles import torch_macs


class Branches(nn.Module):
    """Shared and tied layers, in-place ops, several results, plain tensors, a keyword, a module called body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout())
        self.shared, self.tied = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.tied.weight = self.shared.weight
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.register_buffer("steps", torch.arange(6))
        self.plain = torch.ones(6)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, scale: float = 2.0) -> Any:
        x = self.body(x).flatten(2)
        x = self.shared(self.shared(x)) + self.tied(x) + self.steps + self.plain
        if mask is not None:
            x = x * mask
        left, right = x.split(2, dim=1)
        y, state = self.lstm(left)
        return {
            "y": y,
            "state": state,
            "attended": [nn.functional.scaled_dot_product_attention(left, right, right) * scale],
        }


class Chooses(nn.Module):
    """Needs the values of its weights, which are in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.linear.weight.data.fill_(1)
        self.linear.bias.data.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[self.linear(torch.ones_like(x))[:, 0] == 4]


def saved(folder: Path, model: nn.Module, args: Any, kwargs: Any = None, **options: Any) -> str:
    path = folder / "x.pt2"
    torch.export.save(torch.export.export(model.eval(), args, kwargs, **options), path)
    return str(path)


X, MASK = torch.randn(2, 3, 4, 5), torch.ones(2, 4, 6, dtype=torch.bool)


def rows(profile: archprof.Profile) -> list[tuple[Any, ...]]:
    """What a row says, for rows in which something was done."""
    layers = zip(profile.layers, profile.costs, strict=True)
    return [
        (layer.path, layer.kind, layer.call, layer.outputs, layer.params, layer.trainable, cost.macs, cost.flops,
         cost.activation_elements)
        for layer, cost in layers
        if layer.path
    ]  # fmt: skip


def test_rows_are_those_of_the_module(tmp_path: Path) -> None:
    model = Branches()
    read = archprof.profile(saved(tmp_path, model, (X,), {"mask": MASK}))
    direct = archprof.profile(model, {"x": X, "mask": MASK})
    read.check()
    assert rows(read) == rows(direct)
    assert read.totals == direct.totals
    assert (read.layers[0].kind, read.inputs) == ("Branches", ("[2,3,4,5]", "bool[2,4,6]"))
    assert read.ran.device == "meta"


def macs_by_path(profile: archprof.Profile) -> list[tuple[str, int]]:
    layers = zip(profile.layers, profile.costs, strict=True)
    return [(layer.path, cost.macs) for layer, cost in layers if cost.macs]


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16"])
def test_models_of_torchvision(tmp_path: Path, name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = torchvision.models.get_model(name).eval()
        x = torch.empty(1, 3, 224, 224)
    program = torch.export.export(model, (x,))
    path = str(tmp_path / "x.pt2")
    torch.export.save(program, path)
    read, direct = archprof.profile(path), archprof.profile(model, x)
    assert read.totals.params == direct.totals.params
    assert read.totals.macs == direct.totals.macs == torch_macs(model, (x,))
    made = [(layer.path, cost.macs) for layer, cost in zip(read.layers, read.costs, strict=True) if cost.macs]
    assert made == [
        (layer.path, cost.macs) for layer, cost in zip(direct.layers, direct.costs, strict=True) if cost.macs
    ]


def test_other_inputs_where_the_program_allows_them(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch")
    path = saved(tmp_path, Branches(), (X,), {"mask": MASK}, dynamic_shapes={"x": {0: batch}, "mask": {0: batch}})
    one = archprof.profile(path).totals.macs
    assert archprof.profile(path, batch=6).totals.macs == 3 * one
    assert archprof.profile(path, ["[4,3,4,5]", "mask=bool[4,4,6]"]).totals.macs == 2 * one
    with pytest.raises(TraceError, match=r"x was exported as \[any,3,4,5\] and is given \[2,3,4,6\]"):
        archprof.profile(path, ["[2,3,4,6]", "bool[2,4,6]"])
    with pytest.raises(TraceError, match="inputs of the exported program are x, mask"):
        archprof.profile(path, {"x": X, "mask": MASK, "scale": 3.0})


def test_a_fixed_batch_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path, nn.Linear(4, 2), (torch.zeros(2, 4),))
    with pytest.raises(UsageError, match="exported for a first size of 2"):
        archprof.profile(path, batch=3)


def test_values_are_read_where_a_pass_needs_them(tmp_path: Path) -> None:
    profile = archprof.profile(saved(tmp_path, Chooses(), (torch.zeros(3, 4),)))
    assert profile.ran.device == "cpu"
    assert profile.layers[0].outputs[0].shape == (3, 4)


def test_training_and_dtype(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    path = saved(tmp_path, model, (torch.zeros(3, 4),))
    for options in ({"train": True}, {"dtype": "bfloat16"}):
        direct = archprof.profile(model, torch.zeros(3, 4), **options)
        assert archprof.profile(path, **options).totals == direct.totals


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def changed(path: str, change: Callable[[str, bytes], bytes]) -> str:
    """The archive with every file replaced by `change(name, content)`."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, change(name.partition("/")[2], content))
    return path


def test_nothing_in_the_file_is_unpickled(tmp_path: Path) -> None:
    proof = tmp_path / "harmed"
    buffer = io.BytesIO()
    torch.save(Bomb(str(proof)), buffer)

    def change(name: str, content: bytes) -> bytes:
        if name.startswith("data/sample_inputs"):
            return buffer.getvalue()
        if name.endswith("weights_config.json"):
            return content.replace(b'"use_pickle": false', b'"use_pickle": true')
        if name.startswith("data/weights/weight"):
            return pickle.dumps(Bomb(str(proof)))
        return content

    path = changed(saved(tmp_path, nn.Linear(4, 2), (torch.zeros(2, 4),)), change)
    assert archprof.profile(path).totals.macs == 16
    assert not proof.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011
        torch.export.load(path)
    assert proof.exists()  # the bomb is a real one


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load", "torch.load", "os.system", "builtins.eval", "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.load_library", "torch.ops.aten.linear", "torch.ops.debugprims.load_tensor.default",
        "torch.ops.aten.__class__.__name__", "math.factorial", "_operator.attrgetter", "torch.ops.higher_order.cond",
    ],
)  # fmt: skip
def test_only_operators_are_called(tmp_path: Path, target: str) -> None:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"torch.ops.aten.linear.default", target.encode())

    path = changed(saved(tmp_path, nn.Linear(4, 2), (torch.zeros(2, 4),)), change)
    with pytest.raises(ArchprofError, match="does not run from a file"):
        archprof.profile(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"text", None])
def test_files_that_are_no_program(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArchprofError, match=r"no file|cannot be read"):
        archprof.profile(str(path))


def test_a_program_with_a_part_taken_out(tmp_path: Path) -> None:
    original = saved(tmp_path, Branches(), (X,), {"mask": MASK})
    good = Path(original).read_bytes()

    def keys(tree: Any) -> Any:
        for key in tree:
            yield tree, key
            if isinstance(tree[key], dict):
                yield from keys(tree[key])

    with zipfile.ZipFile(original) as archive:
        name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
        text = archive.read(name)
    for at in range(0, len(list(keys(json.loads(text)["graph_module"]))), 3):
        tree = json.loads(text)
        holder, key = list(keys(tree["graph_module"]))[at]
        del holder[key]
        Path(original).write_bytes(good)
        changed(
            original,
            lambda part, content, tree=tree: json.dumps(tree).encode() if part == "models/model.json" else content,
        )
        try:
            archprof.profile(original).check()
        except ArchprofError:
            continue


def test_a_program_with_bytes_changed(tmp_path: Path) -> None:
    original = Path(saved(tmp_path, Branches(), (X,), {"mask": MASK}))
    good, rng = original.read_bytes(), random.Random(0)
    for _ in range(150):
        content = bytearray(good)
        for _ in range(rng.choice([1, 3, 40])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        original.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        with suppress(ArchprofError):
            archprof.profile(str(original)).check()


def test_numbers_changed_in_the_graph(tmp_path: Path) -> None:
    """Any number in the JSON may be wrong: nothing but a clear error comes of it."""
    original = Path(saved(tmp_path, Branches(), (X,), {"mask": MASK}))
    good, rng = original.read_bytes(), random.Random(0)
    for _ in range(100):
        original.write_bytes(good)
        at = rng.random()

        def change(name: str, content: bytes, at: float = at) -> bytes:
            if not name.endswith(".json"):
                return content
            found = list(re.finditer(rb"(?<=: )-?[0-9]+", content))
            if not found:
                return content
            chosen = found[int(at * len(found))]
            return content[: chosen.start()] + rng.choice([b"-1", b"0", b"7", b"99999"]) + content[chosen.end() :]

        changed(str(original), change)
        with suppress(ArchprofError):
            archprof.profile(str(original)).check()


def test_reading_a_program_does_not_load_the_compiler(tmp_path: Path) -> None:
    path = saved(tmp_path, nn.Linear(4, 2), (torch.zeros(2, 4),))
    code = f"import sys, archprof; archprof.profile({path!r}); assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
