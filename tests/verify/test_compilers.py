"""Whatever C compiler a machine has checks the C: here the one that PyPI's ziglang brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfqgen import InputMeaning, build, make_recipe
from dfqgen.verify import toolchain
from tests.models import DIGITS


def test_zig_from_pypi_checks_every_bit_where_there_is_no_other_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    assert toolchain.host_compiler()[1:] == ("-m", "ziglang", "cc")
    recipe = make_recipe(target="host", meaning=InputMeaning(std=(16.0,), lo=0.0, hi=16.0))
    facts = build(DIGITS, tmp_path / "o", recipe).facts
    assert facts["verification"]["bit_exact"]
    assert "clang" in facts["verification"]["compiler"]


@pytest.mark.parametrize(
    ("system", "name", "position_independent"), [("linux", "x.so", True), ("win32", "x.dll", False)]
)
def test_a_library_is_named_and_compiled_as_the_system_has_it(
    system: str, name: str, position_independent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(toolchain, "compile_c", lambda sources, output, flags: seen.extend(flags))
    assert toolchain.compile_shared([], tmp_path, "x", ["-O2"]) == tmp_path / name
    assert ("-fPIC" in seen) == position_independent
    assert "-shared" in seen
