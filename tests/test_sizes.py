"""No file and no function of the package is longer than a reader takes in."""

import sizes


def test_no_file_is_too_long() -> None:
    assert {name: lines for name, lines in sizes.measure_files().items() if lines > sizes.LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    assert {name: lines for name, lines in sizes.measure_functions().items() if lines > sizes.LONGEST_FUNCTION} == {}


def test_what_is_measured_is_there() -> None:
    assert sizes.measure_files()["__main__.py"] > 10
    assert any(name.endswith(" main") for name in sizes.measure_functions())
