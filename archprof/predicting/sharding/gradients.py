"""Which storage holds the gradient of which parameter, and when the backward is done with it."""

from __future__ import annotations

from typing import NamedTuple

from archprof.facts.records import Profile, TensorSpec


class Gradient(NamedTuple):
    """The gradient of a parameter, as one rank's backward makes it.

    Attributes:
        storage: that the backward makes; where it adds to what earlier passes left, of what is added.
        ready: the op after which the backward is done with it.
        earlier: the storage of what earlier passes left.
        addition: the op that adds to that.
    """

    storage: int
    ready: int
    earlier: int | None = None
    addition: int | None = None

    @property
    def kept(self) -> int:
        """The storage in which the optimizer finds it."""
        return self.storage if self.earlier is None else self.earlier


def find_gradients(profile: Profile) -> dict[int, Gradient]:
    """The gradients, by index into `Profile.parameters`; a parameter that the backward does not reach has none.

    Autograd charges the last op on a gradient to the call of the parameter's owner, where that was called. Elsewhere
    it belongs to a parameter of its shape in the module whose op made it, or in the nearest one around that.
    """
    found: dict[int, Gradient] = {}
    strays: list[tuple[Gradient, TensorSpec]] = []
    waiting = [at for at, one in enumerate(profile.parameters) if one.trainable and one.role == "parameter"]
    by_module: dict[int, list[int]] = {}
    for index in waiting:
        by_module.setdefault(profile.parameters[index].module, []).append(index)
    for storage, (position, tensor) in _list_last_touches(profile).items():
        spec, gradient = profile.tensors[tensor].spec, _describe(profile, storage, position)
        owned = by_module.get(profile.calls[profile.ops[position].call].module, [])
        alike = [at for at in owned if at not in found and profile.parameters[at].spec.shape == spec.shape]
        if alike:
            found[alike[0]] = gradient
        else:
            strays.append((gradient, spec))
    for gradient, spec in strays:
        left = [at for at in waiting if at not in found and profile.parameters[at].spec.numel == spec.numel]
        if left:
            found[_find_nearest(profile, gradient, left)] = gradient
    return found


def _find_nearest(profile: Profile, gradient: Gradient, indices: list[int]) -> int:
    """That of the parameters whose owner has most of its path in common with the module whose op made the gradient."""
    born = profile.storages[gradient.storage].born
    maker = profile.calls[profile.ops[gradient.ready if born is None else born].call].module
    path = profile.modules[maker].path.split(".")

    def count_common(index: int) -> int:
        name = profile.parameters[index].name.split(".")
        return next((at for at, (one, other) in enumerate(zip(path, name, strict=False)) if one != other), len(path))

    return max(indices, key=count_common)


def _list_last_touches(profile: Profile) -> dict[int, tuple[int, int]]:
    """Of the storage of each gradient: the last op of the backward on it, and the tensor that it saw there."""
    touched: dict[int, tuple[int, int]] = {}
    for position, op in enumerate(profile.ops):
        if op.phase == "backward":
            for tensor in (*op.inputs, *op.outputs):
                storage = profile.tensors[tensor].storage
                if profile.storages[storage].role == "gradient":
                    touched.pop(storage, None)
                    touched[storage] = (position, tensor)
    return touched


def _describe(profile: Profile, storage: int, position: int) -> Gradient:
    if profile.storages[storage].born is not None:
        return Gradient(storage, position)
    added = [profile.tensors[tensor].storage for tensor in profile.ops[position].inputs]
    fresh = next((one for one in added if one != storage), storage)
    return Gradient(fresh, position, storage, position)
