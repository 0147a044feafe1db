"""From what a user names as data to the batches of a probe or of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.probing.data.batches import Batch, DividedData, ImageShape, LoaderData
from archprof.probing.data.images import open_images
from archprof.sources.input_spec import InputSpec, is_floating_dtype
from archprof.sources.inputs import make_input_tensors
from archprof.sources.target import Target

RANDOM = "random"


def open_data(data: str | LoaderData, target: Target) -> DividedData | LoaderData | None:
    """What is meant by `data`: images by name, scaled for the model, or batches; `None` for random inputs.

    Raises:
        UsageError: it is none of these, or the model takes no images.
    """
    if isinstance(data, LoaderData):
        return data
    return None if data == RANDOM else open_images(data, find_image_shape(target, data))


def find_image_shape(target: Target, data: str) -> ImageShape:
    """Channels, height and width of the images that a model takes."""
    given = [*target.args, *target.kwargs.values()]
    spec = given[0] if len(given) == 1 and isinstance(given[0], InputSpec) else None
    if spec is not None and is_floating_dtype(spec.dtype or "float32"):
        shape = spec.shape if spec.batched else spec.shape[1:]
        if len(shape) == 3:
            return shape[0], shape[1], shape[2]
    asked = ", ".join(map(str, given)) or "nothing"
    raise UsageError(
        f"{target.name} takes {asked}, and {data} are images.",
        "A model with one input of channels, height and width.",
        "Name --data random or, in Python, give a loader.",
    )


def draw_batches(
    data: DividedData | LoaderData | None, target: Target, batch: int, batches: int, dtype: str, seed: int
) -> list[Batch]:
    """The batches of a probe: of images as a generator of this seed draws them, of a loader the first.

    Raises:
        UsageError: there are fewer.
    """
    found = list(islice(_iterate(data, target, batch, dtype, seed), batches))
    if len(found) < batches:
        many = f"{len(found)} of them"
        asked = f"{batches} batch{'es' * (batches != 1)} of {batch}"
        raise UsageError(f"{asked} cannot be had: {data.name if data else RANDOM} has {many}.", "Fewer, or smaller.")
    return found


def _iterate(
    data: DividedData | LoaderData | None, target: Target, batch: int, dtype: str, seed: int
) -> Iterator[Batch]:
    if isinstance(data, LoaderData):
        yield from data.batches
        return
    if data is not None:
        shuffled = data.train.iterate(batch, torch.Generator().manual_seed(seed))
        yield from (each for each in shuffled if each.labels is not None and len(each.labels) == batch)
        return
    while True:
        trees = (
            make_input_tensors(tree, device="cpu", batch=batch, dtype=dtype, seed=seed)
            for tree in (target.args, target.kwargs)
        )
        yield Batch(*trees)
        seed += 1


def draw_labels(batches: Sequence[Batch], batch: int, classes: int, seed: int) -> list[Batch]:
    """The same inputs, each with a class that is drawn."""
    generator = torch.Generator().manual_seed(seed)
    return [each._replace(labels=torch.randint(classes, (batch,), generator=generator)) for each in batches]


def count_classes(profile: Profile) -> int | None:
    """Scores that a model returns for each sample; `None` where it returns something else."""
    outputs = profile.calls[0].outputs if profile.calls else ()
    if not outputs or not is_floating_dtype(outputs[0].dtype) or len(outputs[0].shape) != 2:
        return None
    samples, classes = outputs[0].shape
    return classes if samples == profile.batch and classes > 1 else None


def check_classes(data: DividedData | LoaderData | None, profile: Profile) -> None:
    """Raise `UsageError` where a model has fewer outputs than there are classes."""
    classes = count_classes(profile)
    if isinstance(data, DividedData) and classes is not None and classes < data.classes:
        raise UsageError(
            f"{data.name} has {data.classes} classes, and {profile.model} tells {classes} apart.",
            "At least as many outputs as classes.",
            f"Try: '{profile.model.partition('(')[0]}(num_classes={data.classes})'",
        )
