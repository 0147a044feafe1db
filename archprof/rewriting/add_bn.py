"""`add_bn`: batch norm after convolutions (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

from archprof.rewriting.draft import Draft, norm_after
from archprof.rewriting.layers import BATCH_NORMS
from archprof.rewriting.no_fc import find_head

NAME = "add_bn"
NOTHING = "no convolution is without a norm"


def add_bn(net: Draft) -> None:
    """Put batch norm after every convolution that no normalisation follows, but the one that gives the scores.

    The convolutions keep their biases, which the norm makes superfluous: what the layer had stays comparable.
    """
    head = find_head(net)
    for path, nodes, layer in list(net.convolutions()):
        if any(norm_after(net, node) for node in nodes):
            continue
        if head is not None and head in nodes:
            net.refuse(NAME, path, "it gives the scores of the classes")
            continue
        if net.often(path):
            net.refuse(NAME, path, net.often(path))
            continue
        norm = BATCH_NORMS[len(layer.kernel_size)](layer.out_channels, device="meta", dtype=layer.weight.dtype)
        net.replace(path, [layer, norm.eval()])
        net.change(NAME, path, f"batch norm of {layer.out_channels} channels after it")
