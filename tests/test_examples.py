"""The examples print what the lectures say: each runs, and its text holds the figures of data/lectures.csv."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest
from models.lectures import ROWS

import archprof

FOLDER = Path(__file__).parent.parent / "examples"
SCRIPTS = (
    "alexnet_layer_by_layer", "cifar_ladder", "degradation", "five_by_five", "vanishing_gradients", "vgg16_parameters",
    "winners",
)  # fmt: skip
ARGUMENTS = {"degradation": ["--nets", "cifar_vgg,cifar_vgg_bn", "--epochs", "1"]}
"""Of scripts that take minutes without."""

NEED_DIGITS = {"degradation", "vanishing_gradients"}
WIDTH = 100


@cache
def printed(script: str) -> str:
    """What the script prints when it is run as a program."""
    if script in NEED_DIGITS:
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    with redirect_stdout(StringIO()) as text, mock.patch.object(sys, "argv", [script, *ARGUMENTS.get(script, [])]):
        runpy.run_path(str(FOLDER / f"{script}.py"), run_name="__main__")
    return text.getvalue()


def source(script: str) -> str:
    return (FOLDER / f"{script}.py").read_text(encoding="utf-8")


def figures(script: str, where: str) -> list[float]:
    """The numbers that the groups of a pattern catch in the printed text, where it first matches."""
    found = re.search(where, printed(script), re.MULTILINE)
    assert found, f"{script}: nothing printed matches {where!r}"
    return [
        float(number) for group in found.groups() for number in re.findall(r"\d+(?:\.\d+)?", group.replace(",", ""))
    ]


N = r"([\d,]+)"
"""A whole number, thousands set off."""

SHAPE = r"([\dx]+)"

ALEXNET, LADDER, DEGRADATION, SMALL, VANISHING, VGG16, WINNERS = SCRIPTS
EXAMPLE = r"^The lecture's example.*\n\n.*\n"
SUITE = ("vgg_a", "vgg_a_lrn", "vgg_b", "vgg_c", "vgg_d", "vgg_e")
ENTRIES = (".* 2010", ".* 2011", "alexnet_2012", "zfnet", "vgg19", ".*googlenet", "resnet152")

SAID = {
    "V1": (SMALL, rf"{EXAMPLE}one 5x5 +{N} "),
    "V2": (SMALL, rf"{EXAMPLE}.*\ntwo 3x3 +{N} "),
    "V3": (SMALL, r"^two 3x3 +\S+ +\S+ +(\d+) "),
    "V4": (SMALL, r"^three 3x3 +\S+ +\S+ +(\d+) "),
    "V5": (SMALL, r"^two 3x3 +\S+ +\S+ +\S+ +(\d+) "),
    "V6": (LADDER, rf"^cifar_alexnet_bn +{N} "),
    "V7": (LADDER, rf"^cifar_vgg_bn +{N} "),
    "V8": (SMALL, "\n".join(rf"^{net} +(\d+) weight layers.*" for net in SUITE)),
    "D1": (ALEXNET, rf"^conv features\.0 +{SHAPE} "),
    "D2": (ALEXNET, rf"^conv features\.0 +\S+ +{N} "),
    "D3": (ALEXNET, rf"^conv features\.0 +\S+ +\S+ +{N} "),
    "D4": (ALEXNET, rf"^conv features\.0 +\S+ +\S+ +\S+ +\S+ +{N} "),
    "D5": (ALEXNET, rf"^conv features\.0 +\S+ +\S+ +\S+ +\S+ +\S+ +{N} "),
    "D6": (ALEXNET, r"^Conv2d +\S+ +([\d.]+) .*\nLinear +\S+ +([\d.]+) "),
    "D7": (ALEXNET, rf"^alexnet_ungrouped +3x227x227 +{N} params"),
    "D8": (ALEXNET, rf"^alexnet_2012 +3x227x227 +{N} params"),
    "D9": (ALEXNET, rf"^224 gives {SHAPE}, 227 gives {SHAPE}$"),
    "D10": (ALEXNET, rf"^alexnet_d2l +1x224x224 +{N} params"),
    "D11": (ALEXNET, r"^vgg11 +(\d+) weight layers = 8 convolutions \+ 3 linear$"),
    "D12": (ALEXNET, r"^vgg11_d2l_small.*\n +channels of the blocks: ([\d ]+)$"),
    "K1": (VGG16, rf"^what archprof counts +{N}$"),
    "K2": (VGG16, rf"^features\.0\.bias .* {N}$"),
    "K3": (VGG16, rf"^features\.2\.bias .* {N}$"),
    "K4": (VGG16, rf"maps as {N} numbers"),
    "K6": (VGG16, rf"in batches of 64 is {N} updates"),
    "R1": (LADDER, rf"^cifar_alexnet +{N} "),
    "R2": (LADDER, rf"^cifar_vgg +{N} "),
    "R3": (LADDER, rf"^cifar_vgg_bn +{N} "),
    "R4": (LADDER, rf"^cifar_vgg_bn_deep +{N} "),
    "R5": (LADDER, rf"^cifar_resnet +{N} "),
    "R6": (LADDER, rf"^cifar_resnet_deep +{N} "),
    "M1": (WINNERS, rf"^features\.0 +Conv2d +96x55x55 +{N} "),
    "M2": (WINNERS, rf"^features\.2 +MaxPool2d +{SHAPE} "),
    "M3": (WINNERS, rf"^features\.3 +Conv2d +256x23x23 +{N} "),
    "M4": (WINNERS, rf"256x11x11 .*\n.* 384x9x9 +{N} .*\n.* 384x7x7 +{N} .*\n.* 256x5x5 +{N} .*\n.* 256x2x2 "),
    "M5": (WINNERS, rf"^flatten +Flatten +{N} "),
    "M6": (WINNERS, rf"^AlexNet, said: 27\.55 million.* It has {N},$"),
    "M7": (WINNERS, rf"^Its linear layers, said: about 24 million.* They have {N},"),
    "M8": (WINNERS, rf"^total +\S+ +{N} "),
    "M9": (WINNERS, rf"^ZFNet has more by, said: 1\.45 million.* It has {N} more"),
    "M10": (WINNERS, rf"said: 16 million and 122 million\.\n.* It has {N} and {N}\."),
    "M11": (WINNERS, rf"first linear layer alone has {N}: 74\.3% of the net"),
    "M12": (WINNERS, ".*\n".join(rf"^{entry}.* ([\d.]+)%" for entry in ENTRIES)),
    "M13": (WINNERS, r"^AlexNet has (\d+) layers with parameters.*\nZFNet has (\d+) layers"),
}
"""Where the figures of a row are printed: the script, and a pattern whose groups catch them."""

ELSEWHERE = {
    "D13": "a table, below",
    "K5": "a table, below",
    "K7": "needs a measured step: `archprof epoch`",
    "K8": "a picture: `archprof train`, and the page of its run",
    "R7": "orders of magnitude, below",
    "R8": "orders of magnitude, below",
    "R9": "additions, below",
}


@pytest.mark.parametrize("claim", SAID)
def test_row(claim: str) -> None:
    assert figures(*SAID[claim]) == ROWS[claim].numbers != []


def test_every_row_is_printed_or_waits_with_a_reason() -> None:
    assert set(SAID) | set(ELSEWHERE) == set(ROWS)


@pytest.mark.parametrize(("kept", "nets"), [("27/100", "two 3x3"), ("18/25", "two 3x3"), ("27/49", "three 3x3")])
def test_v2_what_the_stack_keeps(kept: str, nets: str) -> None:
    """9 (64 * 32 + 32 * 128) of 25 * 64 * 128, 2 * 9 of 25 and 3 * 9 of 49."""
    assert re.search(rf"^{nets} .*\n.* the stack keeps {kept} of them", printed(SMALL), re.MULTILINE)


def test_v1_macs_of_both() -> None:
    """The parameters of a convolution without bias, at each of 32 * 32 positions."""
    macs = figures(SMALL, rf"one 5x5 +[\d,]+ +{N} .*\ntwo 3x3 +[\d,]+ +{N} ")
    assert macs == [ROWS[claim].numbers[0] * 32 * 32 for claim in ("V1", "V2")]


def test_v7_half_the_parameters() -> None:
    (ratio,) = figures(LADDER, r"both with batch norm: ([\d.]+)x the parameters")
    assert f"{ratio}x" in ROWS["V7"].note
    assert ratio == round(ROWS["V7"].numbers[0] / ROWS["V6"].numbers[0], 3)


def test_d7_about_a_billion_computations() -> None:
    (macs,) = figures(ALEXNET, r"^alexnet_ungrouped .* params +([\d.]+) GMACs")
    assert f"{macs} GMACs" in ROWS["D7"].note


def test_d9_backwards() -> None:
    """The sizes that the search finds: 227 is one, 224 is not."""
    sizes = figures(ALEXNET, r"^55x55 comes out of images of side ([\d ]+)$")
    found = archprof.inputs("alexnet_2012", "features.0=55x55").records()
    assert [row["input"] for row in found] == [f"{size:.0f}x{size:.0f}" for size in sizes]
    assert 227 in sizes


@pytest.mark.parametrize(("path", "fact"), [("features.0", "conv1"), ("features.3", "conv2"), ("classifier.1", "fc6")])
def test_d13_the_slide(path: str, fact: str) -> None:
    """The computed figures round to those of the slide, which are printed beside them."""
    memory, params, macs = figures(ALEXNET, rf"^\w+ +{path} .* (\d+) +{N} +{N}  ")
    facts = re.search(rf"{fact} ([\d,]+) KiB / ([\d,]+) k / (\d+) M", ROWS["D13"].note)
    assert facts
    assert (f"{memory:.0f}", f"{params / 1e3:,.0f}", f"{macs / 1e6:.0f}") == facts.groups()
    assert re.search(rf"{path} .*  {facts[1]} / {facts[2]} k / {facts[3]} M$", printed(ALEXNET), re.MULTILINE)


def test_d13_every_layer_is_there() -> None:
    """The notes of D6: 2,469,696 in five convolutions, 58,631,144 in three linear layers."""
    rows = re.findall(rf"^(conv|fc|pool) .* {N} +{N}(?:  .*)?$", printed(ALEXNET), re.MULTILINE)
    sums = {kind: sum(int(params.replace(",", "")) for k, params, _ in rows if k == kind) for kind in ("conv", "fc")}
    assert f"conv {sums['conv']:,}, linear {sums['fc']:,}" in ROWS["D6"].note
    assert [kind for kind, _, _ in rows].count("pool") == 3


def test_k5_every_tensor() -> None:
    """The tensors of torch's own VGG16 with 10 classes: name, shape and elements, in its order."""
    from torchvision.models import vgg16

    lines = [line.split() for line in printed(VGG16).splitlines() if re.match(r"\w+\.\d+\.(weight|bias) ", line)]
    expected = [
        [name, "x".join(map(str, tensor.shape)), f"{tensor.numel():,}"]
        for name, tensor in vgg16(num_classes=10).to("meta").named_parameters()
    ]
    assert [line[:3] for line in lines] == expected


def test_m8_and_m12_beside_the_figures() -> None:
    """Rounded words of the lecture stand beside what comes out: maps of 56x56, and depths of the winners."""
    assert "said: still 55x55. Stride 4 without padding gives 56x56" in printed(WINNERS)
    depths = re.findall(r"% +(\d+) layers", printed(WINNERS))
    assert f"depth 0 0 {' '.join(depths)};" in ROWS["M12"].note


def test_m6_with_biases() -> None:
    (total,) = figures(WINNERS, rf"and {N} with biases")
    assert f"with biases {total:,.0f}" in ROWS["M6"].note


@pytest.mark.parametrize(("net", "blocks"), [("cifar_resnet", 8), ("cifar_resnet_deep", 13)])
def test_r9_one_addition_a_block(net: str, blocks: int) -> None:
    """As many additions as the row of the net names blocks; they are all that the blocks do themselves."""
    numbers = figures(LADDER, rf"^{net} +(\d+) blocks, own work +{N} FLOPs = +(\d+) additions, +{N} FLOPs$")
    assert numbers[0] == numbers[2] == blocks
    assert numbers[1] == numbers[3]


def test_r9_before_the_last_relu() -> None:
    ops = [op.name for op in archprof.profile("cifar_resnet").ops]
    after = {ops[at + 1] for at, name in enumerate(ops) if name == "aten.add_"}
    assert after == {"aten.relu_"}


def test_accuracies_are_those_of_the_published_runs() -> None:
    for claim, net in zip("R1 R2 R3 R4 R5 R6".split(), _ladder(), strict=True):
        (accuracy,) = figures(LADDER, rf"^{net} .* ([\d.]+)%$")
        assert f"published run: {accuracy:.2f}%" in ROWS[claim].note


def _ladder() -> Iterator[str]:
    yield from (f"cifar_{net}" for net in ("alexnet", "vgg", "vgg_bn", "vgg_bn_deep", "resnet", "resnet_deep"))


E = r"([\d.]+e[+-]\d+)"
"""A number of any magnitude."""


def magnitudes(where: str) -> list[float]:
    found = re.search(where, printed(VANISHING), re.MULTILINE)
    assert found, where
    return [float(group) for group in found.groups()]


def test_r2_and_r7_gradients_vanish() -> None:
    """What is printed is of the lecture's orders of magnitude, which stand beside it."""
    assert "first-layer |grad| 4.9e-5 against head 1.3e-2" in ROWS["R2"].note
    assert "4.9e-05 in the first layer, 1.3e-02 in the head" in printed(VANISHING)
    assert "about 1e-5 .. 1e-4; last about 1e-2 or more" in ROWS["R7"].expected
    first, head, first_share, head_share = magnitudes(rf"^cifar_vgg +{E} +{E} +{E} +{E}$")
    assert 1e-5 < first < 1e-4
    assert first / 10 < 4.9e-5 < first * 10
    assert 1.3e-2 / 2 < head < 1.3e-2 * 2
    assert 1e-5 <= first_share <= 1e-4
    assert head_share > 5e-3
    *_, healthy, _ = magnitudes(rf"^cifar_vgg_bn +{E} +{E} +{E} +{E}$")
    assert healthy > 0.1


def test_r7_over_five_seeds() -> None:
    """The median of five lies between the least and the greatest; all are far below one in a thousand."""
    *seeds, median, low, high = magnitudes(rf"^{', '.join([E] * 5)}: median {E}, between {E} and {E}\.")
    assert (sorted(seeds)[2], min(seeds), max(seeds)) == (median, low, high)
    assert high < 1e-3


def test_r8_half_are_zeros_and_the_spread_shrinks() -> None:
    rows = re.findall(r"^features\.\d+ +(\d+)% zeros, std ([\d.]+)$", printed(VANISHING), re.MULTILINE)
    assert len(rows) == 9
    assert all(abs(int(zeros) - ROWS["R8"].numbers[0]) < 10 for zeros, _ in rows)
    assert float(rows[0][1]) > 10 * float(rows[-1][1])
    assert "0.55 -> 0.013" in ROWS["R8"].note
    assert "shrinks from 0.55 to 0.013" in printed(VANISHING)


def test_the_ladder_learned_stands_beside_the_lecture() -> None:
    for claim, net in (("R2", "cifar_vgg"), ("R3", "cifar_vgg_bn")):
        found = re.search(rf"^{net} +([\d.]+)% .* ([\d.]+)%   \d", printed(DEGRADATION), re.MULTILINE)
        assert found
        assert f"published run: {found[2]}%" in ROWS[claim].note
    (before, after) = figures(DEGRADATION, r"^cifar_vgg_bn .*%   (\d+) (\d+)$")
    assert after > before


def test_these_are_all_the_scripts() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.py"))) == SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_fits_the_page(script: str) -> None:
    assert printed(script).strip()
    assert max(map(len, printed(script).splitlines())) <= WIDTH


@pytest.mark.parametrize("script", SCRIPTS)
def test_is_short_and_says_what_it_is(script: str) -> None:
    assert 30 <= len(source(script).splitlines()) <= 60
    docstring = ast.get_docstring(ast.parse(source(script)))
    assert docstring
    assert "lecture" in docstring or "study group" in docstring
    assert "Look at" in docstring


@pytest.mark.parametrize("script", SCRIPTS)
def test_needs_only_the_public_library(script: str) -> None:
    tree = ast.parse(source(script))
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name for name in imported if name not in sys.stdlib_module_names | {"collections.abc"}} == {"archprof"}
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    assert {node.attr for node in used if node.value.id == "archprof"} <= set(archprof.__all__)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_result_is_typed_in(script: str) -> None:
    """No figure that archprof could say stands in the code; the lecture's claims stand in constants SAID…"""
    tree = ast.parse(source(script))
    formats = [node.format_spec for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) and node.format_spec]
    meant = {id(node) for root in [*filter(_is_claim, tree.body), *formats] for node in ast.walk(root)}
    typed = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in meant]
    assert {value for value in typed if isinstance(value, int) and value > 1000} <= {1024, 50_000}  # a KiB; images
    texts = [value for value in typed if isinstance(value, str)]
    assert not [text for text in texts if re.search(r"\d[,.]\d|\d{4}|\d ?%", text.replace("2012", ""))]


def _is_claim(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).lstrip("(").startswith("SAID")
