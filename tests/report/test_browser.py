"""The report in Chromium: light and dark, printed, sorted, and never on the network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfqgen import InputMeaning, build, make_recipe
from tests.models import DIGITS
from tests.report.browser import DARK, chromium, screenshot


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "o"
    build(DIGITS, folder, make_recipe(target="cortex-m4", meaning=InputMeaning(std=(16.0,), lo=0.0, hi=16.0)))
    return folder / "report.html"


def brightness(picture: Path) -> float:
    return float(np.asarray(Image.open(picture).convert("L")).mean())


def test_it_is_light_or_dark_as_the_reader_likes(report: Path, tmp_path: Path) -> None:
    light, dark = tmp_path / "light.png", tmp_path / "dark.png"
    screenshot(report, light)
    screenshot(report, dark, DARK)
    assert brightness(light) > 220
    assert brightness(dark) < 60
    for picture in (light, dark):  # charts, boxes and text are there in many colours
        assert len(Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE).getcolors() or ()) > 100


def test_it_prints_on_pages(report: Path, tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    chromium(report, f"--print-to-pdf={paper}", "--no-pdf-header-footer", DARK)
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 2 <= pages <= 6


def test_a_click_on_a_head_sorts_the_layers(report: Path, tmp_path: Path) -> None:
    text = report.read_text(encoding="utf-8")
    policy = re.search(r"<meta http-equiv=[^>]*>", text)
    assert policy is not None
    click = (
        "for (const h of document.querySelectorAll('th[aria-sort]')) if (h.textContent === 'time') h.click();"
    )
    probe = tmp_path / "probe.html"
    # The policy lets no script run but the page's own; here another one has to.
    probe.write_text(text.replace(policy[0], "") + f"<script>{click}</script>", encoding="utf-8")
    body = chromium(probe, "--dump-dom").split("<h2>Layers</h2>")[1].split("<h2>Ranges</h2>")[0]
    times = [float(found) for found in re.findall(r'data-by="(\d\.\d+(?:e-\d+)?)">[\d.]+ [um]?s', body)]
    assert len(times) == 9
    assert times == sorted(times, reverse=True)


def test_nothing_in_it_may_load_or_run_but_its_own_script(report: Path, tmp_path: Path) -> None:
    """Even where a name escaped escaping: the browser refuses what the policy does not allow."""
    probe = tmp_path / "probe.html"
    evil = "<script>document.title = 'run'</script><img src='http://127.0.0.1:9/x.png'>"
    probe.write_text(report.read_text(encoding="utf-8").replace("</h1>", f"</h1>{evil}"), encoding="utf-8")
    with pytest.raises(AssertionError, match="Content Security Policy"):
        chromium(probe, "--dump-dom")
    page = chromium(report, "--dump-dom")
    assert "<title>digits on cortex-m4" in page
