"""What a pass over real tensors takes on a CPU: the live bytes, and what its kernels copy."""

from __future__ import annotations

from archprof.facts import liveness
from archprof.facts.records import Profile, TensorSpec

CHANNEL_BLOCK = 8
"""Channels in a block of oneDNN's layout nChw8c (its documentation, "Understanding memory formats")."""


def count_needed_bytes(profile: Profile) -> int:
    """The live bytes at the peak, and what convolutions take beside them.

    oneDNN lays out in blocks what goes into a convolution and what comes out: both are there twice while it runs, the
    second time with whole blocks of channels.
    """
    tensors = profile.tensors
    convolutions = [op for op in profile.ops if op.window and op.macs]
    held = [{tensors[i].storage: tensors[i].spec for i in (*op.inputs, *op.outputs)} for op in convolutions]
    copies = max([sum(map(_count_blocked_bytes, each.values())) for each in held], default=0)
    return liveness.compute_peak_bytes(profile) + copies


def _count_blocked_bytes(spec: TensorSpec) -> int:
    """The bytes of a tensor of (batch, channels, ...) in oneDNN's layout, which leaves few channels as they are."""
    channels = spec.shape[1] if len(spec.shape) > 2 else 0
    if channels < CHANNEL_BLOCK // 2:
        return spec.nbytes
    return spec.nbytes // channels * (-(-channels // CHANNEL_BLOCK) * CHANNEL_BLOCK)
