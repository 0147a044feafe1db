"""The CIFAR-10 ladder of the lectures "VGGNet - Explained!" and "ResNet - Explained!".

Each rung changes one thing: kernels, batch norm, depth, shortcuts. Look at what it costs beside what it brings. Batch
norm costs hardly any parameters and no MACs, though activation memory; without it the deep net does not learn. Depth
alone then makes things worse; shortcuts, one addition a block, turn it into accuracy.
"""

import archprof

WIDTH = 100
SAID_SMALLER = "half the parameters"
SAID_ACCURACY = {
    "cifar_alexnet": 64.89, "cifar_vgg": 10.00, "cifar_vgg_bn": 80.32, "cifar_vgg_bn_deep": 77.96,
    "cifar_resnet": 81.10, "cifar_resnet_deep": 81.27,
}  # fmt: skip
STEPS = (
    ("stack 3x3", "cifar_alexnet", "cifar_vgg"),
    ("add batch norm", "cifar_vgg", "cifar_vgg_bn"),
    ("go deeper", "cifar_vgg_bn", "cifar_vgg_bn_deep"),
    ("add shortcuts", "cifar_vgg_bn_deep", "cifar_resnet"),
    ("go deeper again", "cifar_resnet", "cifar_resnet_deep"),
)
LADDER = ("cifar_alexnet", "cifar_alexnet_bn", *[after for _, _, after in STEPS])

ladder = archprof.compare(*LADDER)
rungs = {rung["model"]: rung for rung in ladder.summary.records()}
print(ladder.summary.to_text(WIDTH))

print("To the last digit, beside the test accuracy of the lecture's runs\n")
print(f"{'':<20}{'params':>10}{'MACs':>13}{'depth':>7}{'activation bytes':>18}{'accuracy':>12}")
for name, rung in rungs.items():
    numbers = f"{rung['params']:>10,}{rung['macs']:>13,}{rung['depth']:>7}{rung['act_fp32']:>18,}"
    accuracy = f"{SAID_ACCURACY[name]:>11.2f}%" if name in SAID_ACCURACY else ""
    print(f"{name:<20}{numbers}{accuracy}")

print("\nWhat each step costs, and what the lecture's runs gained by it\n")
for step, before, after in STEPS:
    params, macs, memory = (rungs[after][key] / rungs[before][key] for key in ("params", "macs", "act_fp32"))
    deeper, gain = rungs[after]["depth"] - rungs[before]["depth"], SAID_ACCURACY[after] - SAID_ACCURACY[before]
    costs = f"{params:.3f}x params, {macs:.3f}x MACs, {memory:.2f}x activations, {deeper:+d} layers"
    print(f"{step:<16}{costs}: {gain:+.2f} points")
smaller = rungs["cifar_vgg_bn"]["params"] / rungs["cifar_alexnet_bn"]["params"]
print(f"\nStacked 3x3, both with batch norm: {smaller:.3f}x the parameters. The lecture says {SAID_SMALLER!r}.")

print("\nWhat a shortcut is: one addition a block, before its last ReLU, and that is all a block does itself\n")
for name in ("cifar_resnet", "cifar_resnet_deep"):
    net = archprof.profile(name)
    kinds, ops = (net.table(by=by, columns=["calls", "flops"]).records() for by in ("kind", "op"))
    (blocks,) = (row for row in kinds if row["kind"] == "BasicBlock")
    (adds,) = (row for row in ops if row["op"] == "aten.add_")
    print(f"{name:<20}{blocks['calls']:>3} blocks, own work {blocks['flops']:>8,} FLOPs", end=" = ")
    print(f"{adds['calls']:>3} additions, {adds['flops']:>8,} FLOPs")
