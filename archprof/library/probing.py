"""What real batches do in a model, and what several learn of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archprof.facts.records import Profile
from archprof.facts.request import PassRequest, ProbeRequest, TrainRequest

if TYPE_CHECKING:
    from archprof.facts.trained import TrainingRun


def probe(
    model: Any, inputs: Any = None, *, data: Any = "random",
    batch: int = 128, batches: int = 1, weights: str | None = None, optimizer: str | None = "sgd",
    device: str = "cpu", dtype: str | None = None, seed: int = 0, loss: Callable[[Any, Any], Any] | None = None,
) -> Profile:  # fmt: skip
    """Trace a model, then send real batches through a copy of it, forward and backward: how large is what runs there.

    The profile then has a `probe`: activations of every call, gradients of every parameter. They are columns of its
    table (act_std, zeros, dead, rank, grad_norm, …), and comparisons and pages show them.

    Args:
        model, inputs, dtype: as for `profile`; a module keeps its weights, a model that is built starts from the seed.
        data: "digits" (scikit-learn's, scaled to the model), "cifar10:PATH", "folder:PATH", "random", or a loader: an
            iterable of (inputs, labels), of inputs alone, or of dicts of keywords.
        batch: samples of a batch; a loader has its own.
        batches: whose mean loss is differentiated.
        weights: a .safetensors or .pt file to start from.
        optimizer: a class of torch.optim whose first step is taken: "sgd", "adam(lr=0.001)"; `None`: none.
        device: "cpu" or "cuda".
        seed: of weights, samples and everything else that is random.
        loss: a function of what the model returns and of the labels; `None`: the model's own loss, else the cross
            entropy of the labels, else the sum of the means of the outputs.

    Raises:
        UsageError: the data, the weights or the labels do not fit the model; what `profile` raises.
        ArchprofError: there is no such device, or what reads the data is not installed.
    """
    from archprof.probing.run import probe_model

    request = PassRequest(batch, dtype, train=True)
    return probe_model(model, data, inputs, request, ProbeRequest(device, batches, weights, optimizer, seed), loss)


def train(
    models: Any, path: str | Path, inputs: Any = None, *, data: Any, epochs: int = 10, recipe: str = "lecture",
    optimizer: str | None = None, batch: int | None = None, device: str = "cpu", seed: int = 0, amp: bool = True,
    resume: bool = False, held_out: Any = None, loss: Callable[[Any, Any], Any] | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> TrainingRun:  # fmt: skip
    """Train copies of several models side by side by the same recipe, and keep what is seen in a folder.

    The folder holds run.json (losses and accuracies, gradients after epochs 0, 1 and the last, the first filters) and
    the weights of each model. Ctrl-C ends it early and keeps what was learned; a run that was killed goes on from its
    last whole epoch, on a CPU bit for bit.

    Args:
        models: one or a list of what `profile` takes.
        path: the folder.
        inputs: another size of the images than a model's own: "3x24x24".
        data, device, seed, loss: as for `probe`; random data teach nothing. A loader is read once an epoch.
        recipe: "lecture": Adam at 0.001 in batches of 128.
        optimizer, batch: in the place of what the recipe says.
        amp: on a GPU, the forward runs under autocast to bfloat16.
        resume: go on with the run that the folder holds.
        held_out: beside a loader, one of samples that are only asked.
        progress: called with the fraction done and the seconds that are left.

    Raises:
        UsageError: the data do not fit a model; the folder holds a run, or none to go on with.
        ArchprofError: there is no such device, or what is needed is not installed.
    """
    from archprof.probing.training.recipes import find_recipe
    from archprof.probing.training.session import TrainingData, train_models

    known = find_recipe(recipe)
    how = TrainRequest(epochs, recipe, optimizer or known.optimizer, batch or known.batch, device, seed, amp, resume)
    listed = [*models] if isinstance(models, list | tuple) else [models]
    return train_models(listed, Path(path), TrainingData(data, held_out, inputs), how, loss, progress)
