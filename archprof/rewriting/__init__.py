"""What if an architecture were built otherwise: rewrites of a model, and the rewritten model as a Python file."""

from archprof.rewriting.draft import Change, Refusal
from archprof.rewriting.whatif import Rewritten, whatif
from archprof.rewriting.write import write_module

__all__ = ["Change", "Refusal", "Rewritten", "whatif", "write_module"]
