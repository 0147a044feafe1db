"""Vanishing gradients before the first step, after the lecture "ResNet - Explained!".

One batch of real digits goes through three nets of its CIFAR-10 ladder as they start. Look at the first layer of the
VGG without batch norm: its gradient is hundreds of times smaller than that of its head and thousands of times smaller
than with batch norm, and the activations fade on the way. The lecture's images were CIFAR-10's, these are digits:
orders of magnitude can be set beside one another, more cannot.
"""

from statistics import median

import archprof

SAID_NORMS = "4.9e-05 in the first layer, 1.3e-02 in the head"
SAID_BY_WEIGHT = "1e-05 to 1e-04 in the first layer, about 1e-02 or more in the last"
SAID_ZEROS = "about half"
SAID_SPREAD = "from 0.55 to 0.013"
NETS = ("cifar_alexnet", "cifar_vgg", "cifar_vgg_bn")
SEEDS = range(5)


def probe(net, seed):
    """The net as it starts from this seed, probed on the lecture's batch size."""
    return archprof.probe(net, data="digits", batch=128, seed=seed)


def ends(net):
    """The gradients of the first and of the last weight that has inputs."""
    parameters = [(net.parameters[one.parameter], one) for one in net.probe.gradients]
    weights = [one for parameter, one in parameters if len(parameter.spec.shape) > 1]
    return weights[0], weights[-1]


nets = {name: probe(name, seed=0) for name in NETS}
print("How large gradients are, |g|, and how large against their weights, |g|/|w|\n")
print(f"{'':<15}{'first |g|':>11}{'head |g|':>11}{'first |g|/|w|':>15}{'head |g|/|w|':>15}")
for name, net in nets.items():
    first, head = ends(net)
    shares = f"{first.norm / first.weight_norm:>15.1e}{head.norm / head.weight_norm:>15.1e}"
    print(f"{name:<15}{first.norm:>11.1e}{head.norm:>11.1e}{shares}")
print(f"\nThe lecture's cifar_vgg: {SAID_NORMS};\nagainst the weights {SAID_BY_WEIGHT}.\n")

print("What stands behind each ReLU of cifar_vgg: share of zeros and standard deviation\n")
rows = [row for row in nets["cifar_vgg"].table(columns=["kind", "zeros", "act_std"]).records() if row["kind"] == "ReLU"]
for row in rows:
    print(f"{row['layer']:<15}{row['zeros']:>8.0%} zeros, std {row['act_std']:.4f}")
print(f"\nThe lecture says {SAID_ZEROS}, and a deviation that shrinks {SAID_SPREAD}.")
print(f"Here it shrinks {rows[0]['act_std'] / rows[-1]['act_std']:.0f}-fold.\n")

ratios = []
for seed in SEEDS:
    plain, repaired = (ends(nets[name] if seed == 0 else probe(name, seed))[0].norm for name in NETS[1:])
    ratios.append(plain / repaired)
print("The gradient of the first layer without batch norm, by that with it, from several seeds")
print(f"{', '.join(f'{ratio:.1e}' for ratio in ratios)}: median {median(ratios):.1e},", end=" ")
print(f"between {min(ratios):.1e} and {max(ratios):.1e}.")
