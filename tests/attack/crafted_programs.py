"""Exported programs that were crafted or damaged, profiled one after the other in a process that may crash.

`python -m attack.crafted_programs FOLDER FROM COUNT`, from the folder `tests`; prints the number of each, and at the
end how many were refused and how many profiled.
"""

from __future__ import annotations

import json
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import torch
from attack.mutations import ODD_VALUES
from torch import nn

import archprof
from archprof.errors import ArchprofError

MOST_SECONDS = 20


class Whole(nn.Module):
    """Layers of many kinds, whole numbers with values, and a choice that needs the values of weights."""

    def __init__(self, chooses: bool) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2, return_indices=True)
        self.embed, self.lstm, self.norm = nn.Embedding(9, 4), nn.LSTM(4, 3, batch_first=True), nn.BatchNorm2d(4)
        self.register_buffer("steps", torch.arange(4))
        self.chooses = chooses

    def forward(self, x: torch.Tensor) -> Any:
        y, where = self.pool(self.norm(self.conv(x)).relu())
        up = nn.functional.max_unpool2d(y, where, 2)
        tokens = self.embed(self.steps)[None]
        out, _ = self.lstm(tokens.expand(x.shape[0], -1, -1))
        picked = up.flatten(2).index_select(2, self.steps)
        taken = torch.gather(out, 2, (self.steps % 3).view(1, 4, 1).expand(x.shape[0], 4, 1))
        result = picked.sum() + out.sum() + taken
        return result[out.sum((1, 2)) < 100] if self.chooses else result


OPS = (
    "max_pool2d_with_indices_backward.default", "adaptive_max_pool2d_backward.default", "max_unpool2d.default",
    "_unsafe_index.Tensor", "_embedding_bag.default", "embedding_dense_backward.default", "gather.default",
    "index_select.default", "embedding.default", "scatter.src", "_index_put_impl_.default", "take.default",
    "bincount.default", "_ctc_loss.default", "segment_reduce.default", "fractional_max_pool2d.default",
    "_convert_indices_from_csr_to_coo.default", "grid_sampler_2d_backward.default",
    "upsample_nearest2d_backward.default",
    "lstm.input", "as_strided.default", "set_.source_Storage", "resize_.default", "unfold_backward.default",
)  # fmt: skip


def list_places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, part in parts for found in list_places(part, (*place, key)))]


def damage_graph(graph: dict[str, Any], rng: Random) -> None:
    """One to three changes: another op, other tensors, another number, a value of another kind."""
    nodes = graph["nodes"]
    for _ in range(rng.randint(1, 3)):
        node, how = rng.choice(nodes), rng.random()
        if how < 0.3:
            node["target"] = f"torch.ops.aten.{rng.choice(OPS)}"
        elif how < 0.5:
            names = list(graph["tensor_values"])
            for each in node["inputs"] if type(node.get("inputs")) is list else ():
                if rng.random() < 0.6 and type(each["arg"].get("as_tensor")) is dict:
                    each["arg"]["as_tensor"]["name"] = rng.choice(names)
        elif how < 0.6:
            node["target"] = rng.choice(nodes)["target"]
        else:
            place = rng.choice([place for place in list_places(node) if place])
            holder = node
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = rng.choice((*ODD_VALUES, -1, 10**6, 10**9, 2**62))


def damage(whole: Path, path: Path, rng: Random) -> None:
    """A program with its graph changed, or whole numbers among its constants."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if "/models/" in f"/{name}" and name.endswith(".json"):
                saved = json.loads(content)
                with suppress(LookupError, TypeError, AttributeError):  # of what is damaged already
                    damage_graph(saved["graph_module"]["graph"], rng)
                content = json.dumps(saved).encode()
            elif "/data/" in name and not name.endswith(".json") and rng.random() < 0.3:
                content = rng.randbytes(len(content))
            target.writestr(name, content)


def main() -> None:
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    refused = profiled = 0
    for number in range(first, first + count):
        path = folder / "damaged.pt2"
        rng = Random(number)
        damage(folder / f"{rng.choice(('plain', 'chooses'))}.pt2", path, rng)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        try:
            archprof.profile(str(path))
            profiled += 1
        except ArchprofError:
            refused += 1
    sys.stdout.write(f"refused {refused} profiled {profiled}\n")


if __name__ == "__main__":
    main()
