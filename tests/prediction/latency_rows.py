"""What was measured in public of times, as rows: whose pass, on what device, under which setting, how many seconds.

The kernels of each pass were listed once by `trace_latency.py`, so that nothing here needs torch. What a source adds to
the time of the pass itself is a constant of that source: the copy of the images to the GPU beside torchvision's nets, a
call and a synchronisation beside NeuSight's convolutions.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from archprof.predicting.latency.kernels import Setting
from archprof.predicting.latency.works import Work

DATA = Path(__file__).parent / "data" / "latency"

DEVICES = {
    "NVIDIA A100-PCIE-40GB": "NVIDIA A100 PCIe 40GB", "Tesla P100-PCIE-16GB": "NVIDIA P100 PCIe",
    "Tesla V100-PCIE-32GB": "NVIDIA V100 PCIe", "V100 32GB PCIe": "NVIDIA V100 PCIe",
    "V100 16GB SXM2": "NVIDIA V100 SXM2", "V100": "NVIDIA V100 SXM2", "A100 40GB SXM4": "NVIDIA A100 SXM4 40GB",
    "A100 40GB": "NVIDIA A100 SXM4 40GB", "A100-SXM4-80GB": "NVIDIA A100 SXM4 80GB",
    "RTX 3090": "NVIDIA GeForce RTX 3090", "RTX 2080 Ti": "NVIDIA GeForce RTX 2080 Ti",
    "GTX 1080 Ti": "NVIDIA GeForce GTX 1080 Ti", "TITAN Xp": "NVIDIA TITAN Xp",
}  # fmt: skip
"""As the sources call them, and the catalogue."""

LARGE_PRODUCTS = {"NVIDIA H100 SXM5 80GB": 794.5e12, "NVIDIA H200 SXM": 788e12, "NVIDIA B200 SXM": 1745e12}
"""FLOP/s of the best large product in bfloat16, which the catalogue has as measured_bf16."""

LARGE_SIZE = 8192
OWN_TF32 = (False, True)
BOTH_TF32 = (True, True)

ELEMENTWISE_INPUTS = {"add": 2, "mul": 2, "pow": 2, "div": 2}
ROW_KINDS = {"softmax": "softmax", "ln": "norm"}


OTHER_NETS = {"timm:ecaresnext50t_32x4d"}
"""Measured when timm built something else by that name: its times are those of ecaresnext26t_32x4d, to 0.2 percent, in
all eight rows; today's net has twice the layers."""


class Row(NamedTuple):
    """One measurement.

    Attributes:
        source: whose, by kind of pass.
        pass_key: of the kernels in works.json.gz; "" where `work` is all of it.
        work: the one kernel of an op that was measured alone.
        device: its name in the catalogue.
        chip: what is left out together: devices of one chip.
        system: the machine, where a source has several of one device.
        family: what is left out together: models, or ops.
        mode, dtype: of the pass.
        setting: see there.
        seconds: measured.
        copied: share of the images of float32 that are copied to the device within that time.
        called: an op was launched and waited for within that time.
    """

    source: str
    pass_key: str
    work: Work | None
    device: str
    system: str
    family: str
    mode: str
    dtype: str
    setting: Setting
    seconds: float
    samples: int = 1
    copied: float = 0.0
    called: bool = False

    @property
    def chip(self) -> str:
        """A100 PCIe and A100 SXM4 are one."""
        found = re.search(r"[APV]100|H[12]00|B200|1080 Ti|TITAN Xp|2080 Ti|3090", self.device)
        return found[0] if found else self.device

    @property
    def machine(self) -> str:
        """Where it was measured, of the chip: others' machines differ in torchvision's rows alone."""
        return self.system if self.source == "torchvision" else self.source


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of a file of measurements."""
    raw = (DATA / name).read_bytes()
    text = gzip.decompress(raw) if name.endswith(".gz") else raw
    return list(csv.DictReader(text.decode().splitlines()))


@cache
def read_passes() -> tuple[tuple[Work, ...], dict[str, tuple[list[int], list[int]]]]:
    """All kernels; of each pass, by its key: kernel, count, kernel, count …, and how many ops of each launch kind."""
    found = json.loads(gzip.decompress((DATA / "works.json.gz").read_bytes()))
    kinds, dtypes = found["kinds"], found["dtypes"]
    works = tuple(
        Work(kinds[one[0]], dtypes[one[1]], *one[2:6], tuple(one[6:10]), one[10], one[11], bool(one[12]), *one[13:])
        for one in zip(*found["works"], strict=True)
    )
    return works, found["profiles"]


def find_family(model: str) -> str:
    """The letters with which a model's name begins: resnet50 and resnet101 are of one family."""
    return re.sub(r"^timm:(legacy_|gluon_|tf_|adv_|ssl_|swsl_|ens_)?([a-z]+).*", r"\2", model)


def list_rows() -> Iterator[Row]:
    """Every measurement whose pass could be traced."""
    _, passes = read_passes()
    for rows in (_list_timm, _list_torchvision, _list_lambda, _list_neusight_models, _list_language_models):
        yield from (row for row in rows() if row.pass_key in passes)
    yield from _list_llama()
    yield from _list_ops()
    yield from _list_convolutions()
    yield from _list_large_products()


def _list_timm() -> Iterator[Row]:
    """RTX 3090, AMP float16, cudnn.benchmark on; torch of 1.12 to 2.4, of which the older write attention out."""
    for row in read_csv("timm_gpu.csv.gz"):
        if row["model"] in OTHER_NETS:
            continue
        attention = "fused" if row["torch"] in ("pt240", "pt210") else "written out"
        key = "|".join((row["model"], row["image"], row["batch"], row["mode"], attention))
        setting = Setting(BOTH_TF32, row["layout"] == "nhwc")
        seconds, mode = float(row["ms_step"]) / 1e3, "train" if row["mode"] == "train" else "forward"
        yield Row(
            "timm", key, None, DEVICES[row["device"]], row["torch"], find_family(row["model"]), mode, "float16",
            setting, seconds, int(row["batch"]),
        )  # fmt: skip


def _list_torchvision() -> Iterator[Row]:
    """Batch 12, cudnn.benchmark on; the copy of the images is within the time. One machine was shared in float16."""
    for row in read_csv("torchvision_gpus.csv.gz"):
        strange = "bitahub" in row["system"] and row["dtype"] == "float16"
        if row["device"] not in DEVICES or row["dtype"] == "float64" or strange:
            continue
        mode = "train" if row["mode"].startswith("train") else "forward"
        key = "|".join((row["model"], row["dtype"], "train" if mode == "train" else "infer"))
        copied = 1.0 if row["dtype"] == "float32" else 0.5
        yield Row(
            "torchvision", key, None, DEVICES[row["device"]], row["system"], row["model"], mode, row["dtype"],
            Setting(BOTH_TF32), float(row["ms_median"]) / 1e3, 12, copied,
        )  # fmt: skip


def _list_lambda() -> Iterator[Row]:
    """NVIDIA's scripts as Lambda calls them: its logs and configurations give no --memory-format, so channels first."""
    for row in read_csv("lambda_train.csv"):
        half = not row["dtype"].startswith("float32")
        key = "|".join(("lambda", row["net"], row["batch"], "half" if half else "full"))
        yield Row(
            "Lambda", key, None, DEVICES[row["device"]], row["gen"], row["net"], "train",
            "float16" if half else "float32", Setting(BOTH_TF32), float(row["ms_step"]) / 1e3, int(row["batch"]),
        )  # fmt: skip


def _list_neusight_models() -> Iterator[Row]:
    for row in read_csv("neusight_e2e.csv"):
        key = "|".join(("e2e", row["config"], row["mode"], row["seq"], row["batch"]))
        mode = "train" if row["mode"] == "train" else "forward"
        if row["variant"] == "eager":
            yield Row(
                "NeuSight models", key, None, DEVICES[row["device"]], "", row["config"], mode, "float32",
                Setting(OWN_TF32), float(row["ms_end_to_end"]) / 1e3, int(row["batch"]),
            )  # fmt: skip


def _list_language_models() -> Iterator[Row]:
    for row in read_csv("cs336_lm.csv"):
        key = "|".join(("cs336", row["size"], row["context"], row["what"]))
        mode = "forward" if row["what"] == "forward" else "train"
        yield Row(
            "language models", key, None, DEVICES[row["device"]], "", row["size"], mode, "float32",
            Setting(OWN_TF32), float(row["ms"]) / 1e3, int(row["batch"]),
        )  # fmt: skip


def _list_llama() -> Iterator[Row]:
    for row in read_csv("llama2_a100.csv"):
        batch, tokens = int(row["batch"]), int(row["new_tokens"])
        times = (("prefill", float(row["prefill_s"])), ("decode", float(row["decode_s"]) / tokens))
        for phase, seconds in times:
            key = f"llama2|{phase}|{batch}"
            yield Row(
                "Llama 2", key, None, DEVICES[row["device"]], "", phase, "forward", "float16", Setting(OWN_TF32),
                seconds, batch,
            )  # fmt: skip


def _list_ops() -> Iterator[Row]:
    """NeuSight's ops: float32, torch 2.1, one at a time."""
    for row in read_csv("neusight_ops.csv.gz"):
        sizes = {name: int(value) for name, value in (part.split("=") for part in row["shape"].split(";"))}
        work, op = _describe_op(row["op"], sizes), row["op"]
        group = op if op in ("linear", "bmm", *ROW_KINDS) else "elementwise"
        yield Row(
            f"NeuSight {group}", "", work, DEVICES[row["device"]], "", op, "forward", "float32", Setting(OWN_TF32),
            float(row["ms"]) / 1e3,
        )  # fmt: skip


def _describe_op(op: str, sizes: dict[str, int]) -> Work:
    """The kernel of one of NeuSight's ops."""
    batch = sizes["B"]
    if op in ("linear", "bmm"):
        m, n, k = sizes["M"], sizes["N"], sizes["K"]
        macs = batch * m * n * k
        read, written = 4 * batch * (m * k + n * k), 4 * batch * m * n
        return Work("matmul" if op == "linear" else "bmm", "float32", macs, 2 * macs, read, written, (batch, m, n, k))
    count = batch * sizes["H"]
    read = 4 * count * ELEMENTWISE_INPUTS.get(op, 1)
    row = sizes["H"] if op in ROW_KINDS else 0
    return Work(ROW_KINDS.get(op, "pointwise"), "float32", 0, count, read, 4 * count, row=row)  # type: ignore[arg-type]


def _list_convolutions() -> Iterator[Row]:
    """3 x 3, float32, of any sizes; a quarter of a millisecond is the call."""
    for row in read_csv("neusight_conv.csv.gz"):
        names = ("batch", "c_in", "c_out", "kernel", "size", "stride", "padding")
        batch, c_in, c_out, kernel, size, stride, padding = (int(row[name]) for name in names)
        out = (size + 2 * padding - kernel) // stride + 1
        positions, depth = batch * out * out, c_in * kernel * kernel
        macs = positions * c_out * depth
        read = 4 * (batch * c_in * size * size + c_out * depth)
        patches = batch * (-(-out // 2)) ** 2 if kernel == 3 and stride == 1 else 0
        work = Work(
            "conv" if kernel > 1 else "conv1x1", "float32", macs, 2 * macs, read, 4 * positions * c_out,
            (1, positions, c_out, depth), kernel * kernel, patches=patches,
        )  # fmt: skip
        yield Row(
            "NeuSight conv", "", work, DEVICES[row["device"]], "", "conv", "forward", "float32", Setting(OWN_TF32),
            float(row["ms"]) / 1e3, called=True,
        )  # fmt: skip


def _list_large_products() -> Iterator[Row]:
    n = LARGE_SIZE
    for device, rate in LARGE_PRODUCTS.items():
        work = Work("matmul", "bfloat16", n**3, 2 * n**3, 4 * n * n, 2 * n * n, (1, n, n, n))
        seconds = 2 * n**3 / rate
        yield Row("large products", "", work, device, "", "matmul", "forward", "bfloat16", Setting(OWN_TF32), seconds)
