"""Every parameter tensor of VGG16, from lecture 34 of IIT Kharagpur.

The lecture gives VGG16 a head for 10 classes and prints the shape and the size of each of its tensors. Look at how
early the numbers grow (the channels double), and at `classifier.0`, which alone outweighs all the convolutions.
"""

import math

import archprof

IMAGES, BATCH = 50_000, 64
SAID_STEPS = "about 8,000"

net = archprof.profile("vgg16(num_classes=10)")
own = {layer.path: layer.params for layer in net.layers}
print(f"{'tensor':<22}{'shape':>14}{'elements':>13}{'layer':>14}\n{'─' * 63}")
for tensor in net.parameters:
    path, _, what = tensor.name.rpartition(".")
    size, layer = "x".join(str(length) for length in tensor.spec.shape), f"{own[path]:,}" if what == "bias" else ""
    print(f"{tensor.name:<22}{size:>14}{tensor.spec.numel:>13,}{layer:>14}".rstrip())
print(f"{'─' * 63}\n{'VGG16, 10 classes':<36}{sum(tensor.spec.numel for tensor in net.parameters):>13,}")
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
