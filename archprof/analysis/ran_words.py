"""Where and how passes ran, in the words of a report."""

from __future__ import annotations

from archprof.facts.records import Ran


def list_ran(ran: Ran) -> list[tuple[str, str]]:
    """What a number depends on beside the model and the device: a name and a text each, without what is not known."""
    switches = {"tf32 in matrix products": ran.tf32_matmul, "tf32 in cudnn": ran.tf32_cudnn}
    return [
        *ran.versions.items(),
        *([("threads", describe_threads(ran))] if ran.threads is not None else []),
        *((name, "on" if on else "off") for name, on in switches.items() if on is not None),
        *ran.details.items(),
    ]


def describe_threads(ran: Ran) -> str:
    """ "2 of 4 processors"."""
    return str(ran.threads) if ran.processors is None else f"{ran.threads} of {ran.processors} processors"
