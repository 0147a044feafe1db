"""AlexNet, ZFNet and VGG as lecture 11 of IIT Madras adds them up: rounded figures beside exact ones.

The lecture counts AlexNet and ZFNet without biases and without padding. Look at what rounding hides: the sum for
AlexNet is more than a million short, and ZFNet adds eight times what is said. Its 512 maps at the end also make the
first linear layer twice as large, which the lecture leaves out.
"""

import archprof

SAID_TOTAL, SAID_LINEAR, SAID_TERMS = "27.55 million", "about 24 million", "4 + 16 + 4"
SAID_GAIN, SAID_GAINS, SAID_SIZE = "1.45 million", "0.29 + 0.8 + 0.36", "55x55"
SAID_VGG = "16 million and 122 million"
SAID_TOP5 = {
    "before deep nets, 2010": 28.2, "before deep nets, 2011": 25.8, "alexnet_2012": 16.4, "zfnet": 11.7, "vgg19": 7.3,
    "torchvision:googlenet(aux_logits=False)": 6.7, "resnet152": 3.57,
}  # fmt: skip


def of(net: archprof.Profile, kind: str) -> int:
    """Parameters in the layers of one kind."""
    return sum(layer.params for layer in net.layers if layer.kind == kind)


alexnet, zfnet, vgg = (archprof.profile(name) for name in ("alexnet_nopad", "zfnet_nopad", "vgg16"))
print(f"{'layer':<14}{'kind':<11}{'AlexNet':>10}{'params':>12}{'ZFNet':>13}{'params':>12}{'ZFNet has more':>18}")
for a, z in zip(alexnet.layers, zfnet.layers, strict=True):
    if a.kind in ("Conv2d", "MaxPool2d", "Flatten", "Linear"):
        left, right = ("x".join(str(side) for side in layer.outputs[0].shape[1:]) for layer in (a, z))
        numbers = f"{left:>10}{a.params:>12,}{right:>13}{z.params:>12,}{z.params - a.params:>18,}"
        print(f"{a.path:<14}{a.kind:<11}{numbers}")
total, more = alexnet.totals.params, zfnet.totals.params - alexnet.totals.params
print(f"{'total':<35}{total:>12,}{zfnet.totals.params:>25,}{more:>18,}\n")
linear = of(alexnet, "Linear")
print(f"AlexNet, said: {SAID_TOTAL}, rounded term by term. It has {total:,},")
print(f"  and {archprof.profile('alexnet_nopad(bias=True)').totals.params:,} with biases.")
print(f"Its linear layers, said: {SAID_LINEAR}, from {SAID_TERMS}. They have {linear:,}, {linear / total:.0%} of all.")
print(f"ZFNet has more by, said: {SAID_GAIN} = {SAID_GAINS}. It has {more:,} more:")
gains = [z.params - a.params for a, z in zip(alexnet.layers, zfnet.layers, strict=True) if z.params != a.params]
print(f"  {' + '.join(f'{gain / 1e6:.2f}' for gain in gains)} million. The last is the first linear layer.")
side = next(layer for layer in zfnet.layers if layer.kind == "Conv2d").outputs[0].shape[-1]
print(f"After its 7x7, said: still {SAID_SIZE}. Stride 4 without padding gives {side}x{side}; pooling evens it out.")
for name, net in {"AlexNet": alexnet, "ZFNet": zfnet}.items():
    print(f"{name} has {sum(layer.params > 0 for layer in net.layers)} layers with parameters; pooling has none.")

first = max(layer.params for layer in vgg.layers)
print(f"\nVGG16 outside and inside its linear layers, said: {SAID_VGG}.")
print(f"  The first is rounded up, the second down. It has {of(vgg, 'Conv2d'):,} and {of(vgg, 'Linear'):,}.")
print(f"  Its first linear layer alone has {first:,}: {first / vgg.totals.params:.1%} of the net.\n")

print("The winners: the top-5 error that the lecture quotes, and what each net costs\n")
entries = [name for name in SAID_TOP5 if "before" not in name]
costs = {cost["model"]: cost for cost in archprof.compare(*entries).summary.records()}
for name, error in SAID_TOP5.items():
    print(f"{name:<40}{error:>5}%", end="")
    if name in costs:
        depth, params, macs = (costs[name][key] for key in ("depth", "params", "macs"))
        print(f"{depth:>5} layers{params:>12,} params{macs / 1e9:>6.2f} GMACs", end="")
    print()
