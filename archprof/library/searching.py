"""Settings that fit, and sizes that come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archprof.errors import UsageError
from archprof.facts.request import PassRequest

if TYPE_CHECKING:
    from archprof.analysis.table import Table


def inputs(
    model: Any, where: str | Iterable[str], *,
    lo: int = 1, hi: int = 1024, square: bool | None = None, inputs: Any = None, dtype: str | None = None,
) -> Table:  # fmt: skip
    """The input sizes that give an output of that size at a layer: where="features.0=55x55".

    The other arguments, and what it raises, are those of `archprof.sweeping.solve_inputs.find_input_sizes`.
    """
    from archprof.analysis.tables.search import tabulate_inputs
    from archprof.sweeping.solve_inputs import find_input_sizes

    request = PassRequest(dtype=dtype)
    return tabulate_inputs(find_input_sizes(model, where, lo=lo, hi=hi, square=square, inputs=inputs, request=request))


def fit(
    model: Any, inputs: Any = None, *, over: str = "resolution", amp: str | None = None, checkpoint: Sequence[str] = (),
    max_params: int | str | None = None, max_macs: int | str | None = None, max_flops: int | str | None = None,
    max_activation: int | str | None = None, max_memory: int | str | None = None, device: str | None = None,
    batch: int = 1, dtype: str | None = None, train: bool = False, optimizer: str | None = None,
    max_latency: float | str | None = None, accumulate: int = 1, set_to_none: bool = True,
    set: Mapping[str, int] | None = None, gpus: int | None = None, least: str = "time", zero: int = 3,
    units: Sequence[str] = (), param_dtype: str | None = None, plan: str | None = None, sequence_parallel: bool = False,
    microbatches: int | None = None, schedule: str = "1f1b", node: int = 8,
) -> Table:  # fmt: skip
    """The largest setting inside the budgets, beside its neighbours; see `archprof.sweeping.fit.fit_to_budgets`.

    Over "mesh": every mesh of so many `gpus`, the one of the least "time" per sample, or "memory", first; the keywords
    from `zero` on are as for `archprof.shard`.
    """
    from archprof.analysis.tables.search import tabulate_fit
    from archprof.sweeping.fit import fit_to_budgets

    request = PassRequest(
        batch, dtype, train, optimizer=optimizer, accumulate=accumulate, set_to_none=set_to_none, amp=amp,
        checkpoint=checkpoint, lengths=set,
    )  # fmt: skip
    if over == "mesh":
        from archprof.analysis.tables.meshes import tabulate_meshes
        from archprof.sweeping.meshes import fit_meshes
        from archprof.sweeping.shards import ShardRequest

        limits = (max_params, max_macs, max_flops, max_activation, max_memory, max_latency)
        if any(limit is not None for limit in limits):
            raise UsageError("A mesh has one budget, the memory of its device.", "", "Leave out --max-….")
        ask = ShardRequest(
            None, device, zero, tuple(units), param_dtype, plan, sequence_parallel, microbatches, schedule, node=node
        )
        return tabulate_meshes(fit_meshes(model, inputs, request, ask, gpus, least))
    return tabulate_fit(fit_to_budgets(
        model, over=over, max_params=max_params, max_macs=max_macs, max_flops=max_flops, max_activation=max_activation,
        max_memory=max_memory, max_latency=max_latency, device=device, inputs=inputs, request=request,
    ))  # fmt: skip
