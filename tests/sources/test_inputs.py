"""The grammar of `--input`, and the tensors made from it. Oracle: torch itself, and the grammar read both ways."""

from __future__ import annotations

import subprocess
import sys
from collections import UserDict
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from archprof.errors import UsageError
from archprof.sources.input_grammar import NamedInput, describe_input, parse_argument, parse_input
from archprof.sources.input_spec import INPUT_DTYPES, InputSpec, is_floating_dtype
from archprof.sources.inputs import (
    MAX_REAL_INPUT_ELEMENTS,
    cast_float_inputs,
    make_input_tensors,
    normalise_inputs,
)

TOO_MANY = MAX_REAL_INPUT_ELEMENTS + 1


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("3x224x224", InputSpec((3, 224, 224), batched=True)),
        ("128", InputSpec((128,), batched=True)),
        ("[2,128]", InputSpec((2, 128))),
        ("[]", InputSpec(())),
        ("int64[1,128]", InputSpec((1, 128), "int64")),
        ("int64[1,128]<30522", InputSpec((1, 128), "int64", 30522)),
        ("attention_mask=int64[1,128]<2", NamedInput("attention_mask", InputSpec((1, 128), "int64", 2))),
        ("float16:3x224x224", InputSpec((3, 224, 224), "float16", batched=True)),
        ("int64:128<30522", InputSpec((128,), "int64", 30522, batched=True)),
        (" mask = bool [ 1 , 2 ] ", NamedInput("mask", InputSpec((1, 2), "bool"))),
        ("int64[4]>=-100<0", InputSpec((4,), "int64", 0, low=-100)),
        ("bool:8>=1<2", InputSpec((8,), "bool", 2, batched=True, low=1)),
        ("3x8x8>=0<1", InputSpec((3, 8, 8), high=1.0, batched=True)),
        ("float64[2]>=-.5<1e3", InputSpec((2,), "float64", 1000.0, low=-0.5)),
        ("float32=float64[3]", NamedInput("float32", InputSpec((3,), "float64"))),
    ],
)
def test_reads(text: str, spec: InputSpec) -> None:
    assert parse_input(text) == spec


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 0, "whole number"),
        ("3x22ax224", 4, "should end here"),
        ("3x", 2, "whole number"),
        ("3x0x3", 2, "1 or more"),
        ("3,224", 1, "should end here"),
        ("[2,", 3, "whole number"),
        ("[2,128", 6, "']'"),
        ("[-1]", 1, "1 or more"),
        ("[-1,3,224]", 1, "1 or more"),
        ("float[3]", 0, "a dtype"),
        ("(3,224,224)", 1, "no shape"),
        ("{image 3x4}", 1, "a key and ':'"),
        ("{image: 3x4", 11, "','"),
        ("[3x4 5]", 5, "','"),
        ("int(x)", 0, "whole number"),
        ("[" * 30 + "3x4", 20, "deep"),
        ("int64[3]>=1", 11, "'<' was expected"),
        ("int64[3]>=5<5", 12, "no integer"),
        ("uint8[3]>=-1<5", 10, "from 0 to 255"),
        ("x=int46[3]", 2, "a dtype"),
        ("complex64[3]<4", 13, "complex numbers have no range"),
        ("[3]>=1", 6, "'<' was expected"),
        ("3x4>=0.5<0.5", 9, "no number from 0.5"),
        ("3x4>=x", 5, "a number was expected"),
        ("3x4<inf", 4, "a number was expected"),
        ("3x4<1e999", 4, "float64 holds"),
        ("float16[3]<1e5", 11, "from -65504.0 to 65504.0"),
        ("[3]@x.txt", 4, "ends in .npy or .pt"),
        ("int8[3]<129", 8, "from -128 to 127"),
        ("bool[3]<3", 8, "from 0 to 1"),
        ("int64[3]<", 9, "whole number"),
        ("3x4 5", 4, "should end here"),
        ("999999999999x999999999999", 25, "more than any tensor"),
    ],
)
def test_points_at_the_character_where_it_breaks(text: str, column: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input(text)
    shown, pointer = caught.value.given.splitlines()[1:]
    assert shown == f"  {text}"
    assert pointer.index("^") - 2 == column
    assert says in pointer
    assert "3x224x224" in caught.value.hint


def _ends(dtype: str | None) -> tuple[int, int]:
    if dtype is None or is_floating_dtype(dtype):
        return 0, 0
    limits = torch.iinfo(getattr(torch, dtype)) if dtype != "bool" else None
    return (limits.min, limits.max) if limits else (0, 1)


@st.composite
def input_specs(draw: st.DrawFn, largest: int = 4096) -> InputSpec:
    batched = draw(st.booleans())
    shape = tuple(draw(st.lists(st.integers(1, largest), min_size=int(batched), max_size=4)))
    dtype = draw(st.none() | st.sampled_from(INPUT_DTYPES))
    least, most = _ends(dtype)
    if draw(st.booleans()) or (dtype or "").startswith("complex"):
        return InputSpec(shape, dtype, None, batched)
    if least == most:  # quarters, which every floating dtype holds
        low, high = sorted(draw(st.lists(st.integers(-32, 32), min_size=2, max_size=2, unique=True)))
        return InputSpec(shape, dtype, high / 4, batched, low / 4)
    low = draw(st.just(0) | st.integers(least, most))
    return InputSpec(shape, dtype, draw(st.integers(low + 1, most + 1)), batched, low)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z_0-9]{0,8}", fullmatch=True)
LITERALS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
PLAIN = LITERALS | st.sampled_from([float("inf"), float("-inf")])
TREES = st.recursive(
    input_specs() | PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=6) | st.integers(-(10**9), 10**9), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(input_specs())
def test_prints_what_it_reads(spec: InputSpec) -> None:
    assert parse_input(str(spec)) == spec


@given(TREES)
def test_what_describe_prints_is_read_again(tree: Any) -> None:
    assert parse_input(describe_input(tree)) == tree


@given(NAMES, TREES)
def test_a_name_stands_in_front_of_anything(name: str, tree: Any) -> None:
    assert parse_input(f"{name}={describe_input(tree)}") == NamedInput(name, tree)


@given(st.text() | st.text("0123456789x[],<=:int64bool_ ", max_size=20))
@example("٣x٤")
@example("²[1]")
@example("0" * 400 + "1")
@example("{'\ud800': 3x4}")
@example("['\0', 3]")
@example("'\\x1'")
def test_any_text_reads_or_is_a_usage_error(text: str) -> None:
    try:
        read = parse_input(text)
    except UsageError:
        return
    if not isinstance(read, NamedInput):
        assert str(parse_input(describe_input(read))) == str(read)  # a nan is not equal to itself


IDS = torch.tensor([[1, 2]])
IMAGE = InputSpec((1, 3, 8, 8))


@pytest.mark.parametrize(
    ("given_inputs", "args", "kwargs"),
    [
        ((1, 3, 8, 8), (IMAGE,), {}),
        ([1, 3, 8, 8], (IMAGE,), {}),
        (torch.Size((1, 3, 8, 8)), (IMAGE,), {}),
        ("3x8x8", (InputSpec((3, 8, 8), batched=True),), {}),
        (torch.zeros(2, 3), (InputSpec((2, 3), "float32"),), {}),
        (torch.empty(2, 3, dtype=torch.bfloat16, device="meta"), (InputSpec((2, 3), "bfloat16"),), {}),
        (torch.empty(TOO_MANY, dtype=torch.int64, device="meta"), (InputSpec((TOO_MANY,), "int64"),), {}),
        (((1, 3, 8, 8), (1, 3, 8, 8)), (IMAGE, IMAGE), {}),
        (([(3, 8, 8)], None, 0.5), ([InputSpec((3, 8, 8))], None, 0.5), {}),
        (["[3]", "mask=bool[1]"], (InputSpec((3,)),), {"mask": InputSpec((1,), "bool")}),
        ({"x": (1, 2), "n": True}, (), {"x": InputSpec((1, 2)), "n": True}),
        (UserDict(x=(1, 2)), (), {"x": InputSpec((1, 2))}),
        ((), (), {}),
    ],
)  # fmt: skip
def test_normalises(given_inputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert normalise_inputs(given_inputs) == (args, kwargs)


def test_small_integer_tensors_keep_their_values() -> None:
    (args, _) = normalise_inputs([{"ids": IDS}])
    made = make_input_tensors(args, device="meta", batch=1, dtype="float32")[0]["ids"]
    assert torch.equal(made, IDS)
    assert made is not IDS
    made.fill_(9)
    assert IDS.tolist() == [[1, 2]]


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        normalise_inputs(["a=3x4", "a=3x4"])


def test_floating_tensors_follow_a_chosen_dtype() -> None:
    inputs = cast_float_inputs((torch.zeros(1, 3), [torch.zeros(2)], IDS, "float64[3]"), "float16")
    args = make_input_tensors(normalise_inputs(inputs).args, device="cpu", batch=1, dtype="float16")
    assert [args[0].dtype, args[1][0].dtype, args[2].dtype, args[3].dtype] == [
        torch.float16, torch.float16, torch.int64, torch.float64,
    ]  # fmt: skip


@given(input_specs(largest=12), st.integers(1, 3), st.sampled_from(["cpu", "meta"]))
@example(InputSpec((3,), "int64", 2**63), 1, "cpu")
@example(InputSpec((3,), "int64", 2**63, low=2**63 - 1), 1, "meta")
@example(InputSpec((3,), "int64", 2**63, low=-(2**63)), 1, "cpu")
@example(InputSpec((3,), "uint64", 2**64, low=2**64 - 1), 1, "cpu")
@example(InputSpec((3,), "uint64", 2**64), 1, "cpu")
@example(InputSpec((3,), "uint64", 2**64, low=2**63 - 1), 1, "cpu")
def test_makes_the_tensor_that_was_asked_for(spec: InputSpec, batch: int, device: Any) -> None:
    state = torch.get_rng_state()
    tensor = make_input_tensors([spec], device=device, batch=batch, dtype="bfloat16")[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert tuple(tensor.shape) == spec.full_shape(batch)
    assert str(tensor.dtype) == f"torch.{spec.dtype or 'bfloat16'}"
    real = device == "cpu" or (
        not is_floating_dtype(spec.dtype or "bfloat16") and tensor.numel() <= MAX_REAL_INPUT_ELEMENTS
    )
    assert tensor.is_meta is not real
    if real and spec.high is not None:
        values = tensor.flatten().tolist()
        assert min(values) >= spec.low
        assert max(values) < spec.high


def test_values_are_normal_and_the_same_each_time() -> None:
    one, two = (make_input_tensors(InputSpec((10_000,)), device="cpu", batch=1, dtype="float32") for _ in range(2))
    assert torch.equal(one, two)
    assert abs(float(one.mean())) < 0.05
    assert abs(float(one.std()) - 1) < 0.05


def test_large_integers_go_to_meta() -> None:
    assert make_input_tensors(
        InputSpec((MAX_REAL_INPUT_ELEMENTS + 1,), "int64"), device="meta", batch=1, dtype="float32"
    ).is_meta


@pytest.mark.parametrize(
    ("tree", "title"),
    [
        (InputSpec((3, 224, 224), batched=True), "3x224x224"),
        (InputSpec((1, 128), "int64", 30522), "int64[1,128]<30522"),
        (InputSpec((128,), "int64", 30522, batched=True), "int64:128<30522"),
        (InputSpec((2, 3)), "[2,3]"),
        ([InputSpec((3, 8, 8))], "[[3,8,8]]"),
        ([InputSpec((8,), batched=True)], "[8,]"),
        (([], ()), "([,], ())"),
        ("x" * 99, f"'{'x' * 99}'"),
        ({"n": 5, "a b": 0.5, 3: "x"}, "{n: int(5), 'a b': 0.5, 3: 'x'}"),
        ({"ids": IDS, "flag": None}, "{ids: int64[1,2], flag: None}"),
    ],
)
def test_describes(tree: Any, title: str) -> None:
    assert describe_input(tree) == title


def test_meta_inputs_do_not_load_the_compiler() -> None:
    code = (
        "import sys; from archprof.sources.inputs import make_input_tensors, normalise_inputs;"
        "args = normalise_inputs(['3x8x8', 'm=int64[1,9]<5']).args;"
        "make_input_tensors(args, device='meta', batch=1, dtype='float32');"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(NAMES, st.recursive(LITERALS, lambda inner: st.lists(inner) | st.lists(inner).map(tuple), max_leaves=6))
def test_an_argument_is_a_literal(name: str, value: Any) -> None:
    assert parse_input(parse_argument(f"{name} = {value!r}")) == NamedInput(name, value)


@pytest.mark.parametrize(
    "text", ["", "=3", "x", "x=", "x=y", "x=__import__('os')", "x=1+", "1x=2", "x={1, 2}", "x=" + "(" * 500, "x=b'a'"]
)
def test_what_is_no_argument_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="--arg"):
        parse_argument(text)


def test_arguments_stand_beside_the_default_input() -> None:
    assert normalise_inputs(["flag=True", "size=(int(7), int(7))"]) == ((), {"flag": True, "size": (7, 7)})
