"""Random modules, each with the parameters and multiply-accumulates that closed formulas give it.

Nothing of archprof is imported here: the formulas are written anew, from the definitions of the layers.
"""

from __future__ import annotations

import random

import torch
from fuzz import features, layers
from fuzz.maker import Count, Draw, Maker, Net, Value

ANY: list[Draw] = [
    layers.flatten, layers.activation, layers.activation, layers.arithmetic, layers.turned, layers.halved,
    *features.ON_ANY,
]  # fmt: skip
DRAWS: dict[int, list[Draw]] = {
    0: ANY,
    4: [
        layers.conv, layers.conv, layers.conv, layers.transposed, layers.image_norm, layers.pool, layers.adaptive,
        layers.resize, layers.pad, layers.cut_and_join, layers.functional_conv, layers.to_rows, *ANY,
    ],
    3: [
        layers.linear, layers.linear, layers.layer_norm, layers.attention, layers.fused_attention, layers.scores,
        layers.recurrent, layers.einsum, layers.conv1d, layers.mean_rows, layers.largest, layers.every_other,
        layers.reused, layers.slope, *features.ON_ROWS, *ANY,
    ],
    2: [
        layers.linear, layers.linear, layers.flat_norm, layers.to_one_row, layers.gram, layers.reused,
        layers.layer_norm, layers.slope, *ANY,
    ],
}  # fmt: skip
"""The kinds of steps, by the dimensions of what they are drawn for; 0 for any."""


def generate(seed: int) -> tuple[Net, list[torch.Tensor], Count, bool]:
    """A module, its inputs, what formulas count, and whether it is to be trained."""
    rng = random.Random(seed)
    train = rng.random() < 0.3
    torch.manual_seed(seed)
    count = Count()
    start = rng.choice([
        (rng.randint(1, 3), rng.choice([1, 2, 3, 4, 6]), rng.randint(4, 9), rng.randint(4, 9)),
        (rng.randint(1, 3), rng.randint(2, 6), rng.choice([2, 4, 6, 8])),
        (rng.randint(2, 5), rng.randint(1, 12)),
    ])  # fmt: skip
    net = Maker(rng, count, train, DRAWS).net([Value(start)], rng.randint(1, 7), depth=0)
    return net.train(train), [torch.randn(start)], count, train
