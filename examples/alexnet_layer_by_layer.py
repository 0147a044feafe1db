"""AlexNet layer by layer, the slide of the "Dive into Deep Learning" study group, session 7.

Look at the two ends of the table: the convolutions do the work, the linear layers hold the parameters. Then at the
question the group left open, 224 or 227: it is asked backwards, from the 55x55 maps to the inputs that give them.
"""

import archprof

WIDTH = 100
SAID = {"features.0": "784 / 23 k / 73 M", "features.3": "547 / 307 k / 224 M", "classifier.1": "16 / 37,753 k / 38 M"}
SAID_OF_ALEXNET = "62 million parameters and about one billion computations"
SLIDE = {"Conv2d": "conv", "MaxPool2d": "pool", "Linear": "fc"}

alexnet = archprof.profile("alexnet", "3x227x227")
print("The slide: memory of the output in float32, parameters, operations (1 MAC = 1 operation)\n")
print(f"{'layer':<18}{'output':>10}{'elements':>9}{'bytes':>9}{'KiB':>5}{'params':>12}{'MACs':>13}  the slide says")
for row in alexnet.table(columns=["kind", "output", "activation", "act_fp32", "params", "macs"]).records():
    if row["kind"] in SLIDE:
        shape, memory = "x".join(str(size) for size in row["output"][0][1:]), row["act_fp32"]
        name = f"{SLIDE[row['kind']]:<5}{row['layer']:<13}{shape:>10}"
        numbers = f"{row['activation']:>9,}{memory:>9,}{memory / 1024:>5.0f}{row['params']:>12,}{row['macs']:>13,}"
        print(f"{name}{numbers}  {SAID.get(row['layer'], '')}".rstrip())

print("\nWhere the parameters are, and where the work is\n")
print(alexnet.table(by="kind", columns=["params", "share_params", "macs", "share_macs", "act_fp32"]).to_text(WIDTH))

print(f"Which AlexNet? Said of it: {SAID_OF_ALEXNET}.\n")
for name in ("alexnet", "alexnet_ungrouped", "alexnet_2012", "alexnet_d2l"):
    net = archprof.profile(name)
    print(f"{name:<18}{net.inputs[0]:>10}{net.totals.params:>12,} params{net.totals.macs / 1e9:>6.2f} GMACs")


def side(size: int) -> int:
    """Of the square maps that the first convolution of the 2012 net, 11x11 with stride 4, makes of a square image."""
    first = archprof.profile("conv11-96/s4/p0", f"3x{size}x{size}")
    return first.layers[0].outputs[0].shape[-1]


print("\n224 or 227? The 2012 paper draws maps of 55x55 behind its first convolution, which has no padding.")
print(", ".join(f"{size} gives {side(size)}x{side(size)}" for size in (224, 227)))
print("55x55 comes out of images of side", *[size for size in range(200, 256) if side(size) == 55])
print("The same question to the command line: archprof inputs alexnet_2012 --where features.0=55x55")

print("\nVGG-11, and the book's small one for Fashion-MNIST\n")
for name in ("vgg11", "vgg11_d2l_small"):
    net = archprof.profile(name)
    layers = [sum(layer.kind == kind for layer in net.layers) for kind in ("Conv2d", "Linear")]
    blocks = [layer.outputs[0].shape[1] for layer in net.layers if layer.kind == "MaxPool2d"]
    print(f"{name:<16}{sum(layers)} weight layers = {layers[0]} convolutions + {layers[1]} linear")
    print(f"{'':<16}channels of the blocks:", *blocks)
    print(f"{'':<16}{net.totals.params:,} params, {net.totals.macs:,} MACs on {net.inputs[0]}")
