"""Reading back what `write_module` wrote."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import archprof
from archprof.facts.records import Profile
from archprof.rewriting import Rewritten, write_module


def leaf_rows(profile: Profile) -> list[tuple[Any, ...]]:
    """What every call of a module without parts is and costs."""
    depths = [layer.depth for layer in profile.layers]
    inner = [after > before for before, after in itertools.pairwise(depths)] + [False]
    rows = zip(profile.layers, profile.costs, inner, strict=True)
    return [
        (row.path, row.call, row.inputs, row.outputs, row.params, row.buffers, cost.macs, cost.flops,
         cost.activation_elements)
        for row, cost, parts in rows
        if not parts
    ]  # fmt: skip


def save(rewritten: Rewritten, folder: Path, name: str = "net.py") -> Path:
    file = folder / name
    file.write_text(write_module(rewritten), encoding="utf-8")
    return file


def check_same(rewritten: Rewritten, file: Path) -> None:
    """The written module costs what was announced, row by row."""
    again = archprof.profile(f"{file}:Net", list(rewritten.after.inputs))
    assert again.totals == rewritten.after.totals
    assert leaf_rows(again) == leaf_rows(rewritten.after)
    assert again.layers[0].outputs == rewritten.after.layers[0].outputs


def load(file: Path) -> ModuleType:
    """The written module, run with no name of archprof or fx in its source."""
    source = file.read_text(encoding="utf-8")
    code = source.split("class Net", 1)[1]
    assert "archprof" not in code
    assert "fx" not in source
    module = ModuleType("written")
    exec(compile(source, str(file), "exec"), module.__dict__)
    return module


def run(file: Path, *inputs: torch.Tensor) -> torch.Tensor:
    """Forward and backward on real tensors; every parameter that is used gets a finite gradient."""
    net = load(file).model()
    output = net(*inputs)
    output = next(iter(output.values())) if isinstance(output, dict) else output
    output.sum().backward()
    grads = [parameter.grad for parameter in net.parameters()]
    assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads)
    result: torch.Tensor = output.detach()
    return result
