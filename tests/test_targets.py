"""Targets are files: all of them load, and a wrong name or file is told clearly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dfqgen import resources
from dfqgen.errors import UserError
from dfqgen.targets import Isa, list_aliases, list_targets, load_target


def test_all_targets_load() -> None:
    names = [target.name for target in list_targets()]
    assert names == [
        "cortex-m0plus", "cortex-m3", "cortex-m33", "cortex-m4", "cortex-m55", "cortex-m7", "host",
        "riscv32imac", "riscv32imc",
    ]  # fmt: skip


def test_cortex_m_is_an_alias() -> None:
    assert list_aliases() == {"cortex-m": "cortex-m4"}
    assert load_target("cortex-m") is load_target("cortex-m4")


def test_the_instruction_sets_are_those_of_the_cores() -> None:
    assert load_target("cortex-m3").isas == (Isa.PORTABLE,)
    assert load_target("cortex-m4").isas == (Isa.PORTABLE, Isa.DSP)
    assert load_target("cortex-m55").isas == (Isa.PORTABLE, Isa.DSP, Isa.MVE)


def test_a_core_without_long_multiply_uses_power_of_two_scales() -> None:
    for target in list_targets():
        assert (target.scales == "power-of-two") == (not target.has_long_multiply)


def test_every_emulated_target_has_its_linker_script() -> None:
    for target in list_targets():
        assert (target.emulator is None) == target.is_host
        if target.emulator is not None:
            assert (resources.runtime_dir() / "firmware" / target.emulator.linker_script).is_file()


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="cortex-m55"):
        load_target("cortex-m99")


def test_a_target_cannot_be_a_path() -> None:
    with pytest.raises(UserError):
        load_target("../pyproject")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("clock_hz", "clock"), "clock_hz"),
        (('"portable", ', ""), "portable"),
        (('scales = "multiplier"', 'scales = "decimal"'), "decimal"),
        (('"dsp"', '"avx"'), "avx"),
        (("=", ""), "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], message: str
) -> None:
    good = (resources.targets_dir() / "cortex-m4.toml").read_text()
    (tmp_path / "mine.toml").write_text(good.replace(*change, 1))
    monkeypatch.setattr(resources, "targets_dir", lambda: tmp_path)
    with pytest.raises(UserError, match=r"mine\.toml") as error:
        load_target("mine")
    assert message in str(error.value)


def test_a_new_target_is_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(resources.targets_dir() / "cortex-m4.toml", tmp_path / "my-board.toml")
    monkeypatch.setattr(resources, "targets_dir", lambda: tmp_path)
    assert load_target("my-board").core == "cortex-m4"
