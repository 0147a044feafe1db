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

SEQUENCE = 128
"""Tokens of the default input; fewer where the model has fewer positions."""
SOUND = 16_000
"""Samples of the default sound: one second at the usual 16 kHz."""
FRAMES = 1024
"""Columns of the default spectrogram, where the configuration does not fix them: about ten seconds."""
IMAGE = 224
"""Height and width of the default image, where the configuration does not fix them."""
GRID = 16
"""Patches along each side of the default image, where a model takes patches."""
CLIP = 16
"""Frames of the default video."""


class Wanted:
    """What makers are asked with: the model's configuration, the batch, and the settings, noting which are read."""

    def __init__(self, model: nn.Module, batch: int, settings: Mapping[str, int]) -> None:
        self.config: Any = model.config
        self.parameters = inspect.signature(model.forward).parameters
        self.batch, self.settings = batch, settings
        self.read: set[str] = set()

    def setting(self, key: str, default: int) -> int:
        self.read.add(key)
        return self.settings.get(key, default)

    def value(self, *names: str, default: Any = None) -> Any:
        """The first of these that the configuration has, or one of the configurations of its parts."""
        parts = [self.config, *(part for part in vars(self.config).values() if hasattr(part, "model_type"))]
        values = (getattr(part, name, None) for part in parts for name in names)
        return next((value for value in values if value is not None), default)

    def number(self, *names: str, default: int) -> int:
        """The same, of which the last is taken where there are several, as for height and width."""
        value = self.value(*names, default=default)
        return int(value[-1] if isinstance(value, (list, tuple)) else value)

    @property
    def text(self) -> Any:
        """The configuration of the part that reads tokens."""
        return self.config.get_text_config()

    @property
    def seq(self) -> int:
        return self.setting("seq", min(SEQUENCE, positions(self.text) or SEQUENCE))

    @property
    def decoder_seq(self) -> int:
        most = positions(self.config.get_text_config(decoder=True)) or SEQUENCE
        return self.setting("decoder_seq", min(self.settings.get("seq", SEQUENCE), most))


Maker = Callable[[Wanted], Any]


def positions(config: Any) -> int | None:
    """Positions for which a model is made; `None` where its configuration does not say."""
    for name in ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len"):
        limit = getattr(config, name, None)
        if isinstance(limit, int) and limit > 0:
            return limit
    return None


def vocabulary(config: Any) -> int:
    """How many tokens there are; 2 where the configuration does not say."""
    return next((int(found) for found in [getattr(config, "vocab_size", None)] if isinstance(found, int)), 2)


def ids(wanted: Wanted) -> InputSpec:
    return InputSpec((wanted.seq,), "int64", vocabulary(wanted.text), batched=True)


def decoder_ids(wanted: Wanted) -> InputSpec:
    decoder = wanted.config.get_text_config(decoder=True)
    return InputSpec((wanted.decoder_seq,), "int64", vocabulary(decoder), batched=True)


def attention_mask(wanted: Wanted) -> InputSpec:
    """All ones: no token is padding."""
    return InputSpec((wanted.seq,), "int64", 2, batched=True, low=1)


def token_types(wanted: Wanted) -> InputSpec:
    return InputSpec((wanted.seq,), "int64", batched=True)


def boxes(wanted: Wanted) -> InputSpec:
    return InputSpec((wanted.seq, 4), "int64", batched=True)


def image(wanted: Wanted) -> InputSpec:
    """[channels, height, width], or the patches of it for a model that is told their grid."""
    if "grid_thw" in wanted.parameters or "image_grid_thw" in wanted.parameters:
        return patches(wanted)
    return InputSpec((_channels(wanted), *_size(wanted)), batched=True)


def _channels(wanted: Wanted) -> int:
    return wanted.number("num_channels", "in_channels", "in_chans", default=3)


def _size(wanted: Wanted) -> tuple[int, int]:
    size = wanted.value("image_size", "img_size", "input_size", default=IMAGE)
    if isinstance(size, Mapping):
        size = (size.get("height", IMAGE), size.get("width", IMAGE))
    return (int(size[0]), int(size[-1])) if isinstance(size, (tuple, list)) else (int(size), int(size))


def patches(wanted: Wanted) -> InputSpec:
    """The patches of all images below one another, each flattened, over the time that a patch spans."""
    side, time = (
        wanted.number("patch_size", default=14),
        wanted.number("temporal_patch_size", "patch_temporal", default=1),
    )
    return InputSpec((wanted.batch * GRID * GRID, _channels(wanted) * time * side * side))


def grid(wanted: Wanted) -> torch.Tensor:
    """Patches in time, height and width of each image."""
    return torch.tensor([[1, GRID, GRID]] * wanted.batch)


def merges(wanted: Wanted) -> torch.Tensor:
    return torch.ones(wanted.batch, dtype=torch.int64)


def pair_of_images(wanted: Wanted) -> InputSpec:
    return InputSpec((2, _channels(wanted), *_size(wanted)), batched=True)


def patches_of_each(wanted: Wanted) -> InputSpec:
    """The patches of each image by itself."""
    side = wanted.number("patch_size", default=14)
    return InputSpec((GRID * GRID, _channels(wanted) * side * side), batched=True)


def patches_in_place(wanted: Wanted) -> InputSpec:
    """The patches of all images below one another, each an image of its own."""
    side = wanted.number("patch_size", default=14)
    return InputSpec((wanted.batch * GRID * GRID, _channels(wanted), side, side))


def grid_of_each(wanted: Wanted) -> torch.Tensor:
    """Patches in height and width of each image."""
    return torch.tensor([[GRID, GRID]] * wanted.batch)


def clip(wanted: Wanted) -> InputSpec:
    """A video: frames before channels."""
    frames = wanted.number("num_frames", "frames_per_clip", default=CLIP)
    return InputSpec((frames, _channels(wanted), *_size(wanted)), batched=True)


def sound(wanted: Wanted) -> InputSpec:
    return InputSpec((wanted.setting("samples", SOUND),), batched=True)


def sound_with_channels(wanted: Wanted) -> InputSpec:
    return InputSpec((wanted.number("audio_channels", default=1), wanted.setting("samples", SOUND)), batched=True)


def _bins(wanted: Wanted) -> int:
    names = ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "input_feat_size", "input_dim")
    return wanted.number(*names, default=80)


def spectrogram(wanted: Wanted) -> InputSpec:
    """[time, bins]."""
    return InputSpec((_frames(wanted), _bins(wanted)), batched=True)


def _frames(wanted: Wanted) -> int:
    return wanted.setting("frames", wanted.number("max_length", default=FRAMES))


def spectrogram_mask(wanted: Wanted) -> torch.Tensor:
    return torch.ones(wanted.batch, _upright_frames(wanted), dtype=torch.int64)


def spectrogram_upright(wanted: Wanted) -> InputSpec:
    """[bins, time], as long as the positions of Whisper's encoder."""
    return InputSpec((_bins(wanted), _upright_frames(wanted)), batched=True)


def _upright_frames(wanted: Wanted) -> int:
    return wanted.setting("frames", 2 * wanted.number("max_source_positions", default=FRAMES // 2))


def series(wanted: Wanted) -> InputSpec:
    """A time series: [steps, channels]."""
    steps, channels = wanted.number("context_length", default=512), wanted.number("num_input_channels", default=1)
    return InputSpec((steps, channels), batched=True)


def floats(*sizes: int | str) -> Maker:
    """Makes a tensor of these sizes behind the batch; a word is the name of a size in the configuration."""
    return lambda wanted: InputSpec(_sizes(wanted, sizes), batched=True)


def integers(*sizes: int | str, below: int | str = 1) -> Maker:
    """Makes whole numbers in such a tensor, 0 and more."""
    return lambda wanted: InputSpec(_sizes(wanted, sizes), "int64", _sizes(wanted, (below,))[0], batched=True)


def _sizes(wanted: Wanted, sizes: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(wanted.number(size, default=1) if isinstance(size, str) else size for size in sizes)


def ones(*sizes: int | str, dtype: torch.dtype = torch.int64) -> Maker:
    """Makes a mask that masks nothing."""
    return lambda wanted: torch.ones(wanted.batch, *_sizes(wanted, sizes), dtype=dtype)


MAKERS: dict[str, Maker] = {
    "input_ids": ids,
    "attention_mask": attention_mask,
    "decoder_input_ids": decoder_ids,
    "token_type_ids": token_types,
    "bbox": boxes,
    "pixel_values": image,
    "pixel_values_videos": clip,
    "hidden_states": patches,
    "grid_thw": grid,
    "image_grid_thw": grid,
    "merge_sizes": merges,
    "input_values": sound,
    "input_features": spectrogram,
    "input_features_mask": spectrogram_mask,
    "past_values": series,
}
"""What makes each argument, where the family has no way of its own."""
