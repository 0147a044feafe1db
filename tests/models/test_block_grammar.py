"""The language of block specs. Oracle: it is read, written and read again; errors stand where a person would point."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archprof.errors import UsageError
from archprof.models.block_grammar import (
    LAYER_KINDS,
    MAX_NET_LAYERS,
    BlockItem,
    BlockSpec,
    LayerSpec,
    RepeatSpec,
    ResidualSpec,
    count_layers,
    default_padding,
    default_stride,
    expand_repeats,
    looks_like_blocks,
    parse_blocks,
)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("conv5-128", LayerSpec("conv", 5, 128, 1, 2)),
        ("conv3-64/s2", LayerSpec("conv", 3, 64, 2, 1)),
        ("conv3-64/d2", LayerSpec("conv", 3, 64, 1, 2, 2)),
        ("conv11-96/s4/p0/nobias", LayerSpec("conv", 11, 96, 4, 0, bias=False)),
        ("conv3-64/nobias/g4/p0", LayerSpec("conv", 3, 64, 1, 0, 1, 4, False)),
        ("tconv2-64/s2", LayerSpec("tconv", 2, 64, 2, 0)),
        ("tconv4-64/s2", LayerSpec("tconv", 4, 64, 2, 1)),
        ("dw3/s2", LayerSpec("dw", 3, None, 2, 1)),
        ("pool2", LayerSpec("pool", 2, None, 2, 0)),
        ("pool3/s2/p1", LayerSpec("pool", 3, None, 2, 1)),
        ("avgpool2", LayerSpec("avgpool", 2, None, 2, 0)),
        ("linear-10/nobias", LayerSpec("linear", None, 10, bias=False)),
        ("gap", LayerSpec("gap")),
    ],
)
def test_reads_a_layer_with_its_defaults(text: str, layer: LayerSpec) -> None:
    assert parse_blocks(text) == BlockSpec((layer,))


def test_reads_brackets() -> None:
    relu, pool = LayerSpec("relu"), LayerSpec("pool", 2, None, 2)
    assert parse_blocks(" ( relu  [relu pool2] )x3\tpool2") == BlockSpec(
        (RepeatSpec((relu, ResidualSpec((relu, pool))), 3), pool)
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("conv3-64/s1/p1/d1/g1", "conv3-64"),
        ("conv3-64/nobias/s2", "conv3-64/s2/nobias"),
        ("  pool2/s2\n( relu )x02", "pool2 (relu)x2"),
        ("conv3-64/p2/d2", "conv3-64/d2"),
        ("tconv4-8/p1/s2", "tconv4-8/s2"),
    ],
)
def test_writes_one_form(text: str, written: str) -> None:
    assert str(parse_blocks(text)) == written


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 0, "a layer was expected"),
        ("conv3x3-64", 5, "'-' and the number of channels"),
        ("conv-64", 4, "the kernel size"),
        ("conv3-", 6, "the number of channels"),
        ("conv3-0", 6, "1 to 999,999"),
        ("conv3-64relu", 8, "a space"),
        ("conv3-64 rele", 9, "is relu meant"),
        ("conv3-64/x2", 9, "an option of conv"),
        ("pool2/nobias", 6, "an option of pool"),
        ("conv3-64/s2/s2", 12, "twice"),
        ("conv3-64/s0", 10, "1 to"),
        ("conv3-64/p", 10, "0 to"),
        ("conv3-64/g5", 9, "5 groups"),
        ("pool2/p2", 6, "half of its kernel"),
        ("(relu", 5, "')'"),
        ("[relu", 5, "']'"),
        ("[relu)", 5, "']'"),
        ("relu)", 4, "closes nothing"),
        ("(relu)", 6, "'x'"),
        ("(relu)x", 7, "how often"),
        ("(relu)x0", 7, "how often"),
        ("( )x2", 2, "a layer was expected"),
        ("(relu)x10001", 7, "10,001 layers"),
        ("((relu)x1000 pool2)x1000", 20, "1,001,000 layers"),
        ("(relu)x9999 relu relu", 17, "more than 10,000"),
        ("[" * 21 + "relu" + "]" * 21, 20, "brackets"),
    ],
)
def test_points_at_the_character_where_it_breaks(text: str, column: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_blocks(text)
    shown, pointer = caught.value.given.splitlines()[1:]
    assert shown == f"  {text}"
    assert pointer.index("^") - 2 == column
    assert says in pointer
    assert "conv5-128" in caught.value.hint


@st.composite
def layers(draw: st.DrawFn) -> LayerSpec:
    name = draw(st.sampled_from(sorted(LAYER_KINDS)))
    kind, small = LAYER_KINDS[name], st.integers(1, 12)
    groups = draw(st.integers(1, 4)) if "g" in kind.options else 1
    width = draw(small) * groups if kind.has_width else None
    bias = draw(st.booleans()) if "nobias" in kind.options else True
    if not kind.has_kernel:
        return LayerSpec(name, None, width, bias=bias)
    kernel = draw(small)
    stride = draw(st.just(default_stride(name, kernel)) | small)
    dilation = draw(small) if "d" in kind.options else 1
    most = kernel // 2 if name in ("pool", "avgpool") else 20
    padding = draw(st.just(default_padding(name, kernel, stride, dilation)) | st.integers(0, most))
    return LayerSpec(name, kernel, width, stride, padding, dilation, groups, bias)


def nets() -> st.SearchStrategy[BlockSpec]:
    def brackets(inner: st.SearchStrategy[BlockItem]) -> st.SearchStrategy[BlockItem]:
        items = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.builds(ResidualSpec, items) | st.builds(RepeatSpec, items, st.integers(1, 5))

    items: st.SearchStrategy[BlockItem] = st.recursive(layers(), brackets, max_leaves=8)
    return st.builds(BlockSpec, st.lists(items, min_size=1, max_size=4).map(tuple))


@given(nets())
def test_what_is_written_is_read_back(net: BlockSpec) -> None:
    if count_layers(net) <= MAX_NET_LAYERS:
        assert parse_blocks(str(net)) == net
        assert str(parse_blocks(str(net))) == str(net)


@given(nets())
def test_every_layer_is_written_out(net: BlockSpec) -> None:
    def count(items: tuple[BlockItem, ...]) -> int:
        return sum(count(item.items) if isinstance(item, ResidualSpec) else 1 for item in expand_repeats(items))

    assert count(net.items) == count_layers(net)


PIECES = st.sampled_from(
    [*LAYER_KINDS, "[", "]", "(", ")", "x", "2", "9999", "-", "/", "s", "p", "nobias", " ", "\n", "é", "²"]
)


@given(st.text() | st.lists(PIECES, max_size=30).map("".join))
@example("(" * 3000)
@example("[" * 3000 + "]" * 3000)
@example("(relu)x٣")
@settings(deadline=None)
def test_any_text_is_read_or_the_error_points_into_it(text: str) -> None:
    try:
        net = parse_blocks(text)
    except UsageError as error:
        fault = error
    else:
        assert parse_blocks(str(net)) == net
        return
    first, shown, pointer = fault.given.splitlines()
    assert first.endswith(":")
    assert len(shown) == len(text) + 2
    assert pointer.index("^") - 2 <= len(text)
    assert len(pointer) > pointer.index("^") + 10
    assert fault.hint.startswith("Examples")


@pytest.mark.parametrize(
    "text", ["conv5-128", "conv3-64 bn relu", "(conv3-64)x2", "[relu]", "gap", "convv3-64 relu", "dw3", "conv3x3-64"]
)
def test_what_is_meant_as_blocks(text: str) -> None:
    assert looks_like_blocks(text)


@pytest.mark.parametrize(
    "text",
    ["vgg16", "convnext_tiny", "vgg 16", "vgg16(num_classes=10)", "net.py:conv3", "a.pool:Net", "pool.py", "f(relu)"],
)
def test_what_is_meant_as_a_name(text: str) -> None:
    assert not looks_like_blocks(text)


def test_needs_no_torch() -> None:
    code = (
        "import sys, archprof.models.block_grammar as g; print(g.parse_blocks('(relu)x2'));"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"(relu)x2\n"
