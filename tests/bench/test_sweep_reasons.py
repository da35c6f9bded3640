"""docs/sweep.md: every layer that takes more than 1.3 times our best per MAC has a reason written down."""

from __future__ import annotations

import re

import pytest

from tests.bench import ROOT

from sweep_reasons import COVERS, TEXT, above_best, reasons_for  # isort: skip

PAGE = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")


def table(target: str) -> list[tuple[str, float, str]]:
    section = PAGE.split(f"## {target}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| .* \| `(\w+)` \|$", section, re.MULTILINE)
    return [(layer, float(price), kernel) for layer, price, kernel in rows]


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_layers_far_above_our_best_have_a_reason(target: str) -> None:
    layers = list(above_best(table(target)))
    assert len(layers) > 30
    assert [layer for layer in layers if not reasons_for(layer)] == []


def test_every_reason_has_a_layer_and_a_text() -> None:
    layers = [layer for layer, _, _ in table("cortex-m4")]
    headings = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    for title in COVERS:
        assert title in headings
        assert any(title in reasons_for(layer) for layer in layers), title


def test_a_layer_that_nobody_knows_has_none() -> None:
    assert reasons_for("transposed 3x3, 8x8x32 to 32") == []


def test_the_page_ends_with_the_reasons() -> None:
    assert PAGE.endswith("\n\n" + TEXT)
