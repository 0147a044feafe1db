"""The largest setting in the memory of a device, against sizes worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import archprof
from archprof.predicting.devices import match_devices, resolve_device
from archprof.predicting.memory import LAZY_CONTEXT_BYTES, STEPS, predict_memory
from archprof.predicting.memory_capacity import GIB
from archprof.predicting.memory_events import list_changes
from archprof.predicting.memory_room import goes_through
from archprof.predicting.workspaces import choose_workspaces

MIB = 1 << 20


def test_the_largest_batch_by_hand() -> None:
    """n x 1 MiB go in and out of a ReLU, in segments of their own size in steps of 2 MiB: 2 n MiB for even n."""
    most = LAZY_CONTEXT_BYTES + 64 * MIB
    rows = archprof.fit(nn.ReLU(), "262144", over="batch", max_memory=most).records()
    assert [(row["setting"], row["fits"]) for row in rows] == [
        ("batch 31", "yes"),
        ("batch 32", "yes"),
        ("batch 33", "no"),
    ]
    assert rows[1]["memory"] == most


def test_training_leaves_room_for_less() -> None:
    most = LAZY_CONTEXT_BYTES + 300 * MIB
    plain, train = (
        archprof.fit("lenet5", over="batch", max_memory=most, **options).records()[1]["setting"]
        for options in ({}, {"train": True, "optimizer": "adam"})
    )
    assert int(train.split()[1]) < int(plain.split()[1])


def test_a_device_is_its_memory() -> None:
    table = archprof.fit("alexnet", over="batch", device="Jetson Orin Nano 8GB Super")
    assert f"at most {8 * 0.985:.2f} GiB memory" in table.title


def test_the_length_of_a_transformers_model() -> None:
    pytest.importorskip("transformers")
    rows = archprof.fit("hf:gpt2", over="seq", max_memory="2.5GiB").records()
    largest = max(row["setting"] for row in rows if row["fits"] == "yes")
    assert largest.startswith("seq ")
    with pytest.raises(archprof.UsageError, match="No length of its input"):
        archprof.fit("lenet5", over="seq", max_memory="2.5GiB")


@pytest.mark.parametrize(("asked", "why"), [({"amp": "float32"}, "Autocast"), ({"dtype": "int8"}, "A pass cannot")])
@pytest.mark.parametrize("over", ["resolution", "width", "depth", "batch", "seq"])
def test_a_pass_that_cannot_be_is_what_is_refused(over: str, asked: dict[str, str], why: str) -> None:
    """And not the setting, which no pass that fails at every size seems to have."""
    with pytest.raises(archprof.UsageError, match=why):
        archprof.fit("lenet5", over=over, max_macs="1G", **asked)


@pytest.mark.parametrize(("most", "holds"), [("2GiB", 2.0), ("1TiB", 24 * 0.985), (3 * GIB, 3.0)])
def test_of_a_device_and_an_amount_the_smaller_holds(most: str | int, holds: float) -> None:
    table = archprof.fit("lenet5", over="batch", max_memory=most, device="4090")
    assert f"at most {holds:.2f} GiB memory" in table.title


def test_gradients_that_stay_are_in_it() -> None:
    """A weight of 64 MiB and, beside its gradient that is kept, the one of the last pass that is added to it."""
    net = nn.Linear(4096, 4096, bias=False)
    most = LAZY_CONTEXT_BYTES + 512 * MIB
    largest = [
        archprof.fit(net, "4096", over="batch", max_memory=most, train=True, optimizer="sgd", **options).records()
        for options in ({}, {"accumulate": 2}, {"set_to_none": False})
    ]
    memory = [
        {row["setting"]: row["memory"] for row in rows if row["memory"] is not None and row["fits"] == "yes"}
        for rows in largest
    ]
    batches = [max(int(setting.split()[1]) for setting in one) for one in memory]
    assert batches[0] > batches[1] == batches[2]


def test_a_device_whose_memory_is_unknown() -> None:
    with pytest.raises(archprof.UsageError, match="EPYC 9654 has is not known"):
        archprof.fit("lenet5", device="EPYC 9654")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h100", "NVIDIA H100 SXM5 80GB"),
        ("H100 PCIe", "NVIDIA H100 PCIe"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("a100-40", "NVIDIA A100 SXM4 40GB"),
        ("a100 pcie 80gb", "NVIDIA A100 PCIe 80GB"),
        ("v100", "NVIDIA V100 SXM2"),
        ("h200", "NVIDIA H200 SXM"),
        ("l4", "NVIDIA L4"),
        ("mi300x", "AMD MI300X"),
    ],
)
def test_names_as_people_type_them(typed: str, meant: str) -> None:
    assert resolve_device(typed).name == meant


def test_the_catalogue_is_listed() -> None:
    listed = archprof.list_devices("h100").records()
    assert [row["device"] for row in listed] == ["NVIDIA H100 SXM5 80GB", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"]
    assert listed[0]["memory"] == 80 * GIB
    assert [device.name for device in match_devices("*A100*40*")] == ["NVIDIA A100 PCIe 40GB", "NVIDIA A100 SXM4 40GB"]
    assert archprof.list_devices("nothing").rows == ()


def test_every_gpu_gets_a_verdict() -> None:
    answer = archprof.predict_memory("alexnet", batch=4096, train=True, device="all")
    said = {row["device"]: row["verdict"] for row in answer.table().records()}
    used = answer.prediction.needed_bytes
    assert used.high is not None
    for row in answer.table().records():
        expected = (
            "fits"
            if used.high <= row["capacity"]
            else "does not fit"
            if used.low > row["capacity"]
            else "too close to say"
        )
        assert row["verdict"] == expected
    assert {"fits", "does not fit"} <= set(said.values())


@pytest.mark.parametrize("over", ["width", "depth"])
def test_a_saved_file_is_no_factory(tmp_path: Path, over: str) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"weight": torch.zeros(3)}, tmp_path / "net.safetensors")
    with pytest.raises(archprof.UsageError, match=f"no setting for its {over}") as error:
        archprof.fit(str(tmp_path / "net.safetensors"), over=over, max_macs="1G")
    assert "can be searched over" not in error.value.hint


class Uneven(nn.Module):
    """At batches that `falls` names, what is kept of the first layer is of one sample."""

    def __init__(self, falls: tuple[int, ...]) -> None:
        super().__init__()
        self.falls = falls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = x[:1].relu() if x.shape[0] in self.falls else x.relu()
        return made.neg()


@pytest.mark.parametrize(
    ("falls", "found", "gap"), [((), 22, None), ((25,), 25, 24), ((25, 27), 27, 26), ((24,), 24, None)]
)
def test_memory_that_falls_above_the_answer(falls: tuple[int, ...], found: int, gap: int | None) -> None:
    """n x 1 MiB go in, come out and are once between: 3 n MiB for even n, and n where only one of them goes on."""
    most = LAZY_CONTEXT_BYTES + 66 * MIB
    table = archprof.fit(Uneven(falls), "262144", over="batch", max_memory=most)
    rows = {row["setting"]: row["fits"] for row in table.records()}
    assert (rows[f"batch {found}"], rows[f"batch {found + 1}"]) == ("yes", "no")
    said = " ".join(table.notes)
    assert f"The largest that fits: batch {found}." in said
    assert (f"batch {gap} is smaller, and does not fit" in said) == (gap is not None)
    assert ("another may fit" in said) == bool(falls)
    assert table.records()[-1]["memory"] > most >= table.records()[-2]["memory"]


def test_what_fits_goes_through_in_that_room() -> None:
    """Each setting is replayed in the room of the budget itself, which its least room is only near to."""
    most = 2 * GIB
    rows = archprof.fit("alexnet", over="batch", max_memory=most, train=True).records()
    for row in rows:
        batch = int(row["setting"].split()[1])
        answer = predict_memory(archprof.profile("alexnet", batch=batch, train=True), choose_workspaces(None))
        changes = tuple(list_changes(answer.profile, answer.workspaces, STEPS))
        assert goes_through(changes, most - LAZY_CONTEXT_BYTES) == (row["fits"] == "yes")
