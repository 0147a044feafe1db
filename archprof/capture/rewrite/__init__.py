"""What if an architecture were built otherwise: rewrites of a model, and the rewritten model as a Python file."""

from archprof.capture.rewrite.graph import Change, Refusal
from archprof.capture.rewrite.whatif import Rewritten, whatif
from archprof.capture.rewrite.write import write_module

__all__ = ["Change", "Refusal", "Rewritten", "whatif", "write_module"]
