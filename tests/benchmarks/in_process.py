"""How long a profile takes inside a process, as a ratio to the model's plain forward on meta tensors.

    python tests/benchmarks/in_process.py [--peers] [--real] [--rounds 7] [MODEL …]

One thread, processor time. Each round times every contender once, in turn, so that a slow moment of the machine
meets all of them; the figure is the median over the rounds. `--peers` adds torchinfo, fvcore, ptflops, thop,
calflops and torch's own FlopCounterMode where they are installed, on meta where they can; `--real` their usual path
too, on real tensors on the CPU. A peer that raises is shown as such.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from models import GIANTS, MODELS, on

import archprof

Contender = Callable[[torch.nn.Module, torch.Tensor], Any]


def forward(model: torch.nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        model(x)


def profile(model: torch.nn.Module, x: torch.Tensor) -> int:
    return archprof.profile(model, x).totals.macs


def flop_counter(model: torch.nn.Module, x: torch.Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops() // 2


def torchinfo(model: torch.nn.Module, x: torch.Tensor) -> int:
    import torchinfo

    return int(torchinfo.summary(model, input_data=x, verbose=0, device=x.device).total_mult_adds)


def fvcore(model: torch.nn.Module, x: torch.Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis

    counter = FlopCountAnalysis(model, x)
    return int(counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def ptflops(model: torch.nn.Module, x: torch.Tensor) -> Any:
    from ptflops import get_model_complexity_info

    shape = tuple(x.shape[1:])
    made = {"input_constructor": lambda shape: x} if x.is_meta else {}
    quiet = {"print_per_layer_stat": False, "as_strings": False, "backend": "pytorch", **made}
    return get_model_complexity_info(model, shape, **quiet)[0]


def thop(model: torch.nn.Module, x: torch.Tensor) -> Any:
    import thop

    return thop.profile(model, inputs=(x,), verbose=False)[0]


def calflops(model: torch.nn.Module, x: torch.Tensor) -> Any:
    from calflops import calculate_flops

    quiet = {"print_results": False, "print_detailed": False, "output_as_string": False}
    return calculate_flops(model=model, args=[x], **quiet)[1]


OURS: dict[str, Contender] = {"forward": forward, "archprof": profile}
PEERS: dict[str, Contender] = {
    "FlopCounterMode": flop_counter,
    "torchinfo": torchinfo,
    "fvcore": fvcore,
    "ptflops": ptflops,
    "thop": thop,
    "calflops": calflops,
}


def once(contender: Contender, model: torch.nn.Module, x: torch.Tensor) -> float:
    """Seconds of one run, whatever it prints thrown away."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        start = time.process_time()
        contender(model, x)
        return time.process_time() - start


def compare(name: str, contenders: dict[str, tuple[Contender, str]], rounds: int) -> dict[str, float | str]:
    """Median seconds of each contender, or why it has none."""
    times: dict[str, list[float]] = {label: [] for label in contenders}
    failed: dict[str, float | str] = {}
    prepared = {}
    for label, (contender, device) in contenders.items():
        prepared[label] = on(device, name)
        try:
            once(contender, *prepared[label])
        except Exception as error:
            failed[label] = type(error).__name__
    for _ in range(rounds):
        for label, (contender, _) in contenders.items():
            if label not in failed:
                times[label].append(once(contender, *prepared[label]))
    return {label: failed.get(label) or statistics.median(times[label]) for label in contenders}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*MODELS, *GIANTS])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    contenders = {name: (run, "meta") for name, run in OURS.items()}
    if arguments.peers:
        contenders |= {f"{name} meta": (run, "meta") for name, run in PEERS.items()}
    if arguments.real:
        contenders |= {f"{name} cpu": (run, "cpu") for name, run in PEERS.items()}
    print("median of", arguments.rounds, "rounds, one thread; x = times the plain forward on meta")
    for name in arguments.models:
        figures = compare(name, contenders, arguments.rounds)
        floor = figures["forward"]
        print(f"\n{name}")
        for label, figure in figures.items():
            shown = figure if isinstance(figure, str) else f"{figure * 1e3:9.1f} ms {figure / floor:7.2f} x"
            print(f"  {label:24s} {shown}", flush=True)


if __name__ == "__main__":
    main()
