"""What a shell offers behind the cursor: names of models, devices and formats, found without importing torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from archprof.files import read_data_table

ZOO_FOLDERS = {"torchvision": "models", "timm": "models"}
"""Where a zoo's package registers its models."""

REGISTERED = re.compile(r"^@register_model(?:\([^)]*\))?\s+(?:@.*\s+)*def (\w+)", re.MULTILINE)

MODEL_SUFFIXES = (".py", ".json", ".pt2", ".safetensors")


def complete_model(incomplete: str) -> list[str]:
    """Built-in names and those of the zoos that are installed; files of the folder that hold models."""
    zoo, colon, _ = incomplete.partition(":")
    if colon:
        return [name for name in (f"{zoo}:{one}" for one in _list_zoo(zoo)) if name.startswith(incomplete)]
    known = [*_read_names("models.csv"), *_list_zoo("torchvision"), *_list_zoo("timm"), *_list_files(incomplete)]
    return [name for name in dict.fromkeys(known) if name.startswith(incomplete)]


def _list_zoo(zoo: str) -> list[str]:
    """The names of a zoo, read off its sources; none where it is not installed."""
    if zoo == "hf":
        return _read_names("transformers.csv")
    found = find_spec(zoo) if zoo in ZOO_FOLDERS else None
    folders = found.submodule_search_locations or [] if found else []
    sources = (path for folder in folders for path in sorted(Path(folder, ZOO_FOLDERS[zoo]).rglob("*.py")))
    return sorted({name for path in sources for name in REGISTERED.findall(path.read_text("utf-8"))})


def _read_names(table: str) -> list[str]:
    """The first column of a table of this package, each name once."""
    return list(dict.fromkeys(next(iter(row.values())) for row in read_data_table(table)))


def _list_files(incomplete: str) -> Iterator[str]:
    folder = Path(incomplete).parent
    if folder.is_dir():
        yield from (str(path) for path in sorted(folder.iterdir()) if path.suffix in MODEL_SUFFIXES)


def complete_device(incomplete: str) -> list[str]:
    """The devices of the catalogue that have this in their names."""
    return [name for name in _read_names("devices.csv") if incomplete.casefold() in name.casefold()]


def complete_link(incomplete: str) -> list[str]:
    """The links that ranks talk over."""
    return [name for name in _read_names("links.csv") if name.startswith(incomplete.casefold())]


def complete_words(*words: str) -> Callable[[str], list[str]]:
    """A completer for what may only be one of these."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]
