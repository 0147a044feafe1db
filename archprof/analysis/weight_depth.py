"""Depth in weight layers, the way papers count it: ResNet-50 has 50, VGG-16 has 16."""

from __future__ import annotations

from archprof.facts.records import Op, Profile


def count_weight_layers(profile: Profile) -> int:
    """The most convolutions and matrix products with a parameter that stand one after another in the forward pass.

    Branches in parallel do not add, so the projection of a shortcut counts only where it is the longer way. Norms,
    and products of two activations as in attention, have no weights here. A recurrent op counts once, however many
    steps and layers it runs. The count is a lower bound where an op is unknown or the forward stopped.
    """
    flow = _Flow(profile)
    return max((flow.depth_after(op) for op in profile.forward_ops), default=0)


class _Flow:
    """How many weight layers stand before what each storage holds; views share it, and in-place ops deepen it."""

    def __init__(self, profile: Profile) -> None:
        self.storage = [tensor.storage for tensor in profile.tensors]
        roles = [storage.role for storage in profile.storages]
        self.weights = {i for i, role in enumerate(roles) if role == "parameter"}
        self.held = {i for i, role in enumerate(roles) if role in ("parameter", "buffer", "constant")}
        self.depth = [0] * len(roles)

    def depth_after(self, op: Op) -> int:
        """The depth after this op; the ops must come in order."""
        read = {self.storage[tensor] for tensor in op.inputs}
        written = {self.storage[tensor] for tensor in op.outputs}
        if read & self.weights and read <= self.held:  # a weight that is cast, masked or reshaped
            self.weights |= written
            self.held |= written
            return 0
        before = max((self.depth[at] for at in read - self.weights), default=0)
        after = before + bool(op.macs and read & self.weights)
        for at in written:
            self.depth[at] = max(self.depth[at], after)
        return after
