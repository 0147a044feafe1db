"""Weights that are in a model for nothing, as far as a pass tells."""

from __future__ import annotations

from archprof.facts.records import Parameter, Profile


def find_unread_parameters(profile: Profile) -> tuple[Parameter, ...]:
    """The parameters whose storage no op read, forward or backward.

    A layer need not be called for it: its weights may be used by hand, as those of attention's output are. Where
    nobody wrote down which storage a parameter is, those of modules that were never called. None where the forward
    stopped, and none below a call with an op that no rule covers: that may read more than the tensors it was given.
    """
    if profile.failure is not None:
        return ()
    read = {profile.tensors[i].storage for op in profile.ops if op.phase != "optimizer" for i in op.inputs}
    called = {call.module for call in profile.calls}
    hidden = {profile.calls[op.call].module for op in profile.ops if op.status == "unknown"}
    for index, module in enumerate(profile.modules):
        if module.parent in hidden:
            hidden.add(index)
    return tuple(
        one
        for one in profile.parameters
        if one.role == "parameter"
        and one.module not in hidden
        and (one.module not in called if one.storage is None else one.storage not in read)
    )
