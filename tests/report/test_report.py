"""The report page: everything escaped, nothing fetched, the memory map drawn."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dfqgen
from dfqgen import InputMeaning, build, make_recipe
from dfqgen.errors import UserError
from dfqgen.plan import plan_program
from dfqgen.report.memory_map import memory_map, step_edges
from dfqgen.report.words import count_text, size_text
from dfqgen.targets import load_target
from tests.models import DIGITS, DIGITS_TEST, tiny


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not nest."""

    VOID = ("meta", "br", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, object]]:
    folder = tmp_path_factory.mktemp("report") / "o"
    recipe = make_recipe(target="cortex-m4", meaning=InputMeaning(std=(16.0,), lo=0.0, hi=16.0))
    result = build(DIGITS, folder, recipe, data=DIGITS_TEST, per_layer=True)
    return Page((folder / "report.html").read_text(encoding="utf-8")), result.facts


def test_the_page_is_sound_and_fetches_nothing(digits: tuple[Page, dict[str, object]]) -> None:
    page, _ = digits
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("script") == 1
    assert not [value for name, value in page.attributes if name in ("src", "href")]


def test_the_page_tells_sizes_bits_accuracy_and_steps(digits: tuple[Page, dict[str, object]]) -> None:
    page, _ = digits
    for text in (
        "equal, every bit",
        "98.67 %",
        "3x3 depthwise convolution",
        "fold batch normalization",
        "Flash",
    ):
        assert text in page.text
    assert page.tags.count("svg") == 2 + 9 + 8  # two charts; activations of 9 layers, weights of 8


def test_names_from_the_model_are_text(tmp_path: Path) -> None:
    evil = "</td><script>alert('x')</script>"
    model = tiny(
        tmp_path / "tiny.onnx", names=(evil, evil + "2"), tensors=(evil + "3", evil + "4", evil + "5")
    )
    build(model, tmp_path / "o")
    page = Page((tmp_path / "o" / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 1
    assert evil in page.text


def test_the_memory_map_places_buffers_by_time_and_address() -> None:
    buffers = [
        {"buffer": "a <b>", "offset": 0, "bytes": 50, "first": -1, "last": 0},
        {"buffer": "c", "offset": 50, "bytes": 50, "first": 0, "last": 1},
    ]
    layers = [{"layer": "l", "title": "sum", "seconds": 1e-3, "live_bytes": 100}]
    picture = memory_map(layers, buffers, 100)
    assert "a &lt;b&gt;: 50 bytes at 0, steps 0 to 0" in picture
    assert "most bytes alive: 100 bytes at step 0, l" in picture


def test_a_step_is_as_wide_as_its_time_or_as_all_others_where_one_is_unknown() -> None:
    edges = step_edges([1.0, 3.0])
    assert (edges[2] - edges[1]) == pytest.approx(3 * (edges[1] - edges[0]))
    edges = step_edges([1.0, None])
    assert (edges[2] - edges[1]) == pytest.approx(edges[1] - edges[0])


def test_the_layers_that_add_most_noise_are_marked_and_the_remedy_helps(
    digits: tuple[Page, dict[str, Any]], tmp_path: Path
) -> None:
    page, facts = digits
    marked = [layer for layer in facts["layers"] if layer["remedy"]]
    assert len(marked) == 3
    assert sum(layer["noise_share"] for layer in facts["layers"]) == pytest.approx(1, abs=0.01)
    (worst,) = (layer for layer in marked if layer["noise_share"] == max(m["noise_share"] for m in marked))
    option, choice = worst["remedy"].split(" ", 1)
    assert worst["remedy"] in page.text
    assert option == "--activations-map"
    recipe = make_recipe(
        target="cortex-m4",
        meaning=InputMeaning(std=(16.0,), lo=0.0, hi=16.0),
        activations_map=dict([choice.split("=")]),
    )
    better = build(DIGITS, tmp_path / "o", recipe, data=DIGITS_TEST).facts
    assert better["comparison"]["outputs"][0]["sqnr_db"] > facts["comparison"]["outputs"][0]["sqnr_db"] + 0.5


def test_layers_have_times_and_how_numbers_lie_in_their_ranges(digits: tuple[Page, dict[str, Any]]) -> None:
    _, facts = digits
    assert sum(layer["seconds"] for layer in facts["layers"]) == pytest.approx(facts["time"]["seconds"])
    for layer in facts["layers"]:
        values = np.prod(layer["output"]["shape"]) * 4
        spread = layer["activations"]
        assert sum(spread["histogram"]) == round(values * (1 - spread["clipped"]))
        assert (layer["weights"] is None) == (layer["operator"] != "Conv2D")
    first = facts["layers"][0]["weights"]
    assert first["bits"] == 8
    assert sum(first["histogram"]) == 3 * 3 * 16
    assert first["range"][0] < 0 < first["range"][1] <= first["channels"][1]


def test_a_build_is_shown_among_those_that_a_search_measured(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny.onnx")
    found = dfqgen.explore([model], tmp_path / "x", dfqgen.Search(("cortex-m4",), points=2, processes=1))
    recipe = make_recipe(target="cortex-m4")
    facts = build(model, tmp_path / "o", recipe, explored=tmp_path / "x").facts
    assert len(facts["explored"]["points"]) == len(found["points"]) > 0
    text = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "Among other builds" in Page(text).text
    assert text.count("Quality over") == 2
    assert text.count('class="worst"') >= 2  # this build
    assert facts["explored"]["points"][0]["quality"] == found["points"][0]["sqnr_db"]

    results = tmp_path / "x" / "explore.json"
    evil = json.loads(results.read_text())
    evil["points"][0] |= {"choice": "<script>alert(1)</script>", "agreement": 0.5}
    evil["measure"] = "agreement"
    results.write_text(json.dumps(evil))
    shown = build(model, tmp_path / "o", recipe, explored=tmp_path / "x", force=True).facts["explored"]
    assert (shown["label"], shown["points"][0]["quality"]) == ("agreement with float, %", 50.0)
    assert Page((tmp_path / "o" / "report.html").read_text(encoding="utf-8")).tags.count("script") == 1
    for wrong, message in (
        ({**evil, "points": [{**evil["points"][0], "flash_bytes": "x"}]}, "no result of dfqgen explore"),
        ({**evil, "points": []}, "has no point of 'tiny' on cortex-m4"),
        ([], "no result of dfqgen explore"),
    ):
        results.write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=message):
            build(model, tmp_path / "p", recipe, explored=tmp_path / "x")


def test_numbers_for_people() -> None:
    assert [size_text(n) for n in (None, 0, 9_999, 65_536, 3 << 20)] == [
        "-",
        "0 B",
        "9,999 B",
        "64.0 KB",
        "3.00 MB",
    ]
    assert [count_text(n) for n in (12, 1_500, 2_300_000)] == ["12", "1.50 k", "2.30 M"]


def test_layers_row_by_row_are_shown_beside_whole_ones(tmp_path: Path) -> None:
    result = build(DIGITS, tmp_path / "o", make_recipe(target="cortex-m4", input_rows=True))
    whole: Any = result.facts["whole_layers"]
    assert (
        whole["arena_bytes"]
        == plan_program(result.program, load_target("cortex-m4"), stream="off").arena_bytes
    )
    text = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert text.count("Memory map of the arena") == 2
    assert f"would take {whole['arena_bytes']:,} bytes" in text
    assert Page(text)
