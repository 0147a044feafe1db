"""The nets that pages are tried on: of every kind that the issue of a page meets, most of them in no zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import nn

import archprof
from archprof.predicting import runs

ZOO = {
    "vgg16": "vgg16", "resnet152": "resnet152", "swin_t": "torchvision:swin_t", "vit_b_16": "torchvision:vit_b_16",
    "efficientnet_b0": "torchvision:efficientnet_b0", "convnext": "torchvision:convnext_tiny",
    "inception_v3": "torchvision:inception_v3", "fasterrcnn": "torchvision:fasterrcnn_resnet50_fpn",
    "gpt2": "hf:gpt2", "llama-2-7b": "hf:llama-2-7b", "mixtral": "hf:mixtral-8x7b",
    "densenet201": "torchvision:densenet201", "mobilenet_v3": "torchvision:mobilenet_v3_large",
    "maxvit": "torchvision:maxvit_t", "deeplabv3": "torchvision:deeplabv3_resnet50", "r3d_18": "torchvision:r3d_18",
    "raft": "torchvision:raft_small", "googlenet": "torchvision:googlenet",
}  # fmt: skip
"""By the names of pages."""


class Twice(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 32)
        self.encoders = nn.ModuleList(Twice(a, b) for a, b in pairwise(widths))
        self.pool, self.bottom = nn.MaxPool2d(2), Twice(32, 64)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, a // 2, 2, 2) for a in (64, 32, 16))
        self.decoders = nn.ModuleList(Twice(a, a // 2) for a in (64, 32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for encoder in self.encoders:
            x = encoder(x)
            kept.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(torch.cat([up(x), kept.pop()], 1))
        return x


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.tags = nn.Embedding(5000, 128), nn.Linear(512, 17)
        self.lstm = nn.LSTM(128, 256, 2, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tags(self.lstm(self.embed(x))[0])


class Generator(nn.Sequential):
    def __init__(self) -> None:
        widths = (100, 256, 128, 64)
        ups = [nn.Sequential(nn.ConvTranspose2d(a, b, 4, 1 + (i > 0), int(i > 0)), nn.BatchNorm2d(b), nn.ReLU())
               for i, (a, b) in enumerate(pairwise(widths))]  # fmt: skip
        super().__init__(*ups, nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh())


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.Flatten()]
        self.encoder, self.out = nn.Sequential(*layers, nn.Linear(3200, 64)), nn.Linear(64, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.out((self.encoder(a) - self.encoder(b)).abs())


class Names(nn.Module):
    """Names of all alphabets, with markup in them, and of a length that no column has."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("слой_1_заголовок", nn.Conv2d(3, 16, 3))
        self.add_module("層二の特徴抽出器", nn.Conv2d(16, 16, 3))
        self.add_module("<b>bold</b>&amp;", nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3)))
        self.add_module("a_very_long_name_that_somebody_wrote_on_a_friday_and_never_shortened", nn.Conv2d(32, 8, 3))
        self.add_module("\u202eright_to_left", nn.Conv2d(8, 8, 1))
        self.add_module("emoji🚀head", nn.Conv2d(8, 10, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x


class OneNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


@torch.library.custom_op("page_nets::nobody_knows", mutates_args=())
def nobody_knows(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@nobody_knows.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Unknown(nn.Module):
    """A net of which a part of the cost is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Linear(32, 10)
        self.blocks = nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = nobody_knows(block(x))
        return self.head(x.mean((2, 3)))


class Points(nn.Module):
    """Convolutions of one position each: they multiply, and nothing slides."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv1d(3, 64, 1), nn.ReLU(), nn.Conv1d(64, 128, 1), nn.Conv1d(128, 1024, 1))
        self.fc = nn.Sequential(nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 40))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.mlp(x).max(-1)[0])


def deep() -> nn.Module:
    return nn.Sequential(*(nn.Linear(8 + i % 97, 8 + (i + 1) % 97) for i in range(3000)))


def from_config(config: str, auto: str, **sizes: Any) -> Callable[[], nn.Module]:
    """A net of transformers, small where sizes say so."""

    def make() -> nn.Module:
        import transformers

        with torch.device("meta"):
            made = getattr(transformers, f"{config}Config")(**sizes)
            return getattr(transformers, auto).from_config(made)

    return make


BUILT: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "unet": (UNet, (1, 3, 64, 64)),
    "deep": (deep, (1, 8)),
    "one op": (nn.ReLU, (1, 16)),
    "tagger": (Tagger, "int64[1,40]<5000"),
    "generator": (Generator, (1, 100, 1, 1)),
    "siamese": (Siamese, ((1, 1, 28, 28), (1, 1, 28, 28))),
    "names": (Names, (1, 3, 32, 32)),
    "one number": (OneNumber, (1, 8)),
    "no weights": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Softmax(1)), (1, 3, 32, 32)),
    "unknown": (Unknown, (1, 3, 32, 32)),
    "points": (Points, (1, 3, 1024)),
    "one width": (lambda: nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.GELU()) for _ in range(12))), (1, 64)),
    "whisper": (
        from_config("Whisper", "AutoModelForSpeechSeq2Seq", encoder_layers=2, decoder_layers=2),
        {"input_features": "[1,80,3000]", "decoder_input_ids": "int64[1,32]<1000"},
    ),
    "t5": (
        from_config("T5", "AutoModelForSeq2SeqLM"),
        {"input_ids": "int64[1,64]<1000", "decoder_input_ids": "int64[1,32]<1000"},
    ),
    "bert": (from_config("Bert", "AutoModel"), "int64[1,128]<1000"),
    "clip": (from_config("CLIP", "AutoModel"), {"input_ids": "int64[1,77]<1000", "pixel_values": "[1,3,224,224]"}),
}
"""Modules of one's own, with what goes into them."""


class Version(nn.Module):
    """Blocks of convolutions and a head, in the version of today or an older one."""

    def __init__(self, blocks: int = 6, groups: int = 1, head: str = "head") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.layer = nn.Sequential(*(Twice(16, 16) for _ in range(blocks)))
        self.mix = nn.Conv2d(16, 16, 3, padding=1, groups=groups)
        self.add_module(head, nn.Linear(16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return list(self.children())[-1](self.mix(self.layer(self.stem(x))).mean((2, 3)))


def version(revision: str = "", **options: Any) -> archprof.Profile:
    """`net.py:Net` at a revision."""
    return replace(archprof.profile(Version(**options), (1, 3, 32, 32)), model=f"net.py:Net{revision}")


SEVERAL = {
    "five mixed models": ("vgg16", "resnet18", "hf:gpt2", "torchvision:swin_t", "torchvision:vit_b_16"),
    "a family": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "images and tokens": ("resnet50", "hf:gpt2"),
    "language models": ("hf:llama-2-7b", "hf:mixtral-8x7b"),
    "a detector and its backbone": ("torchvision:fasterrcnn_resnet50_fpn", "resnet50"),
}
"""Different nets beside each other."""

MADE: dict[str, Callable[[], list[archprof.Profile]]] = {
    "two versions": lambda: [version("@HEAD~1"), version(blocks=4, groups=4)],
    "two versions that are one": lambda: [version("@HEAD~1"), version()],
    "a layer by another name": lambda: [version("@HEAD~1"), version(head="classifier")],
    "a block put in": lambda: [version("@HEAD~1"), version(blocks=7)],
    "measured": lambda: [archprof.measure("cifar_resnet", seconds=0.5)],
    "predicted": lambda: [runs.predict_on(archprof.profile("resnet50"), "h100")],
    "two predicted": lambda: [runs.predict_on(archprof.profile(name), "t4") for name in ("resnet18", "resnet50")],
}
"""Pages that take more than a trace."""

LISTED = (
    "vgg16", "resnet152", "swin_t", "vit_b_16", "efficientnet_b0", "convnext", "inception_v3", "fasterrcnn", "gpt2",
    "llama-2-7b", "mixtral", "unet", "deep", "one op", "five mixed models", "two versions", "measured", "predicted",
)  # fmt: skip
"""What a page must show in any case."""

EVERY = tuple(dict.fromkeys((*LISTED, *ZOO, *BUILT, *SEVERAL, *MADE)))

_traced: dict[str, archprof.Profile] = {}


def trace(name: str) -> archprof.Profile:
    """A model by the name that archprof takes, or a module of `BUILT`; once each."""
    if name not in _traced:
        model, inputs = BUILT.get(name, (None, None))
        _traced[name] = archprof.profile(name) if model is None else archprof.profile(model(), inputs)
    return _traced[name]


def list_profiles(page: str) -> list[archprof.Profile]:
    """The models of a page."""
    if page in MADE:
        return MADE[page]()
    return [trace(name) for name in SEVERAL.get(page, (ZOO.get(page, page),))]
