"""What a shell or a notebook shows of the package: its functions, and totals in words."""

from __future__ import annotations

import archprof


def test_only_what_there_is_to_use_is_offered() -> None:
    assert set(dir(archprof)) == {*archprof.__all__, "__version__"}


def test_totals_read_as_words() -> None:
    totals = archprof.profile("lenet5").totals
    assert repr(totals).startswith(f"<Totals: {totals.params:,} params, {totals.macs:,} MACs")


def test_an_unknown_name_lists_some_from_each_part_of_the_list() -> None:
    known = [f"{letter}{i:02}" for letter in "abcdefgh" for i in range(20)]
    said = str(archprof.UnknownName("thing", "????", known))
    listed = said.split("Known: ")[1].split(" and ")[0].split(", ")
    assert {name[0] for name in listed} == set("abcdefgh")
    assert len(listed) <= 24
    assert f"and {160 - len(listed)} more" in said
    assert "more" not in str(archprof.UnknownName("thing", "????", ["a", "b"]))
