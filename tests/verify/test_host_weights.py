"""Large tables of constants reach this machine's C as bytes, and say what their text says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfqgen.errors import VerificationFailed
from dfqgen.verify import host_weights
from dfqgen.verify.host import verify_on_host
from dfqgen.verify.host_weights import binary_weights
from tests import programs
from tests.tools import needs

pytestmark = needs("gcc")
HEAD = '#include "net_weights.h"\n\n'


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_weights, "LARGE_BYTES", 0)


def test_a_network_with_its_weights_as_bytes_is_the_same(tmp_path: Path) -> None:
    program = programs.tiny()
    programs.write(program, tmp_path / "net")
    assert binary_weights(tmp_path / "net" / "tiny_weights.c", tmp_path) == tmp_path / "weights.c"
    verify_on_host(program, tmp_path / "net")


def test_a_wrong_number_in_the_text_is_found(tmp_path: Path) -> None:
    program = programs.tiny()
    programs.write(program, tmp_path / "net")
    source = tmp_path / "net" / "tiny_weights.c"
    text = source.read_text()
    start = text.index("weight[") + text[text.index("weight[") :].index("{\n") + 2
    first = text[start : text.index(",", start)]
    source.write_text(text[:start] + f"    {int(first) ^ 64}" + text[start + len(first) :])
    assert binary_weights(source, tmp_path) != source
    with pytest.raises(VerificationFailed):
        verify_on_host(program, tmp_path / "net")


def table(numbers: str, ctype: str = "int8_t", count: int = 3) -> str:
    head = f"DFQ_ALIGNED(4) NET_CONST const DFQ_FLASH {ctype} net_weight[{count}]"
    return f"{HEAD}{head} = {{\n    {numbers}\n}};\n"


def test_numbers_become_their_bytes(tmp_path: Path) -> None:
    source = tmp_path / "net_weights.c"
    source.write_text(table("-128,\n    0, 127") + table("70000, -1", "int32_t", 2).removeprefix(HEAD))
    assert binary_weights(source, tmp_path) == tmp_path / "weights.c"
    assert (tmp_path / "0.bin").read_bytes() == np.array([-128, 0, 127], np.int8).tobytes()
    assert (tmp_path / "1.bin").read_bytes() == np.array([70000, -1], np.int32).tobytes()


@pytest.mark.parametrize(
    "text",
    [
        table("1, 2, 128"),
        table("1, 2"),
        table("1, 2, x"),
        table("1, 2, 0x3"),
        table("1, 2, 3", "float"),
        HEAD,
        table("1, 2, 3") + "static const DFQ_ALIGNED(4) int8_t other[1] = {\n    1\n};\n",
    ],
    ids=["range", "count", "word", "hexadecimal", "type", "nothing", "another form"],
)
def test_any_other_text_is_left_to_the_compiler(text: str, tmp_path: Path) -> None:
    source = tmp_path / "net_weights.c"
    source.write_text(text)
    assert binary_weights(source, tmp_path) == source


def test_short_text_is_left_to_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_weights, "LARGE_BYTES", 1000)
    source = tmp_path / "net_weights.c"
    source.write_text(table("1, 2, 3"))
    assert binary_weights(source, tmp_path) == source
