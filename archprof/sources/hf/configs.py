"""What a name in `hf:NAME` stands for: a configuration, and the architecture that is built from it.

NAME is a ready name ("llama-2-7b": `archprof/data/transformers.csv`), a model type ("llama"), a configuration class
("LlamaConfig"), an architecture ("LlamaForCausalLM"), or the path of a config.json or of the folder that holds one.
No code of a repository is ever run and nothing is downloaded: a configuration is data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.files import expand_home, read_data_table, read_text
from archprof.sources.hf import library
from archprof.sources.recipe import make_unknown_keyword_error

LARGEST_FILE_BYTES = 2**24

PREFERRED_TASKS = ("SPEECH_SEQ_2_SEQ", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "CAUSAL_LM")
"""Tasks whose architecture is meant when only a configuration is named, in this order. A type that is also made for
filling in masks (BERT) is no language model first; it and any other type is meant without a head."""


class ConfigChoice(NamedTuple):
    """A configuration and the class that is built from it."""

    config: Any
    architecture: Any


class ReadyConfig(NamedTuple):
    """A well-known public configuration.

    Attributes:
        name: what a user types.
        architecture: its class in transformers.
        arguments: of its configuration, where they differ from the defaults of the class.
        source: where they are published.
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    source: str


@cache
def load_ready_configs() -> dict[str, ReadyConfig]:
    """The ready names."""
    return {
        row["name"]: ReadyConfig(row["name"], row["architecture"], json.loads(row["arguments"]), row["source"])
        for row in read_data_table("transformers.csv")
    }


def list_hf_names() -> list[str]:
    """Ready names, then model types."""
    return [*load_ready_configs(), *_config_class_by_type()]


def choose_config(name: str, kwargs: Mapping[str, Any]) -> ConfigChoice:
    """The configuration and the architecture that a name stands for, with the arguments that the user gave.

    Raises:
        UsageError: there is nothing of that name, or the configuration has no such argument.
        ArchprofError: the file cannot be read, or is of a type that the installed transformers does not know.
    """
    if name in load_ready_configs():
        entry = load_ready_configs()[name]
        architecture = library.import_public(entry.architecture)
        return ConfigChoice(_make_config(name, architecture.config_class, kwargs, entry.arguments), architecture)
    if name in _config_class_by_type():
        return _choose_from_config(_make_config(name, library.import_public(_config_class_by_type()[name]), kwargs))
    if name in library.list_public_names():
        return _choose_from_class(name, library.import_public(name), kwargs)
    if "/" in name or "\\" in name or name.endswith(".json") or Path(name).is_dir():
        return _choose_from_file(expand_home(name), kwargs)
    known = [
        *list_hf_names(),
        *(public for public in library.list_public_names() if public.endswith(("Config", "Model", "LM"))),
    ]
    raise UnknownName("transformers model", name, known, "Also a local config.json, or the folder that holds one.")


def _choose_from_class(name: str, found: Any, kwargs: Mapping[str, Any]) -> ConfigChoice:
    """The choice of a public class of the library."""
    base, config_class = library.import_public("PreTrainedConfig"), getattr(found, "config_class", None)
    if isinstance(found, type) and issubclass(found, base):
        return _choose_from_config(_make_config(name, found, kwargs))
    if isinstance(found, type) and isinstance(config_class, type) and issubclass(config_class, base):
        return ConfigChoice(_make_config(name, config_class, kwargs), found)
    raise UsageError(
        f"{name} of transformers is neither a configuration nor an architecture with one.",
        "Names end in Config, or are a model's: LlamaConfig, LlamaForCausalLM.",
    )


def _make_config(name: str, config_class: Any, kwargs: Mapping[str, Any], data: Mapping[str, Any] | None = None) -> Any:
    """A configuration from its class, with published arguments and over them the user's."""
    merged = {**(data or {}), **kwargs}
    try:
        with library.quiet_and_offline():
            config = config_class(**merged)
            plain = config_class(**(data or {})) if kwargs else config
    except Exception as error:  # each class has checks of its own
        raise ArchprofError(f"{name} is no configuration: {type(error).__name__}: {error}") from error
    for keyword in kwargs:
        if not hasattr(plain, keyword):  # the class would keep it and never read it
            raise make_unknown_keyword_error(name, keyword, sorted(plain.to_dict()))
    return config


def _choose_from_file(path: Path, kwargs: Mapping[str, Any]) -> ConfigChoice:
    """The choice of a config.json; `architectures` in it names the class."""
    file = path / "config.json" if path.is_dir() else path
    try:
        data = json.loads(read_text(file, LARGEST_FILE_BYTES))
    except (ArchprofError, ValueError, RecursionError) as error:
        raise ArchprofError(f"{file} cannot be read: {error}", "A config.json of a transformers model.") from error
    if not isinstance(data, dict) or "model_type" not in data:
        raise ArchprofError(f"{file} is no configuration of transformers: it names no model_type.")
    if data["model_type"] not in _config_class_by_type():
        raise ArchprofError(
            f"{file} is of the type {data['model_type']!r}, "
            f"which transformers {library.import_transformers().__version__} "
            "does not know.",
            "Code that comes with a configuration (auto_map) is not run.",
            "Try: pip install --upgrade transformers",
        )
    unused = ("model_type", "transformers_version", "auto_map")
    given = {key: value for key, value in data.items() if key not in unused}
    config = _make_config(str(file), library.import_public(_config_class_by_type()[data["model_type"]]), kwargs, given)
    return _choose_from_config(config)


def _choose_from_config(config: Any) -> ConfigChoice:
    """The choice of a configuration: the architecture that it names, or the usual one of its type."""
    for name in getattr(config, "architectures", None) or ():
        if name in library.list_public_names():
            return ConfigChoice(config, library.import_public(name))
    name = _find_usual_architecture(config.model_type)
    if name is None:
        raise UsageError(
            f"transformers maps the type {config.model_type!r} to no model: it is a part of another.",
            "Name the architecture itself, or the configuration of the whole.",
        )
    return ConfigChoice(config, library.import_public(name))


def _find_usual_architecture(model_type: str) -> str | None:
    """The architecture that is meant when only a type is named."""
    tables = _architectures_by_task()
    for task in PREFERRED_TASKS:
        if model_type in tables[task] and not (task == "CAUSAL_LM" and model_type in tables["MASKED_LM"]):
            return tables[task][model_type]
    return next((table[model_type] for table in tables.values() if model_type in table), None)


def list_buildable_types() -> list[str]:
    """The model types to which the library maps an architecture; the rest are parts of others."""
    return [name for name in _config_class_by_type() if _find_usual_architecture(name) is not None]


@cache
def _config_class_by_type() -> dict[str, str]:
    """The name of the configuration class of each model type."""
    found = library.import_public("models").auto.configuration_auto.CONFIG_MAPPING_NAMES
    return {str(name): str(config) for name, config in found.items()}


@cache
def _architectures_by_task() -> dict[str, dict[str, str]]:
    """For each task the architecture of each model type; without a head ("MODEL") first."""
    module = library.import_public("models").auto.modeling_auto
    tables = {}
    for name, table in vars(module).items():
        task = name.removesuffix("_MAPPING_NAMES").removeprefix("MODEL_FOR_")
        if name.endswith("_MAPPING_NAMES") and name != "CONFIG_MAPPING_NAMES":
            tables[task] = {key: value if isinstance(value, str) else value[0] for key, value in table.items()}
    return {"MODEL": tables.pop("MODEL_MAPPING_NAMES".removesuffix("_MAPPING_NAMES")), **tables}
