"""One browser for all tests of pages: a fixture that modules import is started by each of them."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]
if find_spec("playwright"):
    from opened_pages import browser, made, opened  # noqa: F401
