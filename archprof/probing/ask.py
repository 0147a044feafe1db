"""The questions of this room as users ask them; importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archprof.facts.records import Profile
from archprof.facts.request import PassRequest, ProbeRequest


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
