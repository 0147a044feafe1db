"""The signature of an op on the rank's parts: local layouts, and the share of the work that they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from archprof.facts.records import Signature, TensorSpec
from archprof.predicting.sharding.layout import Layout, localize

LISTS = ("aten._foreach", "aten._fused")
REDUCTIONS = ("aten.sum", "aten.mean")
PRODUCTS_WITH_SUM = ("aten.addmm", "aten.baddbmm")


def localize_signature(signature: Signature, ins: Sequence[Layout], outs: Sequence[Layout]) -> Signature:
    """As it is on the rank; equal to what it was where nothing is cut."""
    cut = next((one.cut for one in (*outs, *ins) if one.cut), None)
    inputs = tuple([localize(spec, one) for spec, one in zip(signature.inputs, ins, strict=True)])
    outputs = tuple([localize(spec, one) for spec, one in zip(signature.outputs, outs, strict=True)])
    if any(one.is_lost for one in (*ins, *outs)):
        return signature._replace(inputs=inputs, outputs=outputs, macs=None, flops=None, status="unknown")
    if cut is None:
        return signature
    share = (cut.part, cut.whole)
    if signature.name.startswith(LISTS):
        share = (sum(spec.numel for spec in inputs), sum(spec.numel for spec in signature.inputs))
    shapes = {
        old.shape: new.shape
        for old, new in zip((*signature.inputs, *signature.outputs), (*inputs, *outputs), strict=True)
        if old.shape != new.shape
    }
    return signature._replace(
        args=_replace_shapes(signature.args, shapes),
        inputs=inputs,
        outputs=outputs,
        macs=_share(signature.macs, *share),
        flops=_share_flops(signature, inputs, outputs, *share),
        bytes_read=_share_bytes(signature.bytes_read, signature.inputs, inputs),
        bytes_written=_share_bytes(signature.bytes_written, signature.outputs, outputs),
        workspace=_share(signature.workspace, *share),
    )


def _share(count: int | None, part: int, whole: int) -> int | None:
    return None if count is None else -(-count * part // whole)


def _share_flops(
    signature: Signature, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], part: int, whole: int
) -> int | None:
    """Of a reduction along the cut: one less per element that is elsewhere; a bias is added to whole outputs."""
    flops, macs = signature.flops, signature.macs
    if flops is None:
        return None
    if signature.name.startswith(REDUCTIONS) and outputs == signature.outputs:
        return max(0, flops - (signature.inputs[0].numel - inputs[0].numel))
    if signature.name.startswith(PRODUCTS_WITH_SUM) and outputs == signature.outputs and macs:
        return -(-2 * macs * part // whole) + flops - 2 * macs
    return _share(flops, part, whole)


def _share_bytes(count: int, old: Sequence[TensorSpec], new: Sequence[TensorSpec]) -> int:
    whole, part = (sum(spec.nbytes for spec in side) for side in (old, new))
    return count * part // whole if whole else count


def _replace_shapes(value: Any, shapes: dict[tuple[int, ...], tuple[int, ...]]) -> Any:
    """Arguments in which a shape stands, with the local one in its place."""
    if isinstance(value, tuple) and value:
        return shapes.get(value) or tuple([_replace_shapes(one, shapes) for one in value])
    return value


def share_storage(nbytes: int, full: TensorSpec, local: TensorSpec) -> int:
    """The size of a storage in which a tensor lies, where the rank has a part of that."""
    if full.nbytes == nbytes:
        return local.nbytes
    count = prod(full.shape)
    return nbytes * prod(local.shape) // count if count else nbytes
