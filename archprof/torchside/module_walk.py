"""The modules of a model in torch's order, found in a loop: torch's own generators call each other level by level."""

from __future__ import annotations

from torch import nn

_PLAIN_WALK = nn.Module.named_modules


def walk_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What `model.named_modules()` gives: each module once, at its first path."""
    found: list[tuple[str, nn.Module]] = []
    seen: set[nn.Module] = set()
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if module in seen:
            continue
        if type(module).named_modules is not _PLAIN_WALK:  # a class that names its modules as it likes
            return list(model.named_modules())
        seen.add(module)
        found.append((path, module))
        if children := module._modules:
            prefix = f"{path}." if path else ""
            waiting += [(prefix + name, child) for name, child in reversed(children.items()) if child is not None]
    return found
