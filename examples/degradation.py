"""Degradation: the ladder of the lecture "ResNet - Explained!", trained on what fits into minutes.

    python examples/degradation.py                        # digits, five epochs: minutes on two cores
    python examples/degradation.py --cifar10 PATH --cuda  # the lecture's own images, ten epochs: for a GPU

Look at the order and not at the heights: digits are easy, and nets that the lecture sees fifteen points apart come out
close together. A net of large kernels may do best on them. What depth does without shortcuts shows while they learn.
"""

import argparse
import tempfile
from statistics import mean

import archprof

SAID_ACCURACY = {
    "cifar_alexnet": 64.89, "cifar_vgg": 10.00, "cifar_vgg_bn": 80.32, "cifar_vgg_bn_deep": 77.96,
    "cifar_resnet": 81.10, "cifar_resnet_deep": 81.27,
}  # fmt: skip

asked = argparse.ArgumentParser()
asked.add_argument("--cifar10", metavar="PATH")
asked.add_argument("--cuda", action="store_true")
asked.add_argument("--epochs", type=int)
asked.add_argument("--seeds", type=int, default=1)
asked.add_argument("--nets", default=",".join(SAID_ACCURACY))
words = asked.parse_args()

nets, device = words.nets.split(","), "cuda" if words.cuda else "cpu"
if words.cifar10:
    recipe = {"data": f"cifar10:{words.cifar10}", "epochs": words.epochs or 10, "inputs": None, "batch": None}
else:
    recipe = {"data": "digits", "epochs": words.epochs or 5, "inputs": "3x24x24", "batch": 32}

runs = []
for seed in range(words.seeds):
    with tempfile.TemporaryDirectory() as folder:
        runs.append(archprof.train(nets, folder, seed=seed, device=device, **recipe))

right = {net: [100 * run.models[at].epochs[-1].held_out_accuracy for run in runs] for at, net in enumerate(nets)}
print(
    f"{recipe['data']}, {recipe['epochs']} epochs, {words.seeds} seed(s): accuracy on what was not learned, and after"
)
print("each epoch of the first seed; beside it the lecture's, on CIFAR-10 after ten epochs\n")
for at, net in enumerate(nets):
    curve = " ".join(f"{100 * epoch.held_out_accuracy:.0f}" for epoch in runs[0].models[at].epochs)
    said = f"{SAID_ACCURACY[net]:>8.2f}%" if net in SAID_ACCURACY else ""
    print(f"{net:<19}{mean(right[net]):>7.2f}% ({min(right[net]):.1f} to {max(right[net]):.1f}){said}   {curve}")

print("\nStep by step, worst and best seed against one another")
for worse, better in (
    ("cifar_vgg", "cifar_vgg_bn"), ("cifar_vgg_bn_deep", "cifar_vgg_bn"), ("cifar_vgg_bn_deep", "cifar_resnet"),
    ("cifar_resnet", "cifar_resnet_deep"), ("cifar_alexnet", "cifar_vgg_bn"),
):  # fmt: skip
    if worse in right and better in right:
        apart = min(right[better]) > max(right[worse]), max(right[better]) < min(right[worse])
        verdict = {(True, False): "as in the lecture", (False, True): "the other way round here"}.get(
            apart, "not told apart"
        )
        print(f"{better} over {worse}: {mean(right[better]) - mean(right[worse]):+.2f} points, {verdict}")
