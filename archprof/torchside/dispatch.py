"""What our modes in torch's dispatcher have in common."""

from __future__ import annotations

from archprof.torchside.private import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[misc]
    """A mode that does without torch's compiler."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True wraps every call in torch._dynamo, whose import takes longer than torch's own
