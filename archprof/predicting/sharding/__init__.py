"""A model laid over many devices: what each rank holds, sends and waits for. Pure Python, from a saved profile.

Each way to shard takes the step of one rank and returns it changed: `pipeline` cuts out a stage, `tensors` cuts
within layers, `units` gathers and scatters parameters. What is left is a profile, and `predict_memory` answers of it.
"""
