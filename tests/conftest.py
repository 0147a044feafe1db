"""What all tests share: one flag, and no more threads than a fair test needs."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files and README blocks anew")
