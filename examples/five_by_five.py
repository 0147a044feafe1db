"""Small kernels in place of large ones, from the lecture "VGGNet - Explained!".

One 5x5 convolution or two 3x3? Look at three things. Both see the same 5x5 pixels. The stack has far fewer parameters
and one more ReLU. And at equal width it keeps 18 of every 25 parameters: much of what the lecture's example saves comes
from the 32 channels in its middle, not from the small kernels.
"""

from fractions import Fraction

import archprof

WIDTH = 100
SAID_SAVING = "about 4x fewer"
IMAGE = "64x32x32"
MATCHES = {
    "The lecture's example, 64 -> 128 channels": {
        "one 5x5": "conv5-128/nobias relu",
        "two 3x3": "conv3-32/nobias relu conv3-128/nobias relu",
    },
    "The same kernels at equal width": {
        "one 5x5": "conv5-64/nobias relu",
        "two 3x3": "(conv3-64/nobias relu)x2",
    },
    "One step further": {
        "one 7x7": "conv7-64/nobias relu",
        "three 3x3": "(conv3-64/nobias relu)x3",
    },
}
SUITE = ("vgg_a", "vgg_a_lrn", "vgg_b", "vgg_c", "vgg_d", "vgg_e")


def sees(profile: archprof.Profile) -> str:
    """The receptive field of the last layer: how many input pixels are behind one output."""
    return profile.table(columns=["rf"]).records()[-1]["rf"]


for title, nets in MATCHES.items():
    print(f"{title}, on {IMAGE}\n")
    print(f"{'':<11}{'params':>9}{'MACs':>14}{'field':>8}{'ReLUs':>7}   written as")
    large, small = profiles = [archprof.profile(spec, IMAGE) for spec in nets.values()]
    for (name, spec), net in zip(nets.items(), profiles, strict=True):
        relus = sum(layer.kind == "ReLU" for layer in net.layers)
        print(f"{name:<11}{net.totals.params:>9,}{net.totals.macs:>14,}{sees(net):>8}{relus:>7}   {spec}")
    kept = Fraction(small.totals.params, large.totals.params)
    print(f"Parameters: {float(1 / kept):.2f}x fewer; the stack keeps {kept} of them.\n")

example = archprof.compare(*MATCHES["The lecture's example, 64 -> 128 channels"].values(), inputs=IMAGE)
print(f"The lecture says {SAID_SAVING!r}. What archprof says of its example:\n")
print(example.sentences(WIDTH))
print(example.layers.to_text(WIDTH))

print("Built from nothing but 3x3 (and, in C, a few 1x1): the VGG suite\n")
for row in archprof.compare(*SUITE).summary.records():
    print(f"{row['model']:<11}{row['depth']:>3} weight layers{row['params']:>13,} params{row['macs']:>16,} MACs")
