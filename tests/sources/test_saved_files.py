"""Files that a MODEL may name. Oracle: the models that were saved in them."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.errors import UsageError

PARAMS, BUFFERS, MACS = 3 * 4 * 9 + 4 + 8 + 6 * 2 + 2, 2 * 4 + 1, 4 * 3 * 9 * 36 + 4 * 6 * 6 * 2


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(6, 2)).eval()


def scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is on its way out
        return torch.jit.script(net())


def exported() -> Any:
    return torch.export.export(net(), (torch.ones(1, 3, 8, 8),))


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], **dtypes: str) -> None:
    """The format as its library documents it: eight bytes of length, a header of JSON, and the bytes of the tensors."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        end = at + tensor.numel() * tensor.element_size()
        dtype = dtypes.get(name.replace(".", "_"), "I64" if tensor.dtype is torch.int64 else "F32")
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * at)


def write_checkpoint(path: Path) -> None:
    if path.suffix == ".safetensors":
        write_safetensors(path, net().state_dict())
    else:
        content = net().state_dict()
        torch.save({"epoch": 3, "state_dict": content} if path.suffix == ".ckpt" else content, path)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.bin", "W.SAFETENSORS".lower()])
def test_weights_alone_give_the_table_of_their_parameters(name: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / name)
    profile = archprof.profile(str(tmp_path / name))
    profile.check()
    known = {layer.path: (layer.params, layer.param_bytes) for layer in profile.layers if layer.path}
    assert known == {"0": (112, 448), "1": (16, 64), "2": (14, 56)}  # running averages cannot be told from weights
    assert not profile.totals.complete
    assert any("Weights alone" in note for note in profile.notes)


def test_weights_alone_do_not_pass_a_limit_of_what_is_not_known(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    assert archprof.check(path, max_params=142)[0].ok
    assert not archprof.check(path, max_params=141)[0].ok
    assert not archprof.check(path, max_macs=10**12)[0].ok
    table = archprof.profile(path).table().to_text()
    assert any("Total" in line and "≥ 0" in line for line in table.splitlines())


def test_dtypes_of_a_header_give_their_bytes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "w.safetensors", {"a.w": torch.zeros(3, 5), "a": torch.zeros(2)}, a_w="F8_E4M3")
    layers = {layer.path: layer for layer in archprof.profile(str(tmp_path / "w.safetensors")).layers}
    assert (layers[""].params, layers[""].param_bytes) == (2, 8)
    assert (layers["a"].params, layers["a"].param_bytes) == (15, 15)


@pytest.mark.parametrize("content", [b"", b"12345678", struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 2) + b"[]"])
def test_a_header_that_is_none_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read as safetensors"):
        archprof.profile(str(tmp_path / "w.safetensors"))


def test_torchscript_and_programs_are_taken(tmp_path: Path) -> None:
    script = scripted()
    script.save(str(tmp_path / "s.pt"))
    torch.export.save(exported(), tmp_path / "p.pt2")
    (tmp_path / "p.pt2").rename(tmp_path / "p.pt")
    given: list[tuple[Any, Any]] = [
        (str(tmp_path / "s.pt"), "3x8x8"), (script, "3x8x8"), (str(tmp_path / "p.pt"), None), (exported(), None),
    ]  # fmt: skip
    for model, inputs in given:
        totals = archprof.profile(model, inputs).totals
        assert (totals.params, totals.macs) == (PARAMS, MACS)


def test_a_program_in_memory_has_its_values_where_they_are_needed() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).nonzero()

    profile = archprof.profile(torch.export.export(Scales(), (torch.ones(2, 4),)))
    assert (profile.ran.device, profile.totals.macs) == ("cpu", 2 * 4 * 4)


@pytest.mark.parametrize(
    ("name", "words"),
    [("whole.pt", "holds more than tensors"), ("graph.onnx", "an ONNX graph"), ("none.pth", "There is no file"),
     ("number.pt", "holds a int, and no tensors"), ("text.ckpt", "no file of torch")],
)  # fmt: skip
def test_what_is_no_model_is_said(name: str, words: str, tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "whole.pt")
    torch.save(3, tmp_path / "number.pt")
    (tmp_path / "graph.onnx").write_bytes(b"\x08\x07")
    (tmp_path / "text.ckpt").write_text("no")
    with pytest.raises(UsageError, match=words):
        archprof.profile(str(tmp_path / name), "3x8x8")


def test_weights_alone_take_no_input(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w.pth")
    with pytest.raises(UsageError, match="no forward that takes inputs"):
        archprof.profile(str(tmp_path / "w.pth"), "3x8x8")


class Payload(nn.Module):
    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_no_code_of_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Payload(), tmp_path / "x.pt")
    with pytest.raises(UsageError, match="would run code"):
        archprof.profile(str(tmp_path / "x.pt"))
    assert capsys.readouterr().out == ""
