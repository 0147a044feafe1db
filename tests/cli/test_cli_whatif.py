"""`archprof whatif`, `compare`, `inputs` and `fit` as commands; what they find is tested with the functions."""

import json

import pytest
from typer.testing import CliRunner

import archprof
from archprof.cli import app


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_the_written_module_has_the_numbers_that_were_announced(tmp_path):
    path = tmp_path / "net.py"
    result = run("whatif", "cifar_alexnet", "--stack3x3", "--middle", 32, "-o", path)
    assert result.exit_code == 0
    assert "7x7 3->64: now 3x3 3->32->32->64" in result.stdout
    assert "cifar_alexnet rewritten" in result.stdout
    before, after = archprof.profile("cifar_alexnet"), archprof.profile(f"{path}:Net", (1, 3, 32, 32))
    # Row R1: 3,638,090. By hand: 7x7x3x64, 5x5x64x192 and 5x5x192x384 become stacks through 32 channels.
    saved = 49 * 3 * 64 - 9 * (3 * 32 + 32 * 32 + 32 * 64) - 2 * 32
    saved += 25 * 64 * 192 - 9 * (64 * 32 + 32 * 192) - 32 + 25 * 192 * 384 - 9 * (192 * 32 + 32 * 384) - 32
    assert before.totals.params == 3_638_090
    assert after.totals.params == 3_638_090 - saved
    assert f"{after.totals.params / 1e6:.2f}" in result.stdout


def test_a_rewrite_that_does_not_apply_is_told():
    result = run("whatif", "lenet5", "--residual")
    assert result.exit_code == 0
    assert " no" in result.stdout


def test_a_comparison_in_every_format(tmp_path):
    assert (
        "3.70x" in run("compare", "conv5-128/nobias", "conv3-32/nobias conv3-128/nobias", "--input", "64x32x32").stdout
    )
    data = json.loads(run("compare", "cifar_vgg", "cifar_vgg_bn", "--format", "json").stdout)
    assert "1894490" in json.dumps(data)  # row R2
    assert run("compare", "cifar_vgg", "cifar_vgg_bn", "--format", "md").stdout.count("|") > 20
    path = tmp_path / "rows.csv"
    assert run("compare", "cifar_vgg", "cifar_vgg_bn", "-o", path).exit_code == 0
    assert path.read_text(encoding="utf-8").count("\n") > 20
    assert run("compare", "cifar_vgg", "cifar_vgg_bn", "--layers").stdout.count("Conv2d") > 5


def test_inputs_and_fit():
    found = run("inputs", "alexnet_2012", "--where", "features.0=55x55").stdout  # row D9
    assert "227x227" in found
    assert "224x224" not in found
    assert "224x224" in run("fit", "resnet18", "--max-macs", "1.82G").stdout  # 1,814,073,344 at 224


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (("compare", "alexnet"), 2, ["1 model", "2"]),
        (("compare", "alexnet", "vgg11", "--by", "colour"), 2, ["colour"]),
        (("whatif", "alexnet"), 2, ["--stack3x3", "--num-classes"]),
        (("whatif", "r18.json", "--add-bn"), 2, ["saved profile"]),
        (("whatif", "alexnet", "--middle", 8), 2, ["stack"]),
        (("whatif", "alexnet", "--stack3x3", "-o", "net.txt"), 2, ["net.txt", ".py"]),
        (("inputs", "alexnet", "--where", "features.0"), 2, ["features.0=55x55"]),
        (("inputs", "alexnet", "--where", "nowhere=3x3"), 2, ["nowhere"]),
        (("fit", "alexnet"), 2, ["no budget", "macs"]),
        (("fit", "alexnet", "--max-macs", "1G", "--over", "colour"), 2, ["colour", "resolution"]),
        (("table", "conv3-64 rleu", "--input", "3x8x8"), 2, ["^", "relu"]),
        (("table", "conv3-64"), 2, ["--input"]),
    ],
)
def test_clear_errors(words, code, parts):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_a_module_in_bfloat16_runs_with_the_announced_numbers(tmp_path):
    path = tmp_path / "net.py"
    words = ("whatif", "lenet5", "--num-classes", 7, "--dtype", "bfloat16", "-o", path)
    assert run(*words).exit_code == 0
    assert run("table", f"{path}:Net", "--input", "bfloat16[1,1,32,32]").exit_code == 0
    # LeNet-5 with 84 -> 7 instead of 84 -> 10 in the last layer
    after = archprof.profile(f"{path}:Net", ["bfloat16[1,1,32,32]"])
    assert after.totals.params == archprof.profile("lenet5").totals.params - 3 * 85
    assert after.dtype == "bfloat16"
