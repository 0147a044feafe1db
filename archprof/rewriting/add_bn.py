"""`add_bn`: batch norm after convolutions (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

from archprof.rewriting.draft import Draft, find_norm_after
from archprof.rewriting.layers import BATCH_NORMS
from archprof.rewriting.no_fc import find_head

ADD_BN = "add_bn"
NO_CONVOLUTION_TO_NORMALISE = "no convolution is without a norm"


def add_batch_norms(net: Draft) -> None:
    """Put batch norm after every convolution that no normalisation follows, but the one that gives the scores.

    The convolutions keep their biases, which the norm makes superfluous: what the layer had stays comparable.
    """
    head = find_head(net)
    for path, nodes, layer in list(net.iterate_convolutions()):
        if any(find_norm_after(net, node) for node in nodes):
            continue
        if head is not None and head in nodes:
            net.note_refusal(ADD_BN, path, "it gives the scores of the classes")
            continue
        if net.explain_reuse(path):
            net.note_refusal(ADD_BN, path, net.explain_reuse(path))
            continue
        norm = BATCH_NORMS[len(layer.kernel_size)](layer.out_channels, device="meta", dtype=layer.weight.dtype)
        net.replace_layer(path, [layer, norm.eval()])
        net.note_change(ADD_BN, path, f"batch norm of {layer.out_channels} channels after it")
