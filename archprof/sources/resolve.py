"""From what a user names to what can be traced."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from archprof import files
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.facts.request import PLAIN_PASS, PassRequest
from archprof.models import registry
from archprof.models.block_grammar import looks_like_blocks, parse_blocks
from archprof.sources import git_revision, python_file, saved_files, timm_zoo, torchvision_zoo
from archprof.sources.build import build_on_meta, build_with_values
from archprof.sources.exported import program
from archprof.sources.hf import configs, zoo
from archprof.sources.input_spec import InputSpec
from archprof.sources.inputs import (
    Inputs,
    cast_float_inputs,
    find_input_specs,
    holds_no_tensor,
    normalise_inputs,
)
from archprof.sources.model_grammar import ModelSpec, parse_model
from archprof.sources.recipe import Recipe, UnavailableError, check_recipe_arguments, explain_build_error
from archprof.sources.target import Target


def resolve(
    spec: str | nn.Module | type | Callable[..., Any], inputs: Any = None, request: PassRequest = PLAIN_PASS
) -> Target:
    """Find or build the model that `spec` names and what goes into it.

    Args:
        spec: MODEL as on the command line, an `nn.Module`, or a class or factory to be called without arguments.
        inputs: see `normalise_inputs`; `None`: the model's own default.
        request: of the pass. Its batch makes the list of images that a detector takes; other inputs get theirs when
            they are made. Tensors given as inputs follow the dtype that was asked for.

    Raises:
        UsageError: the request, the name, its arguments or the inputs do not fit.
        ArchprofError: what was named exists, and cannot be imported or built.
    """
    request.check()
    if isinstance(spec, str) and "\0" in spec:
        raise UsageError(f"{spec!r} names no model.", "No name and no path has a null byte in it.")
    batch = request.batch
    if inputs is not None and request.dtype is not None:
        inputs = cast_float_inputs(inputs, request.dtype)
    if isinstance(spec, nn.Module):
        return _resolve_module(type(spec).__name__, spec, inputs, request)
    if inputs is not None:
        normalise_inputs(inputs)  # said before a model is built: it may take long
    if _is_exported_object(spec):
        return _resolve_exported_object(spec, inputs, batch)
    if isinstance(spec, str) and spec.endswith(".pt2"):
        return _resolve_exported(spec, inputs, batch)
    if isinstance(spec, str) and saved_files.is_saved_file(spec):
        return _resolve_saved_file(spec, inputs, request)
    if isinstance(spec, str) and looks_like_blocks(spec):
        return _resolve_blocks(spec, inputs, request)
    if isinstance(spec, str):
        return _resolve_name(spec, parse_model(spec), inputs, request)
    if callable(spec):
        return _resolve_recipe(getattr(spec, "__name__", type(spec).__name__), Recipe(spec), inputs, request)
    raise UsageError(f"A model cannot be of type {_type_name(spec)}.", "A name, an nn.Module, a class or a factory.")


def _resolve_name(text: str, spec: ModelSpec, inputs: Any, request: PassRequest) -> Target:
    if spec.where in ("", "torchvision", "timm", "hf"):
        return _resolve_recipe(text, find_recipe(spec), inputs, request)
    found = _load_user_code(spec)
    if isinstance(found, nn.Module) and spec.kwargs is None:
        return _resolve_module(text, found, inputs, request)
    if isinstance(found, nn.Module) or not callable(found):
        what = (
            "a module already and takes no arguments"
            if isinstance(found, nn.Module)
            else f"of type {_type_name(found)}"
        )
        raise UsageError(f"{text} is {what}.", "An nn.Module, a class of one, or a factory that returns one.")
    return _resolve_recipe(text, Recipe(found, spec.kwargs or {}), inputs, request)


def _resolve_exported(path: str, inputs: Any, batch: int) -> Target:
    """The target of a saved program, whose values are read only where the pass needs them."""
    model = program.load_program(path)
    args, kwargs = normalise_inputs(inputs) if inputs is not None else program.default_inputs(model, batch)
    if batch != 1 and inputs is not None:
        _check_batch(path, (args, kwargs), batch)
    rebuild = partial(program.load_program, path, values=True)
    return Target(path, model, args, kwargs, owned=True, rebuild=rebuild)


def _is_exported_object(spec: Any) -> bool:
    """Whether it is what `torch.export.export` returns; asked without an import of it, which is slow."""
    export = sys.modules.get("torch.export.exported_program")
    return export is not None and isinstance(spec, export.ExportedProgram)


def _resolve_exported_object(exported: Any, inputs: Any, batch: int) -> Target:
    """The target of a program in memory: by way of a file, which is read as any other and goes with the target."""
    from torch import export

    folder = tempfile.TemporaryDirectory(prefix="archprof-")
    path = str(Path(folder.name) / "program.pt2")
    export.save(exported, path)
    target = _resolve_exported(path, inputs, batch)
    rebuild = target.rebuild
    assert rebuild is not None

    def rebuild_while_kept(folder: Any = folder) -> nn.Module:
        return rebuild()

    return replace(target, name=type(exported).__name__, rebuild=rebuild_while_kept)


def _resolve_saved_file(path: str, inputs: Any, request: PassRequest) -> Target:
    """The target of a file that holds a program, or weights alone."""
    if saved_files.is_exported_program(path):
        return _resolve_exported(path, inputs, request.batch)
    model = saved_files.load_saved_model(path)
    if not isinstance(model, saved_files.StoredWeights):
        return _resolve_module(path, model, inputs, request)
    if inputs is not None:
        raise UsageError(
            f"{path} holds weights alone: there is no forward that takes inputs.",
            "Without inputs, it gives the table of its parameters.",
            "The model is named by its class: net.py:Net.",
        )
    return Target(path, model, (), {}, owned=True, rebuild=None, notes=(saved_files.WEIGHTS_ALONE_NOTE,))


def _resolve_blocks(text: str, inputs: Any, request: PassRequest) -> Target:
    """The target of a block spec, built for the input it is given."""
    from archprof.models import block_layers

    net = parse_blocks(text)
    if inputs is None:
        raise UsageError(
            f"{text} has no default input: a block spec fits itself to what goes in.",
            "Give its input: --input 3x32x32 on the command line, profile(spec, '3x32x32') in Python.",
        )
    given = normalise_inputs(inputs)
    if given.kwargs or len(given.args) != 1 or not isinstance(given.args[0], InputSpec):
        raise UsageError(f"{text} takes one tensor.", "Its shape without the batch: --input 3x32x32.")
    shape = given.args[0].shape if given.args[0].batched else given.args[0].shape[1:]
    factory = partial(block_layers.build_net, net, text, shape)
    return _resolve_recipe(text, Recipe(factory), given, request)


def _load_user_code(spec: ModelSpec) -> Any:
    """What a name stands for in the user's own code."""
    if spec.revision is not None:
        return git_revision.load_from_revision(spec.where, spec.revision, spec.name)
    load = python_file.load_from_file if spec.is_file else python_file.load_from_module
    return load(spec.where, spec.name)


def find_recipe(spec: ModelSpec) -> Recipe:
    """The offer of a name: built in, then torchvision, then timm."""
    kwargs = spec.kwargs or {}
    if spec.where == "torchvision":
        return torchvision_zoo.make_torchvision_recipe(spec.name, kwargs)
    if spec.where == "timm":
        return timm_zoo.make_timm_recipe(spec.name, kwargs)
    if spec.where == "hf":
        return zoo.make_hf_recipe(spec.name, kwargs)
    if spec.name in registry.BUILTIN_MODELS:
        from archprof.models.definitions import find_builder

        entry = registry.BUILTIN_MODELS[spec.name]
        return Recipe(find_builder(entry), kwargs, lambda *_: entry.input)
    return _find_recipe_in_zoos(spec.name, kwargs)


def _find_recipe_in_zoos(name: str, kwargs: dict[str, Any]) -> Recipe:
    """The offer of a name that is not built in; `UnknownName` knows all names there are, and why some are not."""
    known, hints = {*registry.list_builtin_names(), *[f"hf:{name}" for name in configs.load_ready_configs()]}, []
    for offer in (torchvision_zoo.make_torchvision_recipe, timm_zoo.make_timm_recipe):
        found = _try_zoo(offer, name, kwargs)
        if isinstance(found, Recipe):
            return found
        if isinstance(found, UnknownName):
            known.update(found.known)
        else:
            hints.append(f"{found.given} {found.hint}".strip())
    raise UnknownName("model", name, known, "\n".join(hints))


def _try_zoo(
    offer: Callable[[str, dict[str, Any]], Recipe], name: str, kwargs: dict[str, Any]
) -> Recipe | UnknownName | UnavailableError:
    """The offer of a zoo, or why it has none."""
    try:
        return offer(name, kwargs)
    except (UnknownName, UnavailableError) as error:
        return error


def _check_batch(name: str, inputs: Any, batch: int) -> None:
    """A batch, other than 1, must reach the pass."""
    if not any(spec.batched for spec in find_input_specs(inputs)):
        raise UsageError(
            f"A batch of {batch} was asked for, and every input of {name} has its exact shape.",
            "The batch is put in front of inputs written without it: 3x224x224.",
            "Give the inputs so, or leave the batch out.",
        )


def _gives_tensors(inputs: Any) -> bool:
    return inputs is not None and not holds_no_tensor(normalise_inputs(inputs))


def _resolve_module(name: str, model: nn.Module, inputs: Any, request: PassRequest) -> Target:
    """The target of the user's own module."""
    args, kwargs = _choose_inputs(name, model, inputs, zoo.make_inputs_if_hf(model, request.batch), request.dtype)
    if request.batch != 1 and _gives_tensors(inputs):  # a default is made for the batch
        _check_batch(name, (args, kwargs), request.batch)
    return Target(name, model, args, kwargs, owned=False, rebuild=None)


def _resolve_recipe(name: str, offer: Recipe, inputs: Any, request: PassRequest) -> Target:
    """The target of a model that is made here, with what its factory returned beside it."""
    check_recipe_arguments(name, offer)
    try:
        made = build_on_meta(offer.make)
    except ArchprofError:
        raise
    except (Exception, SystemExit) as error:
        raise explain_build_error(name, offer, error) from error
    model, own = _split_made(name, made, request.dtype)
    default = own or offer.inputs(model, request.batch)
    args, kwargs = _choose_inputs(name, model, inputs, default, request.dtype)
    if request.batch != 1 and (_gives_tensors(inputs) or own is not None):  # a default is made for the batch
        _check_batch(name, (args, kwargs), request.batch)
    return Target(name, model, args, kwargs, owned=True, rebuild=partial(_rebuild, name, offer))


def _rebuild(name: str, offer: Recipe) -> nn.Module:
    return _split_made(name, build_with_values(offer.make))[0]


def _split_made(name: str, made: Any, dtype: str | None = None) -> tuple[nn.Module, Inputs | None]:
    """The model that a factory returned, and the inputs if it returned `(model, inputs)` or `(model, args, kwargs)`."""
    if isinstance(made, nn.Module):
        return made, None
    several = isinstance(made, tuple) and bool(made) and isinstance(made[0], nn.Module)
    if several and len(made) == 2:
        return made[0], _read_own_inputs(made[1], dtype)
    if several and len(made) == 3:
        args, kwargs = (_read_own_inputs(one, dtype) for one in made[1:])
        return made[0], Inputs(args.args, kwargs.kwargs)
    raise UsageError(
        f"{name} returned {_type_name(made)}, not a model.", "An nn.Module, (model, inputs) or (model, args, kwargs)."
    )


def _read_own_inputs(inputs: Any, dtype: str | None) -> Inputs:
    """The inputs that come with a model; floating tensors follow the dtype that was asked for, as those given do."""
    return normalise_inputs(inputs if dtype is None else cast_float_inputs(inputs, dtype))


def _choose_inputs(name: str, model: nn.Module, given: Any, default: Any, dtype: str | None) -> Inputs:
    """What goes in: as given, by default, or as the model itself says, which Lightning modules do."""
    own = getattr(model, "example_input_array", None)
    found = [each for each in (given, default) if each is not None]
    inputs = [each if isinstance(each, Inputs) else normalise_inputs(each) for each in found]
    if own is not None and len(inputs) < 2:
        inputs.append(_read_own_inputs(own, dtype))
    if len(inputs) == 2 and holds_no_tensor(inputs[0]):
        return Inputs(inputs[1].args, {**inputs[1].kwargs, **inputs[0].kwargs})
    if inputs:
        return inputs[0]
    raise UsageError(
        f"{name} has no default input.",
        "Give its inputs: --input 3x224x224 on the command line, profile(model, (1, 3, 224, 224)) in Python.",
        "A tuple of ints is one exact shape; a tuple of shapes, tensors or strings is several; a dict is keywords.",
    )


def _type_name(value: Any) -> str:
    return type(value).__name__


def check_traceable(model: Any) -> None:
    """`UsageError` for a saved profile, which holds one setting only."""
    if files.is_profile_path(model):
        raise UsageError(f"{model} is a saved profile, traced at one setting.", "", "Name the model itself.")
