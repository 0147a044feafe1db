"""The way up to the renderers, for the methods by which answers print themselves: each imports it when it is called."""

from archprof.render import formats

__all__ = ["formats"]
