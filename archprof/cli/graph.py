"""`archprof graph`: the network along its length, drawn or as a table."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli import options, profiles
from archprof.cli.help import Purpose, Question
from archprof.cli.output import TABLE_SUFFIXES, choose_format, error_boundary, write_table, write_text
from archprof.facts.request import PassRequest
from archprof.measuring.profiles import validate_device

GRAPH_SUFFIXES = {**TABLE_SUFFIXES, ".svg": "svg"}


def graph(
    model: options.Model,
    input: options.Input = None,
    arg: options.Arg = None,
    settings: options.Lengths = None,
    phase: options.Phase = None,
    context: options.Context = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    amp: options.Amp = None,
    causal: options.Causal = "full",
    measure: options.Measure = None,
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    device: options.Device = None,
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Open blocks to this depth; as far as they fit if not given.")
    ] = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The network along its length: blocks in order, equal ones folded, with what each costs; -o x.svg draws it."""
    from archprof.analysis.network.network import build_network, validate_depth

    with error_boundary(debug):
        form = choose_format(format, output, GRAPH_SUFFIXES)
        validate_depth(depth)
        validate_device(device)
        how = options.choose_measurement(measure, cuda, channels_last, compile)
        lengths = options.parse_lengths(settings)
        request = PassRequest(batch, dtype, train, causal, lengths, phase, context, amp=amp)
        profile, ended = profiles.profile_one(model, options.add_arguments(input, arg), request, how, device)
        network = build_network(profile, depth=depth)
        if form == "svg":
            write_text(network.to_svg(), output)
        else:
            write_table(network.table(), form, output)
        profiles.end_with(ended)


QUESTIONS = (Question(graph, Purpose.LOOK, "archprof graph resnet50 -o resnet50.svg"),)
