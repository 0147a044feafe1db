"""What goes into a transformers model when the user does not say: found from its forward and its configuration.

An argument of `forward` is given if the model cannot do without it, or if its family is always used with it: token
ids below the vocabulary with a mask of ones, the decoder's ids, token types, boxes, images, spectrograms, sound. A
model that has places for images among its tokens gets text alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from archprof.errors import UnknownName, UsageError
from archprof.sources.hf.families import MAKERS_BY_TYPE, OMITTED_ARGUMENTS
from archprof.sources.hf.makers import MAKER_BY_ARGUMENT, InputRequest

LENGTH_SETTINGS = {
    "seq": "tokens of the input, 128 if not given",
    "decoder_seq": "tokens of the decoder of an encoder-decoder; as seq if not given",
    "samples": "samples of a sound, 16000 if not given",
    "frames": "columns of a spectrogram, 1024 if not given, where the configuration does not fix them",
}
"""What `--set` can change."""


def default_inputs(model: nn.Module, batch: int, settings: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The keyword arguments of one forward.

    Args:
        settings: lengths by their keys in `LENGTH_SETTINGS`.

    Raises:
        UsageError: a setting that does not exist, or that this model does not read.
    """
    given = settings or {}
    unknown = next((key for key in given if key not in LENGTH_SETTINGS), None)
    if unknown is not None:
        raise UnknownName("setting", unknown, LENGTH_SETTINGS)
    wanted = InputRequest(model, batch, given)
    own = MAKERS_BY_TYPE.get(wanted.config.model_type, {})
    makers = MAKER_BY_ARGUMENT | own
    inputs = {name: makers[name](wanted) for name in _list_given_arguments(wanted, own) if name in makers}
    unread = [key for key in given if key not in wanted.settings_read]
    if unread:
        known = "; ".join(f"{key}: {LENGTH_SETTINGS[key]}" for key in LENGTH_SETTINGS if key in wanted.settings_read)
        raise UsageError(f"{type(model).__name__} has no {unread[0]} to set.", known or "It has nothing to set.")
    return inputs


def _list_given_arguments(wanted: InputRequest, own: Mapping[str, Any]) -> list[str]:
    """The arguments of `forward` that are given, in its order."""
    left_out = OMITTED_ARGUMENTS.get(wanted.config.model_type, ())
    return [
        name
        for name, parameter in wanted.parameters.items()
        if name not in left_out
        and (name in own or parameter.default is inspect.Parameter.empty or _is_usually_given(name, wanted))
    ]


def _is_usually_given(name: str, wanted: InputRequest) -> bool:
    """Whether an argument that could be left out is given all the same."""
    config, with_text = wanted.config, "input_ids" in wanted.parameters
    if name == "token_type_ids":
        return bool(getattr(wanted.text_config, "type_vocab_size", 0))
    if name == "decoder_input_ids":
        return bool(config.is_encoder_decoder)
    if name == "pixel_values":
        return not (with_text and _has_image_tokens(config))
    if name in ("input_features", "input_values"):
        return not (with_text and hasattr(config, "text_config"))
    if name == "attention_mask":
        return with_text
    return name in ("input_ids", "bbox")


def _has_image_tokens(config: Any) -> bool:
    parts = (config, getattr(config, "vlm_config", None))
    return any(hasattr(part, f"image_token_{word}") for part in parts for word in ("id", "index"))
