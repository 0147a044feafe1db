"""`archprof.predict`: a grid of devices, batches and dtypes; names, prices, phases of a decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import archprof
from archprof.library.predictions import read_batches, read_prices
from archprof.predicting.devices import load_catalogue, resolve_device
from archprof.predicting.runs import choose_device, choose_devices


def test_one_prediction_for_each_device_batch_and_dtype() -> None:
    answer = archprof.predict("lenet5", device="t4,4090", batch="1,32", dtype="float32,float16")
    found = [(one.device, one.batch, one.dtype) for one in answer.predictions]
    assert found == [
        (device, batch, dtype)
        for device in ("NVIDIA T4", "NVIDIA GeForce RTX 4090")
        for dtype in ("float32", "float16")
        for batch in (1, 32)
    ]
    for one in answer.predictions:
        assert 0 < one.whole.low < one.whole.p50 < one.whole.high
        one.check()
        assert len(one.layers) > 5


def test_a_module_and_a_profile_are_predicted_as_a_name_is() -> None:
    profile = archprof.profile("lenet5", batch=4)
    by_name = archprof.predict("lenet5", device=["l4"], batch=4).predictions
    assert archprof.predict(profile, device="l4").predictions == by_name
    assert archprof.predict(nn.Linear(8, 8), "8", device="t4").predictions[0].whole.p50 > 0


def test_a_saved_profile_is_predicted_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "lenet5.json"
    archprof.profile("lenet5", batch=2).save(path)
    (one,) = archprof.predict(str(path), device="t4").predictions
    assert one.batch == 2
    with pytest.raises(archprof.UsageError, match="batch cannot change it"):
        archprof.predict(str(path), device="t4", batch=8)


def test_a_training_step_has_the_step_of_its_optimizer() -> None:
    plain, step = (
        archprof.predict("lenet5", device="t4", batch=64, train=True, optimizer=name).predictions[0]
        for name in (None, "sgd(momentum=0.9)")
    )
    forward = archprof.predict("lenet5", device="t4", batch=64).predictions[0]
    assert forward.whole.p50 < plain.whole.p50 < step.whole.p50
    assert [row.key.value for row in step.rest] == ["optimizer step"]


def test_captured_without_the_host_is_never_slower() -> None:
    eager, captured = (
        archprof.predict("lenet5", device="h100", captured=captured).predictions[0] for captured in (False, True)
    )
    assert (eager.eager, captured.eager) == (True, False)
    assert captured.whole.p50 <= eager.whole.p50


def test_a_board_is_chosen_where_several_have_the_chip() -> None:
    chosen = choose_device("a100")
    assert chosen.device.name == "NVIDIA A100 SXM4 40GB"
    assert "NVIDIA A100 PCIe 80GB" in chosen.note
    assert choose_device("a100-80") == (resolve_device("a100-80"), "")
    assert choose_device("4060 ti").device.name == "NVIDIA GeForce RTX 4060 Ti 8GB"
    with pytest.raises(archprof.UsageError, match="names 3 devices"):
        choose_device("rtx 6000")  # of Turing, and of Ada
    answer = archprof.predict("lenet5", device="a100")
    assert any("'a100' is taken to be" in note for note in answer.table().notes)


def test_all_gpus_of_the_catalogue() -> None:
    answer = archprof.predict("lenet5", device="all")
    assert len(answer.predictions) == sum(device.kind == "gpu" for device in load_catalogue())


def test_a_model_that_does_nothing_takes_no_time() -> None:
    answer = archprof.predict(nn.Identity(), "8", device="t4", price=1)
    assert answer.predictions[0].whole.p50 == 0
    assert answer.table().records()[0]["rate"] is None
    assert '"layers": []' in answer.to_json()
    assert str(answer)


def test_a_device_named_twice_is_predicted_once() -> None:
    assert [one.device.name for one in choose_devices("t4, Tesla T4,l4")] == ["NVIDIA T4", "NVIDIA L4"]


@pytest.mark.parametrize("device", ["", "t4,", "t4,nothing"])
def test_a_device_that_is_none_is_an_error(device: str) -> None:
    with pytest.raises(archprof.UnknownName, match="There is no device"):
        archprof.predict("lenet5", device=device)


def test_batches_and_prices_as_people_write_them() -> None:
    assert read_batches(8) == [8]
    assert read_batches("1, 8,64") == [1, 8, 64]
    assert read_batches([2, 4]) == [2, 4]
    assert read_prices("1.2", 2) == [1.2, 1.2]
    assert read_prices("0.5,1.2", 2) == [0.5, 1.2]
    assert read_prices(None, 1) == []
    for wrong in ("cheap", "-1", "nan", "inf", "", "1,2,3"):
        with pytest.raises(archprof.UsageError):
            read_prices(wrong, 2)
    for wrong in ("auto", "", "1,,2", "1.5"):
        with pytest.raises(archprof.UsageError, match="no batch size"):
            read_batches(wrong)


def test_what_was_traced_is_not_traced_again() -> None:
    profile = archprof.profile("lenet5")
    with pytest.raises(archprof.UsageError, match="batch cannot change it"):
        archprof.predict(profile, device="t4", batch="1,32")


def test_each_device_has_its_price() -> None:
    rows = archprof.predict("lenet5", device="t4,l4", batch="1,8", price="0.5,2").table().records()
    for row, price in zip(rows, (0.5, 0.5, 2, 2), strict=True):
        assert row["cost"] == pytest.approx(row["predicted"] / row["batch"] * 1e6 / 3600 * price)


def test_a_wrong_grouping_is_told_before_any_work() -> None:
    with pytest.raises(archprof.UnknownName, match="layer, stage"):
        archprof.predict("no_such_model", device="t4", by="op")


def test_a_context_alone_is_that_of_both_phases() -> None:
    pytest.importorskip("transformers")
    answer = archprof.predict("hf:gpt2", device="h100", context=64, dtype="float16")
    assert [profile.decoding.phase for profile, _ in answer.passes] == ["prefill", "decode"]
    rows = answer.table().records()
    assert rows[0]["rate"] == pytest.approx(64 / rows[0]["predicted"])
    assert rows[1]["rate"] == pytest.approx(1 / rows[1]["predicted"])


def test_a_token_reads_every_weight_once() -> None:
    """GPT-2: 124,439,808 parameters, 2 bytes each, read once a token whatever the batch; but for the table of
    positions (1024 x 768), of which it reads a row; and of its cache keys and values of 12 layers x 768 a token.
    """
    pytest.importorskip("transformers")
    device = resolve_device("h100")
    bandwidth = device.bandwidth.value
    weights = 2 * (124_439_808 - 1024 * 768)
    cache = 2 * 12 * 768 * 2 * 512
    (one,) = archprof.predict("hf:gpt2", device="h100", phase="decode", context=512, dtype="float16").predictions
    assert one.roofline_seconds >= (weights + cache) / bandwidth
    assert one.roofline_seconds <= 1.6 * (weights + cache) / bandwidth  # the cache is copied by older code, too
    (eight,) = archprof.predict(
        "hf:gpt2", device="h100", phase="decode", context=512, dtype="float16", batch=8
    ).predictions
    assert eight.roofline_seconds >= (weights + 8 * cache) / bandwidth
    assert eight.roofline_seconds - one.roofline_seconds < 7 * 3 * 1.5 * cache / bandwidth  # no weight is read again
