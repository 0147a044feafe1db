"""What every page embeds: the files beside this one, the widths of bars, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files


@cache
def read_asset(name: str) -> str:
    """A file of this folder: markup, a style or a script."""
    return files("archprof.render.page").joinpath(name).read_text("utf-8")


def join_scripts(names: Sequence[str]) -> str:
    """The scripts in one, without the lines that are comments, and without indentation."""
    lines = (line.strip() for name in names for line in read_asset(name).splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def join_styles(names: Sequence[str]) -> str:
    """The styles in one; the lengths of the bars in cells are classes, for the policy allows no style in an element."""
    return "".join(map(read_asset, names)) + "".join(f".b{percent}{{--b:{percent}%}}" for percent in range(1, 101))


def write_policy(scripts: Sequence[str], style: str | None) -> str:
    """Scripts run that have one of these hashes, and no others; the one style too, or any style where it is `None`."""
    script_rule = [f"script-src {' '.join(map(_hash, scripts))}"] if scripts else []
    styles = "'unsafe-inline'" if style is None else _hash(style)
    rules = ("default-src 'none'", *script_rule, f"style-src {styles}", "img-src data:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
