"""The package transformers: imported late and module by module, quiet, and never on the network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from archprof.sources.recipe import UnavailableError, explain_import_error


def import_transformers() -> Any:
    """The package; its parts are imported when they are asked for. `UnavailableError` says why there is none."""
    try:
        import transformers
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise explain_import_error("transformers", error) from error
    return transformers


def list_public_names() -> list[str]:
    """Every public name of the package; none is imported for it."""
    return dir(import_transformers())


def import_public(name: str) -> Any:
    """A class by its public name; `UnavailableError` if its module needs a package that is not there."""
    try:
        return getattr(import_transformers(), name)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise UnavailableError(f"{name} cannot be imported: {error}") from error


def is_transformers_model(model: nn.Module) -> bool:
    """Whether a model is one of transformers, also a class of the user's own that inherits from one."""
    modules = sys.modules.get("transformers.modeling_utils")
    return modules is not None and isinstance(model, modules.PreTrainedModel)


@contextmanager
def quiet_and_offline() -> Iterator[None]:
    """Nothing is downloaded and nothing is said: what the library keeps of both is afterwards as it was."""
    from huggingface_hub import constants

    logging = import_public("logging")
    offline, verbosity = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(verbosity)
