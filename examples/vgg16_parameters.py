"""Every parameter tensor of VGG16, from lecture 34 of IIT Kharagpur.

The lecture gives VGG16 a head for 10 classes and prints the shape and the size of each of its tensors. Look at how
early the numbers grow (the channels double), and at `classifier.0`, which alone outweighs all the convolutions.
"""

import math
from collections.abc import Iterator

import archprof

IMAGES, BATCH = 50_000, 64
SAID_STEPS = "about 8,000"


def parameters(profile: archprof.Profile) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The path of its layer and the shape of each parameter, when an op reads it for the first time."""
    seen = set()
    for op in profile.ops:
        read = (profile.tensors[index] for index in op.inputs)
        weights = [tensor for tensor in read if profile.storages[tensor.storage].role == "parameter"]
        for tensor in sorted(weights, key=lambda tensor: -len(tensor.spec.shape)):  # the weight, then the bias
            if tensor.storage not in seen:
                seen.add(tensor.storage)
                yield profile.layers[op.layer].path, tensor.spec.shape


net = archprof.profile("vgg16(num_classes=10)")
own = {layer.path: layer.params for layer in net.layers}
print(f"{'tensor':<22}{'shape':>14}{'elements':>13}{'layer':>14}\n{'─' * 63}")
for path, shape in parameters(net):
    bias = len(shape) == 1
    name, size = f"{path}.{'bias' if bias else 'weight'}", "x".join(str(length) for length in shape)
    print(f"{name:<22}{size:>14}{math.prod(shape):>13,}{f'{own[path]:,}' if bias else '':>14}".rstrip())
print(f"{'─' * 63}\n{'VGG16, 10 classes':<36}{sum(math.prod(shape) for _, shape in parameters(net)):>13,}")
print(f"{'what archprof counts':<36}{net.totals.params:>13,}")

imagenet = archprof.profile("vgg16")
print("\nWhat the new head changes\n")
for before, after in zip(imagenet.layers, net.layers, strict=True):
    if before.params != after.params:
        print(f"{after.path:<22}{before.params:>13,} -> {after.params:>12,}")
print(f"{'the whole net':<22}{imagenet.totals.params:>13,} -> {net.totals.params:>12,}")

(flat,) = (layer for layer in net.layers if layer.kind == "Flatten")
maps, features = flat.inputs[0].shape[1:], flat.outputs[0].numel
print(f"\nThe classifier reads {'x'.join(str(length) for length in maps)} maps as {features:,} numbers in a row.")

steps = math.ceil(IMAGES / BATCH)
print(f"An epoch of {IMAGES:,} images in batches of {BATCH} is {steps:,} updates. The lecture says {SAID_STEPS!r}.")
