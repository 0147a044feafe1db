"""What a neural-network architecture costs, layer by layer.

    import archprof
    profile = archprof.profile("vgg16")      # a name, a spec such as "file.py:factory", or an nn.Module
    print(profile.table())

There is a function for each command, with the options of the command as keywords. Importing archprof imports neither
torch nor anything else that is large: each function gets what it needs when it is called.
"""

from __future__ import annotations

import archprof.interrupts  # isort: skip  # noqa: F401  # so that Ctrl-C ends what follows in words
from archprof.errors import ArchprofError, DoesNotFit, ProfileFileError, TraceError, UnknownName, UsageError
from archprof.facts.records import Profile
from archprof.library.calibrate import calibrate
from archprof.library.catalogue import list_devices, list_models
from archprof.library.comparing import check, compare, report, whatif
from archprof.library.counting import graph, load, measure, profile, register_cost, table, verify
from archprof.library.epoch import epoch
from archprof.library.predictions import predict, predict_memory
from archprof.library.probing import probe, train
from archprof.library.searching import fit, inputs
from archprof.library.sharding import shard
from archprof.library.sweeps import sweep
from archprof.version import __version__ as __version__

__all__ = [
    "ArchprofError", "DoesNotFit", "Profile", "ProfileFileError", "TraceError", "UnknownName", "UsageError",
    "calibrate", "check", "compare", "epoch", "fit", "graph", "inputs", "list_devices", "list_models", "load",
    "measure", "predict", "predict_memory", "probe", "profile", "register_cost", "report", "shard", "sweep", "table",
    "train", "verify", "whatif",
]  # fmt: skip


def __dir__() -> list[str]:
    """What there is to use: a notebook offers it after the point."""
    return [*__all__, "__version__"]
