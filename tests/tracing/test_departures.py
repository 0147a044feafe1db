"""Values that leave torch: a lower bound where something may be computed of them outside, and none where they steer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tracing.odd import LINE, ROWS, Runs, line

import archprof

pytestmark = pytest.mark.filterwarnings("ignore")

W = np.ones((4, 4), dtype="float32")


def through_dlpack(x: Any) -> Any:
    return torch.from_dlpack(np.from_dlpack(x) @ W)


def by_scipy(x: Any) -> Any:
    scipy = pytest.importorskip("scipy.ndimage")
    return torch.as_tensor(scipy.gaussian_filter(x, 1.0))


def in_place(x: Any) -> Any:
    """Nothing comes back: the memory is the same."""
    np.exp(x.numpy(), out=x.numpy())
    return x


def ids_to_floats(x: Any) -> Any:
    return torch.from_numpy(np.fft.fft(x.argmax(1).numpy()).real.astype("float32"))


UNSEEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "from_numpy": (lambda x: torch.from_numpy(x.numpy() @ W), "numpy"),
    "asarray": (lambda x: torch.tensor(np.asarray(x) @ W), "numpy"),
    "a copy": (lambda x: torch.as_tensor(np.array(x) @ W), "numpy"),
    "a function of numpy's": (lambda x: np.sin(x), "numpy"),
    "a number": (lambda x: x * float(np.linalg.norm(x.numpy())), "numpy"),
    "clusters": (lambda x: torch.from_numpy((x.numpy() @ W).argmax(1)), "numpy"),
    "an array goes out": (lambda x: (x, x.numpy() @ W), "numpy"),
    "two arrays go out": (lambda x: (x.numpy(), x.numpy() @ W), "numpy"),
    "dlpack": (through_dlpack, "dlpack"),
    "scipy": (by_scipy, "numpy"),
    "in place": (in_place, "numpy"),
    "integers": (ids_to_floats, "numpy"),
    "lists": (lambda x: torch.tensor([[2 * value for value in row] for row in x.tolist()]), "tolist"),
    "each element": (lambda x: x.clone().apply_(lambda value: value * value), "apply_"),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_work_on_values_outside_torch(name: str) -> None:
    outside, way = UNSEEN[name]
    model = Runs(lambda self, x: outside(self.layer(x)), layer=line())
    profile = archprof.profile(model, ROWS)
    profile.check()
    assert (profile.totals.macs, profile.totals.complete) == (LINE, False)
    assert f"Not counted: python.{way}" in str(profile.table())


def boxes(x: Any) -> Any:
    """Sizes and indices leave, and integers come back, as in a detector."""
    height, width = torch.tensor(x.shape[-2:]).tolist()
    kept = [row for row, keep in enumerate((x[:, 0] > 9).tolist()) if keep]
    scale = torch.tensor([1.0 / height, 1.0 / width])
    return x[torch.tensor(kept, dtype=torch.int64)] * scale.sum()


STEERING: dict[str, Callable[[Any], Any]] = {
    "item": lambda x: x * x.sum().item(),
    "float": lambda x: x / float(x.max()),
    "boxes": boxes,
    "indices": lambda x: x[torch.from_numpy(np.flip(x.argsort(0)[:, 0].numpy()).copy())],
    "for the log": lambda x: (x, x.tolist()),
    "the output as it is": lambda x: {"scores": x.numpy(), "more": [x.relu().cpu().numpy()]},
    "a part of the output": lambda x: x.numpy()[0],
    "data of one's own": lambda x: x @ torch.from_numpy(W) if bool(x.sum() > -9) else x,
    "one value": lambda x: x * torch.tensor([x.sum().numpy() * 1.0]),
}


@pytest.mark.parametrize("name", STEERING)
def test_values_that_steer(name: str) -> None:
    profile = archprof.profile(Runs(lambda self, x: STEERING[name](self.layer(x)), layer=line()), ROWS)
    assert profile.ran.device == "cpu"
    assert (profile.totals.macs, profile.totals.complete) == (LINE + LINE * (name == "data of one's own"), True)
