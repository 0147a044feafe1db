"""Random text for the grammar of every option and argument that takes text.

`python -m fuzz.grammars --count 100000`, from the folder `tests`.
"""

from __future__ import annotations

import argparse
import random
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.run import say

import archprof
from archprof.analysis.tables.device_list import tabulate_matches
from archprof.budgets.limits import parse_limit, parse_tolerance
from archprof.cli import options
from archprof.cli.guide import read_topic
from archprof.cli.other_tools import validate_convention
from archprof.cli.output import choose_format
from archprof.errors import ArchprofError
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.models import registry
from archprof.models.block_grammar import looks_like_blocks, parse_blocks
from archprof.predicting.devices import resolve_device
from archprof.predicting.runs import choose_devices
from archprof.predicting.sharding.links import find_fabric
from archprof.predicting.sharding.mesh import parse_mesh
from archprof.predicting.sharding.schedules import check_schedule
from archprof.predicting.sharding.units import match_units
from archprof.probing.data.images import open_images
from archprof.probing.training.recipes import find_recipe
from archprof.sources.input_grammar import parse_argument, parse_input
from archprof.sources.model_grammar import parse_model
from archprof.sources.optimizer_grammar import parse_optimizer
from archprof.sources.provenance import trace_sources
from archprof.sweeping.solve_inputs import parse_condition

LAYERS = archprof.profile("conv3-4 relu", "3x8x8")

GOOD = {
    "model": [
        "vgg16", "vgg16(num_classes=10)", "torchvision:resnet50", "timm:vit_tiny_patch16_224", "net.py:Net(width=2)",
        "pkg.mod:Net.small", "net.py:Net@HEAD~1", "conv3-64 relu pool2 flatten linear-10", "x.json", "x.pt2",
        "f(a=[1, {'b': (None, -1e5)}], c='x')", "hf:config.json", "2*(conv3-64 bn relu)",
    ],
    "input": [
        "3x224x224", "[2,128]", "int64[1,128]>=1<30522", "mask=bool:128", "batch={image: 3x4x5, 'a b': [3x4, None]}",
        "(int(5), 0.5, 'text', [3,], {})", "[]", "x=[[3,8,8], [3,6,6]]", "float16:3x4", "[,]", "-inf",
    ],
    "arg": ["use_cache=False", "scale=0.5", "mode='nearest'", "size=(7, 7)", "x={'a': [1, None]}"],
    "set": ["seq=4096", "decoder_seq=1", " frames = 7 "],
    "batch": ["8", "1,8,64", "auto", "1, auto"],
    "where": ["features.0=55x55", "=1x1"],
    "limit": ["25M", "4.1G", "25,000", ".5k"],
    "size limit": ["60MiB", "1.5GB", "200 KiB"],
    "time limit": ["3ms", "0.5 s"],
    "tolerance": ["1%", "0.01", "150%"],
    "optimizer": ["adamw", "sgd(momentum=0.9)", "adamw(betas=(0.9, 0.99), foreach=False)"],
    "device": ["h100", "rtx 4090", "a100 sxm4 80gb", "nvidia h200"],
    "devices": ["t4,l4,4090", "all", "h100, a100"],
    "columns": ["params,macs", "kind", "macs, flops"],
    "by": ["layer", "stage", "kind", "op"],
    "sort": ["macs", "params"],
    "mesh": ["dp=8", "dp=8,fsdp=8,tp=4,pp=2", "ep=2, dp=4"],
    "units": ["0", "conv?", "Conv2d", "*"],
    "schedule": ["1f1b", "gpipe", "interleaved"],
    "link": ["nvlink4", "pcie5"],
    "network": ["ndr", "100gbe"],
    "phase": ["prefill", "decode"],
    "dtype": ["float32", "bfloat16"],
    "dtypes": ["float32,bfloat16", "float16"],
    "amp": ["bfloat16", "float16"],
    "causal": ["full", "half"],
    "measured on": ["cpu", "cuda"],
    "convention": ["torch", "fvcore", "archprof", "deepspeed"],
    "format": ["text", "csv", "latex"],
    "output": ["x.csv", "x.json", "missing/x.md"],
    "date": ["2026-01-31", "1999-12-01"],
    "data": ["digits", "cifar10:missing", "folder:missing"],
    "recipe": ["lecture"],
    "pattern": ["resnet", "vgg1?", "*net*"],
    "devices pattern": ["h100 nvl", "*a100*sxm*"],
    "topic": ["ci", "limits"],
}  # fmt: skip
"""Where mutations start."""

CHARACTERS = "0123456789xX[](){},<>=:@.'\"\\-+*/_ #~\n\t\0" + "abcefinst" + "é²٣𝟙\u200b\U0001f600\ud800"


def read_model(text: str) -> None:
    """Read a MODEL as `resolve` does, without looking anything up."""
    if looks_like_blocks(text):
        parse_blocks(text)
    else:
        parse_model(text)


def read_pass(**asked: str) -> None:
    """As a model is opened."""
    PassRequest(**asked).check()  # type: ignore[arg-type]


def read_format(text: str) -> object:
    return choose_format(text, None)


H100 = resolve_device("h100")
READ: dict[str, Callable[[str], object]] = {"model": read_model, "input": parse_input, "arg": parse_argument}
READ |= {
    "set": lambda text: options.parse_lengths([text]),
    "batch": options.parse_batches,
    "where": parse_condition,
    "limit": lambda text: parse_limit("macs", text, "--max-macs"),
    "size limit": lambda text: parse_limit("peak", text, "--max-peak"),
    "time limit": lambda text: parse_limit("latency", text, "--max-latency"),
    "tolerance": parse_tolerance,
    "optimizer": parse_optimizer,
    "device": resolve_device,
    "columns": lambda text: LAYERS.table(columns=text.split(",")),
    "devices": choose_devices,
    "by": lambda text: LAYERS.table(by=text),
    "sort": lambda text: LAYERS.table(sort=text),
    "mesh": parse_mesh,
    "units": lambda text: match_units(LAYERS, [text]),
    "schedule": lambda text: check_schedule(text, 2, 2),
    "link": lambda text: find_fabric(H100, link=text),
    "network": lambda text: find_fabric(H100, network=text),
    "phase": lambda text: read_pass(phase=text),
    "dtype": lambda text: read_pass(dtype=text),
    "dtypes": lambda text: [PassRequest(dtype=dtype).check() for dtype in options.parse_dtypes(text)],
    "amp": lambda text: read_pass(amp=text),
    "causal": lambda text: read_pass(causal=text),
    "measured on": MeasureRequest,
    "convention": lambda text: validate_convention(text, "text", train=False),
    "format": read_format,
    "output": lambda text: choose_format(None, Path(text)),
    "date": lambda text: trace_sources([], text),
    "data": lambda text: open_images(text, (3, 8, 8)),
    "recipe": find_recipe,
    "pattern": registry.match_builtins,
    "devices pattern": tabulate_matches,
    "topic": read_topic,
}


def texts(grammar: str, count: int, seed: int) -> Iterator[str]:
    """Good ones with a few random changes, halves of two joined, and plain noise."""
    rng, good = random.Random(seed), GOOD[grammar]
    for _ in range(count):
        text = rng.choice(good)
        kind = rng.random()
        if kind < 0.1:
            text = "".join(rng.choices(CHARACTERS, k=rng.randint(0, 30)))
        elif kind < 0.25:
            other = rng.choice(good)
            text = text[: rng.randint(0, len(text))] + other[rng.randint(0, len(other)) :]
        for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
            text = changed(rng, text)
        yield text


def changed(rng: random.Random, text: str) -> str:
    """One character more, less or other, or a piece said many times."""
    at = rng.randint(0, len(text))
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + rng.choice(CHARACTERS) + text[at:]
    if kind < 0.6:
        return text[:at] + text[at + 1 :]
    if kind < 0.9:
        return text[:at] + rng.choice(CHARACTERS) + text[at + 1 :]
    end = rng.randint(at, min(len(text), at + 5))
    return text[:end] + text[at:end] * rng.choice([2, 30, 1000]) + text[end:]


def broken(grammar: str, count: int, seed: int) -> tuple[list[tuple[str, str]], int]:
    """The texts at which reading raises anything but an `ArchprofError`, and how many were read."""
    found, good = [], 0
    for text in texts(grammar, count, seed):
        try:
            READ[grammar](text)
            good += 1
        except ArchprofError as error:  # noqa: PERF203
            str(error)
        except BaseException:
            found.append((text, traceback.format_exc(limit=-3)))
    return found, good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=[*READ], metavar="GRAMMAR", help=", ".join(READ))
    asked = parser.parse_args()
    wrong = 0
    for grammar in asked.only or READ:
        start = time.perf_counter()
        found, good = broken(grammar, asked.count, asked.seed)
        for text, error in found:
            say(f"{grammar} {text[:200]!r}, {len(text)} characters\n{error}")
        wrong += len(found)
        seconds = time.perf_counter() - start
        say(f"{grammar}: {asked.count} texts, {good} read, {len(found)} with a traceback, {seconds:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
