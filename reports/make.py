"""The gallery behind the README: pages from the profiles saved beside this script.

    python reports/make.py            write the pages anew, from the saved profiles, and the drawings
    python reports/make.py --trace    trace the models first, and save their profiles

A page follows from its profiles alone, byte for byte, so that a test can make it again and compare.
"""

from __future__ import annotations

import sys
from pathlib import Path

import archprof
from archprof.analysis.report import page as report_page
from archprof.files import write_whole
from archprof.render.page import html

HERE = Path(__file__).parent

PROFILES = {
    "alexnet-b1-float32": ("alexnet", None),
    "vgg11-b1-float32": ("vgg11", None),
    "vgg16-b1-float32": ("vgg16", None),
    "resnet18-b1-float32": ("resnet18", None),
    "conv5x5-b1-float32": ("conv5-128/nobias", "64x32x32"),
    "conv3x3x2-b1-float32": ("conv3-32/nobias conv3-128/nobias", "64x32x32"),
}

PAGES = {
    "vgg16": ["vgg16-b1-float32"],
    "alexnet-vgg11-vgg16-resnet18": [
        "alexnet-b1-float32",
        "vgg11-b1-float32",
        "vgg16-b1-float32",
        "resnet18-b1-float32",
    ],
    "conv5x5-conv3x3x2": ["conv5x5-b1-float32", "conv3x3x2-b1-float32"],
}


DRAWINGS = {"mixtral-8x7b": "hf:mixtral-8x7b"}
"""Networks along their length, drawn from the models: the README shows the first."""


def drawing(name: str) -> str:
    """What `archprof graph MODEL -o NAME.svg` writes."""
    return archprof.graph(DRAWINGS[name]).to_svg()


def page(name: str) -> str:
    """One page of the gallery."""
    saved = PAGES[name]
    profiles = [archprof.load(HERE / f"{profile}.json") for profile in saved]
    command = f"archprof report {' '.join(f'{profile}.json' for profile in saved)} -o {name}.html"
    return html.render_page(report_page.build_report(profiles, command=command))


def main() -> None:
    if "--trace" in sys.argv[1:]:
        for name, (model, shape) in PROFILES.items():
            archprof.profile(model, shape).save(HERE / f"{name}.json")
    for name in PAGES:
        write_whole(HERE / f"{name}.html", page(name))
    for name in DRAWINGS:
        write_whole(HERE / f"{name}.svg", drawing(name))


if __name__ == "__main__":
    main()
