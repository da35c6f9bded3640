"""Targets are files: all of them load, and a wrong name or file is told clearly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dfqgen import resources
from dfqgen.errors import UserError
from dfqgen.targets import Isa, list_aliases, list_parts, list_targets, load_target, search_targets
from scripts.parts_docs import PAGE, page


def test_all_targets_load() -> None:
    names = [target.name for target in list_targets()]
    assert names == [
        "cortex-m0plus", "cortex-m3", "cortex-m33", "cortex-m4", "cortex-m55", "cortex-m7", "host",
        "riscv32imac", "riscv32imc",
    ]  # fmt: skip


def test_cortex_m_is_an_alias() -> None:
    assert list_aliases()["cortex-m"] == "cortex-m4"
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


def test_every_part_loads_with_its_core_and_says_where_its_numbers_are_from() -> None:
    parts = list_parts()
    assert len(parts) >= 50
    for target in parts:
        part = target.part
        assert part is not None
        core = load_target(part.core_target)
        assert core.part is None
        assert (target.core, target.isas, target.costs) == (core.core, core.isas, core.costs)
        assert part.source
        assert target.ram_bytes == part.regions[0].bytes
        assert (target.flash_bytes is None) == (part.flash != "internal" and "no flash" in target.description)


def test_a_board_is_its_part() -> None:
    assert load_target("nucleo-l4r5zi") is load_target("stm32l4r5")
    assert list_aliases()["pico"] == "rp2040"


def test_no_two_parts_claim_one_name() -> None:
    boards = [board for target in list_parts() if target.part for board in target.part.boards]
    names = [target.name for target in [*list_targets(), *list_parts()]]
    assert len({*boards, *names}) == len(boards) + len(names)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("stm32l4r5zit6", "stm32l4r5"), ("nrf5284", "nrf52840"), ("cortexm4", "cortex-m4")]
)
def test_a_close_miss_is_suggested(wrong: str, meant: str) -> None:
    with pytest.raises(UserError, match=meant):
        load_target(wrong)


def test_a_search_finds_all_words_anywhere() -> None:
    assert [target.name for target in search_targets("ESP32 c3")] == ["riscv32imc", "esp32-c3"]
    assert "nrf52840" in [target.name for target in search_targets("arduino")]
    assert search_targets("z80") == []


def test_the_page_of_parts_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m scripts.parts_docs"
