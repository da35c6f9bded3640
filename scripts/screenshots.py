"""The pictures of the report in docs/: `python -m scripts.screenshots`, with Chromium."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from dfqgen import InputMeaning, build, make_recipe
from tests.models import DIGITS, DIGITS_TEST, ROOT
from tests.report.browser import DARK, screenshot

HEIGHT = 1900
COLOURS = 128


def main() -> None:
    """docs/report-light.png and docs/report-dark.png, of the bundled network."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "digits"
        recipe = make_recipe(target="cortex-m4", meaning=InputMeaning(std=(16.0,), lo=0.0, hi=16.0))
        build(DIGITS, folder, recipe, data=DIGITS_TEST)
        for name, options in (("light", ()), ("dark", (DARK,))):
            picture = ROOT / "docs" / f"report-{name}.png"
            screenshot(folder / "report.html", picture, *options, height=HEIGHT)
            Image.open(picture).convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main()
