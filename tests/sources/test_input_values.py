"""Values that were given are the values of the pass. Oracle: models that answer by their input's values, and files."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch import nn

import archprof
from archprof.errors import UsageError
from archprof.sources.input_grammar import describe_input, parse_input
from archprof.sources.input_values import MAX_REAL_INPUT_ELEMENTS
from archprof.sources.inputs import make_input_tensors, normalise_inputs

MACS_OF_CONV = 4 * 3 * 9 * 6 * 6


class OnlyImages(nn.Module):
    """Takes values from 0 to 1; of those of 0.25 and more it takes half the work again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.min() < 0 or image.max() > 1:
            raise ValueError("not from 0 to 1")
        made: torch.Tensor = self.conv(image)
        return made + self.conv(image) if image.min() >= 0.25 else made


class CountsBelowTen(nn.Module):
    """One product a number below ten."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        few = int((ids < 10).sum())
        return torch.ones(few, 1) @ torch.ones(1, 1)


def given_to(model: nn.Module, *inputs: Any, **options: Any) -> int:
    return archprof.profile(model, inputs if len(inputs) > 1 else inputs[0], **options).totals.macs


IMAGE = torch.full((1, 3, 8, 8), 0.5)
LAYOUTS = {
    "contiguous": IMAGE,
    "channels last": IMAGE.to(memory_format=torch.channels_last),
    "a view": torch.full((1, 3, 8, 16), 0.5)[..., ::2],
    "with a gradient": IMAGE.clone().requires_grad_(),
    "expanded": torch.full((1, 1, 1, 1), 0.5).expand(1, 3, 8, 8),
    "a parameter": nn.Parameter(IMAGE),
    "another dtype": IMAGE.double(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_model_gives_one_answer_to_floats_of_any_layout(layout: str) -> None:
    model = OnlyImages().double() if layout == "another dtype" else OnlyImages()
    assert given_to(model, LAYOUTS[layout]) == 2 * MACS_OF_CONV
    assert given_to(model, LAYOUTS[layout] / 4) == MACS_OF_CONV


def test_a_chosen_dtype_keeps_the_values() -> None:
    assert given_to(OnlyImages(), IMAGE, dtype="bfloat16") == 2 * MACS_OF_CONV


def test_values_are_those_in_containers_and_keywords_too() -> None:
    assert archprof.profile(OnlyImages(), {"image": IMAGE}).totals.macs == 2 * MACS_OF_CONV


@pytest.mark.parametrize("count", [8, MAX_REAL_INPUT_ELEMENTS + 8])
def test_integers_have_their_values_however_many(count: int) -> None:
    ids = torch.full((count,), 10)
    ids[:3] = 1
    assert given_to(CountsBelowTen(), ids) == 3
    assert given_to(CountsBelowTen(), torch.stack([ids, ids], 1)[:, 0]) == 3


def test_the_users_tensor_is_only_read() -> None:
    class Clears(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.zero_() if x.sum() > 0 else x

    image = IMAGE.clone()
    archprof.profile(Clears(), image)
    assert torch.equal(image, IMAGE)


def test_the_note_says_whose_values_they_are() -> None:
    class Both(OnlyImages):
        def forward(self, image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return super().forward(image) + other

    given = archprof.profile(OnlyImages(), IMAGE).notes[0]
    assert given.startswith(
        "Its numbers depend on values: traced on real tensors on the CPU with the values given, since "
    )
    both = archprof.profile(Both(), (IMAGE, "[1]")).notes[0]
    assert "with the values given, random ones where none were, since" in both
    assert "with random inputs, since" in archprof.profile(OnlyImages(), "3x8x8>=0<1").notes[0]


def test_what_needs_no_values_stays_on_meta() -> None:
    profile = archprof.profile(nn.Conv2d(3, 4, 3), IMAGE)
    assert (profile.ran.device, profile.notes) == ("meta", ())
    assert make_input_tensors(normalise_inputs(IMAGE).args[0], device="meta", batch=1, dtype="float32").is_meta


@pytest.mark.parametrize(("span", "macs"), [(">=0<0.25", 1), (">=0.25<1", 2), (">=-0.5<1", 0)])
def test_floats_of_a_range_can_be_asked_for(span: str, macs: int) -> None:
    if not macs:
        with pytest.raises(archprof.errors.TraceError, match="not from 0 to 1"):
            archprof.profile(OnlyImages(), f"3x8x8{span}")
        return
    profile = archprof.profile(OnlyImages(), f"3x8x8{span}")
    assert profile.totals.macs == macs * MACS_OF_CONV
    assert profile.inputs == (f"3x8x8{span}",)
    assert describe_input(parse_input("3x8x8<0.5")) == "3x8x8>=0<0.5"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_a_range_ends_below_its_end_in_every_dtype(dtype: str) -> None:
    made = make_input_tensors(parse_input(f"{dtype}[100000]>=-1<0.5"), device="cpu", batch=1, dtype="float32")
    assert (float(made.min()) >= -1, float(made.max()) < 0.5) == (True, True)
    assert abs(float(made.double().mean()) + 0.25) < 0.01


def test_a_file_gives_its_values(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numpy.save("x.npy", numpy.full((1, 3, 8, 8), 0.5))  # float64, as numpy makes it; the pass is in float32
    torch.save(IMAGE / 4, "y.pt")
    assert given_to(OnlyImages(), "x.npy") == 2 * MACS_OF_CONV
    assert given_to(OnlyImages(), "y.pt") == MACS_OF_CONV
    profile = archprof.profile(OnlyImages(), ["image=x.npy"], dtype="bfloat16")
    assert profile.inputs == ("image=[1,3,8,8]@x.npy",)
    assert archprof.profile(OnlyImages(), list(profile.inputs)).totals.macs == 2 * MACS_OF_CONV


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (numpy.arange(6, dtype=">i4").reshape(2, 3), "int32[2,3]@x.npy"),
        (numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)), "[2,3]@x.npy"),
        (numpy.array(3.0), "[]@x.npy"),
        (numpy.array([True, False]), "bool[2]@x.npy"),
    ],
)
def test_arrays_are_read_as_numpy_wrote_them(
    array: Any, text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numpy.save("x.npy", array)
    spec = parse_input("x.npy")
    assert describe_input(spec) == text
    assert parse_input(text) == spec
    made = make_input_tensors(spec, device="cpu", batch=1, dtype="float32")
    assert made.tolist() == array.tolist()


def test_a_dtype_in_front_of_a_file_is_that_of_the_input(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numpy.save("x.npy", numpy.ones((2, 3), "float32"))
    spec = parse_input("float64[2,3]@x.npy")
    assert (spec.dtype, describe_input(spec)) == ("float64", "float64[2,3]@x.npy")
    assert make_input_tensors(spec, device="cpu", batch=1, dtype="float32").dtype is torch.float64
    for other in ("[3,2]@x.npy", "2x3@x.npy"):
        with pytest.raises(UsageError, match=r"x.npy has the shape \[2,3\]"):
            parse_input(other)


class Payload:
    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_nothing_in_a_file_is_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Payload(), "x.pt")
    numpy.save("x.npy", numpy.array([Payload()], dtype=object), allow_pickle=True)
    for name in ("x.pt", "x.npy"):
        with pytest.raises(UsageError, match="no tensor that can be read as data"):
            parse_input(name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": IMAGE}, "a dict of 1, not one tensor"),
        ([IMAGE] * 2, "a list of 2"),
        (3, "an int"),
        (IMAGE.to("meta"), "a tensor on meta"),
        (IMAGE.to_sparse(), "a sparse tensor"),
    ],
)
def test_a_file_of_anything_else_is_said(
    content: Any, words: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "x.pt")
    with pytest.raises(UsageError, match=words):
        parse_input("x.pt")
    with pytest.raises(UsageError, match=r"none\.npy cannot be read"):
        parse_input("none.npy")
