"""Which storage holds the gradient of which parameter, and when the backward is done with it."""

from __future__ import annotations

from typing import NamedTuple

from archprof.facts.records import Profile


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


def find_gradients(profile: Profile) -> dict[int, Gradient]:
    """The gradients, by index into `Profile.parameters`; a parameter that the backward does not reach has none.

    Autograd charges the last op on a gradient to the call of the parameter's owner.
    """
    touched = _list_last_touches(profile)
    calls = profile.calls
    waiting: dict[int, list[int]] = {}
    for index, parameter in enumerate(profile.parameters):
        if parameter.trainable and parameter.role == "parameter":
            waiting.setdefault(parameter.module, []).append(index)
    found: dict[int, Gradient] = {}
    strays: list[int] = []
    for storage, (position, tensor) in touched.items():
        spec = profile.tensors[tensor].spec
        owned = waiting.get(calls[profile.ops[position].call].module, [])
        alike = [at for at in owned if at not in found and profile.parameters[at].spec.shape == spec.shape]
        if alike:
            found[alike[0]] = _describe(profile, storage, position)
        else:
            strays.append(storage)
    for storage in strays:
        left = [at for owned in waiting.values() for at in owned if at not in found]
        alike = [at for at in left if profile.parameters[at].spec.nbytes == profile.storages[storage].nbytes]
        if alike:
            found[alike[0]] = _describe(profile, storage, touched[storage][0])
    return found


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
