"""A fast sample of the score, held to the rows that the last whole score wrote, and the guide held to those rows."""

from __future__ import annotations

from pathlib import Path

import pytest

import archprof
from archprof.predicting.memory import Estimate, predict_memory
from archprof.predicting.workspaces import choose_workspaces

pytest.importorskip("timm")

from prediction import brackets, language_models, peers, score, scored
from prediction.brackets import Need
from prediction.halves import halves
from prediction.scored import Scored

GUIDE = Path(archprof.__file__).parent / "guide" / "memory.md"


def test_a_sample_of_the_models_of_pepr() -> None:
    """A tenth of 36 models; the whole has medians of 0.35 % and 2.1 %, and 0 % under by more than 2 %."""
    allocated, reserved = score.score_pepr(quick=True)
    assert allocated.median < 0.008
    assert allocated.p90 < 0.025
    assert allocated.under <= 0.05
    assert reserved.median < 0.03


def test_the_whole_score_is_within_its_bounds() -> None:
    """Of its rows, as they were written: median, p90, and the share that is under by more than 2 %."""
    rows = scored.read_scored()
    bounds = {
        "max allocated": (0.008, 0.025, 0.05), "reserved": (0.025, 0.08, 1), "device used": (0.035, 0.1, 1),
        "language model": (0.01, 0.01, 0.1),
    }  # fmt: skip
    for quantity, most in bounds.items():
        found = scored.summarise([row.error for row in rows if row.quantity == quantity])
        assert all(value <= bound for value, bound in zip(found, most, strict=True)), (quantity, found)


def test_rows_are_what_is_predicted_now() -> None:
    known = {(row.quantity, row.what): row.predicted for row in scored.read_scored()}
    model, shape = "timm:ghostnet_100(num_classes=7)", "3x256x256"
    found = predict_memory(score.trace_pepr(model, shape), choose_workspaces(None))
    assert known["max allocated", f"{model} {shape}"] == found.allocated_peak_bytes.value
    assert known["reserved", f"{model} {shape}"] == found.reserved_peak_bytes.value
    for name in ("niu_forward_memory_snapshot_100", "wed_medium_128_inference"):
        run = language_models.RECORDED[name]
        assert known["language model", name] == language_models.predict_recorded(run, name.startswith("niu"))


def test_whether_batches_of_one_model_fit() -> None:
    """128 images of 256 x 256 ran on an RTX 3090 in training under autocast, 192 did not."""
    asked = [("timm:mobilevitv2_150", 256, "amp float16", batch, "pt112", "nchw") for batch in (128, 192)]
    assert [brackets.find_need(one, train=True).breaks(24268 << 20) for one in asked] == [False, True]


def test_sizes_that_an_older_release_refuses() -> None:
    """In inference 768 images ran and 1,024 did not, whose 128 channels of 128 x 128 have 2^31 elements."""
    asked = [("timm:mobilevit_s", 256, "amp float16", batch, "pt240", "nchw") for batch in (768, 1024)]
    needs = [brackets.find_need(one, train=False) for one in asked]
    assert [one.refused for one in needs] == [False, True]
    assert needs[1].memory.value < 24268 << 20


@pytest.mark.parametrize(("mode", "least"), [("train", 100), ("infer", 80)])
def test_the_whole_of_what_fits_is_within_its_bounds(mode: str, least: int) -> None:
    """At most one in a hundred of the batches that ran is refused, and 70 % of the next are caught."""
    rows = scored.read_scored()
    ran, failed = ([row for row in rows if row.quantity == f"{ended}, {mode}"] for ended in ("ran", "failed"))
    assert len(ran) == len(failed) > least
    assert sum(row.is_refused for row in ran) <= 0.01 * len(ran)
    assert sum(row.is_refused for row in failed) >= 0.7 * len(failed)


def test_the_guide_and_its_picture_are_made_of_the_rows() -> None:
    rows = scored.read_scored()
    text = GUIDE.read_text()
    assert scored.tabulate(rows) in text
    assert scored.tabulate_fits(rows) in text
    assert scored.PICTURE.read_text() == scored.draw(rows)


def test_the_guide_has_the_peers_as_they_answered() -> None:
    """Those that say what is live agree with each other to the byte, wherever both were asked."""
    answers = peers.read_answers()
    assert peers.tabulate(answers) in GUIDE.read_text()
    said = {one[:3]: one.predicted for one in answers}
    tracked = [(model, shape) for tool, model, shape in said if tool == "MemTracker"]
    assert len(tracked) >= 6
    assert all(said[("MemTracker", *row)] == said[("FakeTensor", *row)] for row in tracked)


@pytest.mark.parametrize("tool", ["archprof", "FakeTensor"])
def test_peers_answer_as_they_did(tool: str) -> None:
    known = {one[:3]: one.predicted for one in peers.read_answers()}
    model, shape = "timm:vgg13(num_classes=7)", "3x256x256"
    assert peers.TOOLS[tool](model, shape) == known[tool, model, shape]


def test_halves_split_families_and_not_models() -> None:
    names = ["timm:resnet50", "timm:resnet101", "timm:resnext50_32x4d", "timm:vgg11", "timm:vgg13(num_classes=7)"]
    half = halves(names)
    assert half["timm:resnet50"] == half["timm:resnet101"] != half["timm:resnext50_32x4d"]
    assert half["timm:vgg11"] == half["timm:vgg13(num_classes=7)"]


def test_errors_by_hand() -> None:
    errors = score.Errors("x", (-0.05, 0.01, -0.02, 0.04))
    assert errors.median == pytest.approx(0.03)
    assert errors.p90 == pytest.approx(0.05)
    assert errors.under == pytest.approx(0.25)


def test_brackets_by_hand() -> None:
    """One batch that ran is refused by the value alone; of those that failed one is caught by memory, one by a kernel,
    and one is in doubt.
    """
    ran = [Need(Estimate(*one), refused=False) for one in ((8, 7, 9), (11, 9, 12), (8, 7, 9), (8, 7, 9))]
    failed = [Need(Estimate(*one), refused=False) for one in ((12, 11, 13), (8, 7, 9), (9, 8, 11))]
    failed.append(Need(Estimate(8, 7, 9), refused=True))
    there = [brackets.Bracket("x", a, b, 10) for a, b in zip(ran, failed, strict=True)]
    there.append(brackets.Bracket("gone", None, None, 10))
    assert brackets.count("x", there) == brackets.Caught(
        "x", 4, refused=1, caught=2, caught_by_kernel=1, surely_refused=0, surely_caught=2, doubted=3, not_built=1
    )


def test_the_picture_by_hand() -> None:
    """10^8 bytes are at the start of an axis and 10^11 at its end; what is too high lies above the line."""
    assert (scored.place(1e8), scored.place(1e11)) == (0, scored.SIZE)
    drawn = scored.draw([Scored("reserved", "x", 10**11, 10**8)])
    assert f"M{scored.EDGE} 0h0" in drawn
