"""Every option of every command with what nobody means by it ends in a sentence, with its exit code."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from attack.every_option import BASES, list_attacks, list_options, make_words
from attack.test_words import assert_said, run

ATTACKS = list_attacks()
SAMPLE = Random(1).sample([attack for attack in ATTACKS if attack[0] not in ("calibrate", "train", "epoch")], 40)


def attack(command: str, option: str, value: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    result = run(*make_words(command, option, value))
    if result.exit_code != 3:  # a broken budget is an answer, and stands on stdout
        assert_said(result)


@pytest.mark.parametrize(("command", "option", "value"), SAMPLE)
def test_a_sample(command: str, option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack(command, option, value, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "option", "value"), ATTACKS)
def test_all(command: str, option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack(command, option, value, tmp_path, monkeypatch)


@pytest.mark.parametrize("seconds", ["9223372036854775808", "1e30", "nan", "inf", "-1", "0"])
def test_a_limit_that_no_clock_can_wait_for_is_refused(seconds: str) -> None:
    result = run("sweep", "lenet5", "--limit", seconds)
    assert_said(result)
    assert result.exit_code == 2


def test_every_command_has_words_to_attack() -> None:
    assert {command for command, _ in list_options()} == set(BASES)
