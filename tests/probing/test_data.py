"""Data by name: what is read, how it is scaled, and what is said where it does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import archprof
from archprof.errors import UsageError
from archprof.probing.data.batches import DividedData
from archprof.probing.data.images import open_images


def digits(*shape: int) -> DividedData:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    return open_images("digits", shape)


def test_digits_are_those_of_scikit_learn() -> None:
    """All 1,797 once; scaled to their own size they are theirs, shifted and stretched alike."""
    data = digits(1, 8, 8)
    from sklearn.datasets import load_digits

    own = load_digits()
    assert (len(data.train), len(data.held_out), data.classes) == (1438, 359, 10)
    parts = [part.take(range(len(part))) for part in (data.train, data.held_out)]
    found = torch.cat([part.args[0] for part in parts]).flatten(1).numpy()
    labels = torch.cat([part.labels for part in parts]).numpy()
    spread = (found - found.min()) / (found.max() - found.min()) * 16
    order, expected = np.lexsort(spread.round().T), np.lexsort(own.data.T)
    assert np.abs(spread[order] - own.data[expected]).max() < 1e-4
    assert (labels[order] == own.target[expected]).all()


def test_digits_are_scaled_to_the_model() -> None:
    data = digits(3, 32, 20)
    images = data.train.take([0, 5]).args[0]
    assert images.shape == (2, 3, 32, 20)
    assert torch.equal(images[:, 0], images[:, 2])
    every = data.train.take(range(len(data.train))).args[0]
    assert abs(float(every.mean())) < 0.05
    assert 0.7 < float(every.std()) < 1.1  # bilinear scaling makes edges soft


def test_every_sample_comes_once_in_an_order_of_the_seed() -> None:
    data = digits(1, 8, 8)

    def order(seed: int) -> list[float]:
        batches = data.train.iterate(100, torch.Generator().manual_seed(seed))
        return torch.cat([each.args[0] for each in batches]).sum((1, 2, 3)).tolist()

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == sorted(order(1))
    assert len(order(0)) == 1438


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A folder as torchvision unpacks it, of two images in each file; its check sums are not asked."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for at, name in enumerate((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")):
        pixels = np.arange(2 * 3072, dtype=np.uint64).reshape(2, 3072) * (at + 1) % 256
        with (folder / name).open("wb") as file:
            pickle.dump({"data": pixels.astype(np.uint8), "labels": [at, 9]}, file)
    with (folder / "batches.meta").open("wb") as file:
        pickle.dump({"label_names": list("abcdefghij")}, file)
    return tmp_path


@pytest.mark.parametrize("inner", [False, True])
def test_cifar10_is_read_where_it_lies(cifar: Path, inner: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import cifar as reader

    monkeypatch.setattr(reader, "check_integrity", lambda *_: True)
    path = cifar / "cifar-10-batches-py" if inner else cifar
    data = open_images(f"cifar10:{path}", (3, 32, 32))
    assert (len(data.train), len(data.held_out), data.classes) == (10, 2, 10)
    batch = data.train.take(range(10))
    assert batch.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert batch.args[0].mean((0, 2, 3)).abs().max() < 1e-5
    assert batch.args[0].std((0, 2, 3)).sub(1).abs().max() < 1e-5


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten pictures of three classes."""
    for at in range(10):
        folder = tmp_path / f"class{at % 3}"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10), (at * 20, 0, 255)).save(folder / f"{at}.png")
    return tmp_path


def test_a_folder_of_images_is_read(pictures: Path) -> None:
    data = open_images(f"folder:{pictures}", (3, 16, 16))
    assert (len(data.train), len(data.held_out), data.classes) == (8, 2, 3)
    batch = data.train.take(range(8))
    assert batch.args[0].shape == (8, 3, 16, 16)
    assert float(batch.args[0][0, 2, 0, 0]) == pytest.approx((1 - 0.406) / 0.225)
    assert set(batch.labels.tolist()) <= {0, 1, 2}


def test_a_folder_that_is_divided_stays_so(pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "two"
    root.mkdir()
    (root / "train").symlink_to(pictures, target_is_directory=True)
    (root / "val" / "class0").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(root / "val" / "class0" / "x.png")
    pictures.joinpath("two").rename(tmp_path.parent / f"{tmp_path.name}-two")
    root = tmp_path.parent / f"{tmp_path.name}-two"
    with pytest.raises(UsageError, match="have other classes"):
        open_images(f"folder:{root}", (3, 8, 8))


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("cifar_vgg", "numbers", "no data called 'numbers'"),
        ("cifar_vgg", "digits:x", "no data called"),
        ("cifar_vgg", "cifar10", "no data called"),
        ("cifar_vgg", "cifar10:/nowhere", "no CIFAR-10 under /nowhere"),
        ("cifar_vgg", "folder:/nowhere", "no folder /nowhere"),
        ("lenet5", "cifar10:/nowhere", "no CIFAR-10 under /nowhere"),
        ("lenet5", "folder:/nowhere", "no folder /nowhere"),
        (nn.Linear(3, 2), "digits", "has no default input"),
    ],
)
def test_data_that_does_not_fit_is_said(model: object, data: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        archprof.probe(model, data=data, batch=2)


def test_colours_that_do_not_fit_are_said_of_images_that_are_there(
    cifar: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import cifar as reader

    monkeypatch.setattr(reader, "check_integrity", lambda *_: True)
    for data in (f"cifar10:{cifar}", f"folder:{pictures}"):
        with pytest.raises(UsageError, match="images of 3 channels, and the model takes 1"):
            archprof.probe("lenet5", data=data, batch=2)


def test_a_model_that_takes_no_images_is_said() -> None:
    with pytest.raises(UsageError, match=r"Linear takes 3, and digits are images"):
        archprof.probe(nn.Linear(3, 2), "3", data="digits", batch=2)


def test_an_empty_folder_and_few_images_are_said(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="holds no images by class"):
        archprof.probe("cifar_vgg", data=f"folder:{tmp_path / 'none'}", batch=2)
    (tmp_path / "none").rmdir()
    with pytest.raises(UsageError, match=r"2 batches of 8 cannot be had: folder:.* has 1 of them"):
        archprof.probe("cifar_vgg", data=f"folder:{pictures}", batch=8, batches=2)


def test_fewer_outputs_than_classes_are_said() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    with pytest.raises(UsageError, match=r"10 classes, and lenet5.num_classes=4. tells 4 apart"):
        archprof.probe("lenet5(num_classes=4)", data="digits", batch=4)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(archprof.ArchprofError, match=r"pip install 'archprof\[probe\]'"):
        open_images("digits", (1, 8, 8))
