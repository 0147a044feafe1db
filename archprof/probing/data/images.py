"""Real images by name: `digits`, `cifar10:PATH` and `folder:PATH`. Nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from archprof.errors import ArchprofError, UsageError
from archprof.files import expand_home
from archprof.probing.data.batches import Batch, DividedData, ImageShape, IndexedSamples, TensorSamples
from archprof.wording import show_shape

DATA_ALLOWED = "digits, cifar10:PATH, folder:PATH, random, or in Python a loader."

HELD_OUT_SHARE = 5
"""Where a set of images is not divided already, one in so many is held out."""

SPLIT_SEED = 0
"""Which those are is the same for every seed of a run."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's own models are trained with (torchvision/transforms/_presets.py)."""


def open_images(data: str, shape: ImageShape) -> DividedData:
    """The images that a name stands for, scaled to what a model takes.

    Raises:
        UsageError: there is no such name or path, or the channels do not fit.
        ArchprofError: what reads them is not installed.
    """
    name, _, path = data.partition(":")
    if name not in READERS or (name != "digits") != bool(path):
        raise UsageError(f"There is no data called {data!r}.", f"Allowed: {DATA_ALLOWED}")
    return READERS[name](path, shape)


def _open_digits(_: str, shape: ImageShape) -> DividedData:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ArchprofError(
            "The digits are scikit-learn's, which is not installed.", "", "Try: pip install 'archprof[probe]'"
        ) from error
    found = load_digits()
    images, labels = torch.tensor(found.images)[:, None] / found.images.max(), torch.tensor(found.target)
    train, held_out = _split(len(labels))
    mean, std = images[train].mean().reshape(1), images[train].std().reshape(1)
    learned, asked = (
        TensorSamples(images[part], labels[part], mean.float(), std.float(), shape) for part in (train, held_out)
    )
    note = f"1,797 digits of 8x8 pixels, scaled to {show_shape(shape)}; {len(held_out)} are held out."
    return DividedData("digits", learned, asked, classes=10, notes=(note,))


def _open_cifar10(path: str, shape: ImageShape) -> DividedData:
    from torchvision.datasets import CIFAR10

    folder = expand_home(path)
    root = folder.parent if folder.name == CIFAR10.base_folder else folder
    try:
        train, test = (CIFAR10(root, train=part) for part in (True, False))
    except (RuntimeError, OSError) as error:
        raise UsageError(
            f"There is no CIFAR-10 under {path}.",
            f"The folder that holds {CIFAR10.base_folder}, as torchvision unpacks it; nothing is downloaded.",
        ) from error
    _check_colours(f"cifar10:{path}", shape)
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2) for part in (train, test)]
    pixels = images[0].float()
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    learned, asked = (
        TensorSamples(each, torch.tensor(part.targets), mean, std, shape)
        for each, part in zip(images, (train, test), strict=True)
    )
    return DividedData(f"cifar10:{path}", learned, asked, classes=10)


def _open_folder(path: str, shape: ImageShape) -> DividedData:
    root = expand_home(path)
    if not os.path.isdir(root):  # also where the name is longer than names can be
        raise UsageError(f"There is no folder {path}.", "A folder with a folder of images for each class.")
    _check_colours(f"folder:{path}", shape)
    held = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    if (root / "train").is_dir() and held is not None:
        sets = [_read_folder(root / "train"), _read_folder(held)]
        if sets[0].classes != sets[1].classes:
            raise UsageError(f"{root / 'train'} and {held} have other classes.", "The same folders in both.")
        learned, asked = (FolderSamples(each, range(len(each)), shape) for each in sets)
    else:
        sets = [_read_folder(root)]
        learned, asked = (FolderSamples(sets[0], part, shape) for part in _split(len(sets[0])))
    note = f"Images scaled to {show_shape(shape)}, with torchvision's usual mean and deviation of each channel."
    return DividedData(f"folder:{path}", learned, asked, classes=len(sets[0].classes), notes=(note,))


def _read_folder(root: Path) -> Any:
    from torchvision.datasets import ImageFolder

    try:
        return ImageFolder(root)
    except (FileNotFoundError, OSError) as error:
        raise UsageError(
            f"{root} holds no images by class.", "A folder with a folder of images for each class.", str(error)
        ) from error


@dataclass(frozen=True)
class FolderSamples(IndexedSamples):
    """Images that are read when they are needed.

    Attributes:
        files: torchvision's `ImageFolder`.
        chosen: the indices of its files that are meant.
        shape: what they are scaled to.
    """

    files: Any
    chosen: Sequence[int]
    shape: ImageShape

    def __len__(self) -> int:
        return len(self.chosen)

    def take(self, indices: Sequence[int]) -> Batch:
        from torchvision.transforms import functional

        found = [self.files[self.chosen[index]] for index in indices]
        images = [
            functional.normalize(
                functional.to_tensor(functional.resize(image, list(self.shape[1:]))), IMAGENET_MEAN, IMAGENET_STD
            )
            for image, _ in found
        ]
        return Batch((torch.stack(images),), labels=torch.tensor([label for _, label in found]))


def _split(count: int) -> tuple[list[int], list[int]]:
    """Which samples are learned, and which are held out."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    held = max(1, count // HELD_OUT_SHARE)
    return sorted(order[held:]), sorted(order[:held])


def _check_colours(name: str, shape: ImageShape) -> None:
    if shape[0] != 3:
        raise UsageError(
            f"{name} has images of 3 channels, and the model takes {shape[0]}.",
            "A model that takes 3 channels; the digits fit any number.",
        )


READERS: dict[str, Callable[[str, ImageShape], DividedData]] = {
    "digits": _open_digits,
    "cifar10": _open_cifar10,
    "folder": _open_folder,
}
