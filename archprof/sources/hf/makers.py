"""How each argument of a transformers forward is made: its shape from the configuration, its range from the vocabulary.

A maker takes what is wanted and returns one input. Which of them are asked is said in `inputs`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from archprof.sources.input_spec import InputSpec

DEFAULT_TOKENS = 128
"""Tokens of the default input; fewer where the model has fewer positions."""
DEFAULT_SAMPLES = 16_000
"""Samples of the default sound: one second at the usual 16 kHz."""
DEFAULT_SPECTROGRAM_FRAMES = 1024
"""Columns of the default spectrogram, where the configuration does not fix them: about ten seconds."""
DEFAULT_IMAGE_SIZE = 224
"""Height and width of the default image, where the configuration does not fix them."""
DEFAULT_GRID = 16
"""Patches along each side of the default image, where a model takes patches."""
DEFAULT_VIDEO_FRAMES = 16
"""Frames of the default video."""


class InputRequest:
    """What makers are asked with: the model's configuration, the batch, and the settings, noting which are read."""

    def __init__(self, model: nn.Module, batch: int, settings: Mapping[str, int]) -> None:
        self.config: Any = model.config
        self.parameters = inspect.signature(model.forward).parameters
        self.batch, self.settings = batch, settings
        self.settings_read: set[str] = set()

    def read_setting(self, key: str, default: int) -> int:
        self.settings_read.add(key)
        return self.settings.get(key, default)

    def find_value(self, *names: str, default: Any = None) -> Any:
        """The first of these that the configuration has, or one of the configurations of its parts."""
        parts = [self.config, *(part for part in vars(self.config).values() if hasattr(part, "model_type"))]
        values = (getattr(part, name, None) for part in parts for name in names)
        return next((value for value in values if value is not None), default)

    def find_number(self, *names: str, default: int) -> int:
        """The same, of which the last is taken where there are several, as for height and width."""
        value = self.find_value(*names, default=default)
        return int(value[-1] if isinstance(value, (list, tuple)) else value)

    @property
    def text_config(self) -> Any:
        """The configuration of the part that reads tokens."""
        return self.config.get_text_config()

    @property
    def token_count(self) -> int:
        return self.read_setting("seq", min(DEFAULT_TOKENS, count_positions(self.text_config) or DEFAULT_TOKENS))

    @property
    def decoder_token_count(self) -> int:
        most = count_positions(self.config.get_text_config(decoder=True)) or DEFAULT_TOKENS
        return self.read_setting("decoder_seq", min(self.settings.get("seq", DEFAULT_TOKENS), most))


Maker = Callable[[InputRequest], Any]


def count_positions(config: Any) -> int | None:
    """Positions for which a model is made; `None` where its configuration does not say."""
    for name in ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len"):
        limit = getattr(config, name, None)
        if isinstance(limit, int) and limit > 0:
            return limit
    return None


def count_vocabulary(config: Any) -> int:
    """How many tokens there are; 2 where the configuration does not say."""
    return next((int(found) for found in [getattr(config, "vocab_size", None)] if isinstance(found, int)), 2)


def make_token_ids(wanted: InputRequest) -> InputSpec:
    return InputSpec((wanted.token_count,), "int64", count_vocabulary(wanted.text_config), batched=True)


def make_decoder_ids(wanted: InputRequest) -> InputSpec:
    decoder = wanted.config.get_text_config(decoder=True)
    return InputSpec((wanted.decoder_token_count,), "int64", count_vocabulary(decoder), batched=True)


def make_attention_mask(wanted: InputRequest) -> InputSpec:
    """All ones: no token is padding."""
    return InputSpec((wanted.token_count,), "int64", 2, batched=True, low=1)


def make_token_types(wanted: InputRequest) -> InputSpec:
    return InputSpec((wanted.token_count,), "int64", batched=True)


def make_boxes(wanted: InputRequest) -> InputSpec:
    return InputSpec((wanted.token_count, 4), "int64", batched=True)


def make_image(wanted: InputRequest) -> InputSpec:
    """[channels, height, width], or the patches of it for a model that is told their grid."""
    if "grid_thw" in wanted.parameters or "image_grid_thw" in wanted.parameters:
        return make_patches(wanted)
    return InputSpec((_image_channels(wanted), *_image_size(wanted)), batched=True)


def _image_channels(wanted: InputRequest) -> int:
    return wanted.find_number("num_channels", "in_channels", "in_chans", default=3)


def _image_size(wanted: InputRequest) -> tuple[int, int]:
    size = wanted.find_value("image_size", "img_size", "input_size", default=DEFAULT_IMAGE_SIZE)
    if isinstance(size, Mapping):
        size = (size.get("height", DEFAULT_IMAGE_SIZE), size.get("width", DEFAULT_IMAGE_SIZE))
    return (int(size[0]), int(size[-1])) if isinstance(size, (tuple, list)) else (int(size), int(size))


def make_patches(wanted: InputRequest) -> InputSpec:
    """The patches of all images below one another, each flattened, over the time that a patch spans."""
    side = wanted.find_number("patch_size", default=14)
    time = wanted.find_number("temporal_patch_size", "patch_temporal", default=1)
    return InputSpec((wanted.batch * DEFAULT_GRID * DEFAULT_GRID, _image_channels(wanted) * time * side * side))


def make_grid(wanted: InputRequest) -> torch.Tensor:
    """Patches in time, height and width of each image."""
    return torch.tensor([[1, DEFAULT_GRID, DEFAULT_GRID]] * wanted.batch)


def make_merge_sizes(wanted: InputRequest) -> torch.Tensor:
    return torch.ones(wanted.batch, dtype=torch.int64)


def make_image_pair(wanted: InputRequest) -> InputSpec:
    return InputSpec((2, _image_channels(wanted), *_image_size(wanted)), batched=True)


def make_patches_per_image(wanted: InputRequest) -> InputSpec:
    """The patches of each image by itself."""
    side = wanted.find_number("patch_size", default=14)
    return InputSpec((DEFAULT_GRID * DEFAULT_GRID, _image_channels(wanted) * side * side), batched=True)


def make_patch_images(wanted: InputRequest) -> InputSpec:
    """The patches of all images below one another, each an image of its own."""
    side = wanted.find_number("patch_size", default=14)
    return InputSpec((wanted.batch * DEFAULT_GRID * DEFAULT_GRID, _image_channels(wanted), side, side))


def make_grid_per_image(wanted: InputRequest) -> torch.Tensor:
    """Patches in height and width of each image."""
    return torch.tensor([[DEFAULT_GRID, DEFAULT_GRID]] * wanted.batch)


def make_video(wanted: InputRequest) -> InputSpec:
    """A video: frames before channels."""
    frames = wanted.find_number("num_frames", "frames_per_clip", default=DEFAULT_VIDEO_FRAMES)
    return InputSpec((frames, _image_channels(wanted), *_image_size(wanted)), batched=True)


def make_sound(wanted: InputRequest) -> InputSpec:
    return InputSpec((wanted.read_setting("samples", DEFAULT_SAMPLES),), batched=True)


def make_sound_with_channels(wanted: InputRequest) -> InputSpec:
    return InputSpec(
        (wanted.find_number("audio_channels", default=1), wanted.read_setting("samples", DEFAULT_SAMPLES)), batched=True
    )


def _mel_bins(wanted: InputRequest) -> int:
    names = ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "input_feat_size", "input_dim")
    return wanted.find_number(*names, default=80)


def make_spectrogram(wanted: InputRequest) -> InputSpec:
    """[time, bins]."""
    return InputSpec((_spectrogram_frames(wanted), _mel_bins(wanted)), batched=True)


def _spectrogram_frames(wanted: InputRequest) -> int:
    return wanted.read_setting("frames", wanted.find_number("max_length", default=DEFAULT_SPECTROGRAM_FRAMES))


def make_spectrogram_mask(wanted: InputRequest) -> torch.Tensor:
    return torch.ones(wanted.batch, _upright_frames(wanted), dtype=torch.int64)


def make_upright_spectrogram(wanted: InputRequest) -> InputSpec:
    """[bins, time], as long as the positions of Whisper's encoder."""
    return InputSpec((_mel_bins(wanted), _upright_frames(wanted)), batched=True)


def _upright_frames(wanted: InputRequest) -> int:
    return wanted.read_setting(
        "frames", 2 * wanted.find_number("max_source_positions", default=DEFAULT_SPECTROGRAM_FRAMES // 2)
    )


def make_series(wanted: InputRequest) -> InputSpec:
    """A time series: [steps, channels]."""
    steps = wanted.find_number("context_length", default=512)
    channels = wanted.find_number("num_input_channels", default=1)
    return InputSpec((steps, channels), batched=True)


def float_maker(*sizes: int | str) -> Maker:
    """Makes a tensor of these sizes behind the batch; a word is the name of a size in the configuration."""
    return lambda wanted: InputSpec(_read_sizes(wanted, sizes), batched=True)


def integer_maker(*sizes: int | str, below: int | str = 1) -> Maker:
    """Makes whole numbers in such a tensor, 0 and more."""
    return lambda wanted: InputSpec(_read_sizes(wanted, sizes), "int64", _read_sizes(wanted, (below,))[0], batched=True)


def _read_sizes(wanted: InputRequest, sizes: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(wanted.find_number(size, default=1) if isinstance(size, str) else size for size in sizes)


def mask_maker(*sizes: int | str, dtype: torch.dtype = torch.int64) -> Maker:
    """Makes a mask that masks nothing."""
    return lambda wanted: torch.ones(wanted.batch, *_read_sizes(wanted, sizes), dtype=dtype)


MAKER_BY_ARGUMENT: dict[str, Maker] = {
    "input_ids": make_token_ids,
    "attention_mask": make_attention_mask,
    "decoder_input_ids": make_decoder_ids,
    "token_type_ids": make_token_types,
    "bbox": make_boxes,
    "pixel_values": make_image,
    "pixel_values_videos": make_video,
    "hidden_states": make_patches,
    "grid_thw": make_grid,
    "image_grid_thw": make_grid,
    "merge_sizes": make_merge_sizes,
    "input_values": make_sound,
    "input_features": make_spectrogram,
    "input_features_mask": make_spectrogram_mask,
    "past_values": make_series,
}
"""What makes each argument, where the family has no way of its own."""
