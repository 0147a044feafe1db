"""A fast sample of the score, held to the rows that the last whole score wrote, and the guide held to those rows."""

from __future__ import annotations

from pathlib import Path

import pytest

import archprof
from archprof.predicting.memory import Estimate, predict_memory
from archprof.predicting.workspaces import choose_workspaces

pytest.importorskip("timm")

from prediction import brackets, language_models, score, scored
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
        "max allocated": (0.008, 0.025, 0.05), "reserved": (0.025, 0.08, 1), "device used": (0.035, 0.11, 1),
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
    needs = [brackets.find_need("timm:mobilevitv2_150", 256, "amp float16", n, True, False).value for n in (128, 192)]
    assert needs[0] <= 24268 << 20 < needs[1]


def test_the_whole_of_what_fits_is_within_its_bounds() -> None:
    """At most one in a hundred of the batches that ran in training is refused, and 70 % of the next are caught."""
    rows = scored.read_scored()
    ran, failed = ([row for row in rows if row.quantity == f"{ended}, train"] for ended in ("ran", "failed"))
    assert len(ran) == len(failed) > 100
    assert sum(row.predicted > row.measured for row in ran) <= 0.01 * len(ran)
    assert sum(row.predicted > row.measured for row in failed) >= 0.7 * len(failed)


def test_inference_refuses_one_batch_that_ran() -> None:
    """Its aim, 1 % of the batches, is missed by that one; which it is, the guide says."""
    ran = [row for row in scored.read_scored() if row.quantity == "ran, infer"]
    assert [row.what.split()[0] for row in ran if row.predicted > row.measured] == ["timm:crossvit_18_dagger_408"]
    assert len(ran) > 80


def test_the_guide_and_its_picture_are_made_of_the_rows() -> None:
    rows = scored.read_scored()
    text = GUIDE.read_text()
    assert scored.tabulate(rows) in text
    assert scored.tabulate_fits(rows) in text
    assert scored.PICTURE.read_text() == scored.draw(rows)


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
    """One batch that ran is refused by the value alone; one that failed is caught, one is not, one is in doubt."""
    ran = [Estimate(8, 7, 9), Estimate(11, 9, 12), Estimate(8, 7, 9)]
    failed = [Estimate(12, 11, 13), Estimate(8, 7, 9), Estimate(9, 8, 11)]
    there = [brackets.Bracket("x", a, b, 10) for a, b in zip(ran, failed, strict=True)]
    there.append(brackets.Bracket("gone", None, None, 10))
    assert brackets.count("x", there) == brackets.Caught(
        "x", 3, refused=1, caught=1, surely_refused=0, surely_caught=1, doubted=2, not_built=1
    )


def test_the_picture_by_hand() -> None:
    """10^8 bytes are at the start of an axis and 10^11 at its end; what is too high lies above the line."""
    assert (scored.place(1e8), scored.place(1e11)) == (0, scored.SIZE)
    drawn = scored.draw([Scored("reserved", "x", 10**11, 10**8)])
    assert f"M{scored.EDGE} 0h0" in drawn
