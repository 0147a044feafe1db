"""transformers' models, from configurations alone: names, default inputs, and the phases of decoding.

library   the package itself, imported late, quiet and offline
configs   a name, a class or a local file -> a configuration and its architecture
inputs    an architecture -> what goes into it when the user does not say
decoding  prefill and decode: the cache that a decoder keeps
zoo       all of it -> an offer
"""
