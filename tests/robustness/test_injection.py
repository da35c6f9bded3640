"""Texts of strangers stay texts: in C, Make, CMake, HTML, JSON and on the terminal."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from tests.models import tiny
from tests.robustness.hostile import CANARY, FILE_NAMES, HOSTILE, MARK


def chain(path: Path, texts: tuple[str, ...]) -> Path:
    """One layer for each text, which is the name of the node, of its output and its note."""
    tensors = ["in" + texts[-1], *(f"{text}{i}" for i, text in enumerate(texts))]
    nodes = []
    for i, text in enumerate(texts):
        inputs = [tensors[i], "weight" + text] if i % 8 == 0 else [tensors[i]]
        node = helper.make_node("MatMul" if i % 8 == 0 else "Sigmoid", inputs, [tensors[i + 1]], name=text)
        node.doc_string = text
        nodes.append(node)
    weight = np.eye(4, dtype=np.float32) * 0.9
    graph = helper.make_graph(
        nodes,
        "".join(texts[:20]),
        [helper.make_tensor_value_info(tensors[0], TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info(tensors[-1], TensorProto.FLOAT, (1, 4))],
        [numpy_helper.from_array(weight, "weight" + text) for text in texts[::8]],
        doc_string="".join(texts),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.producer_name = model.domain = model.doc_string = "".join(texts)
    helper.set_model_props(model, {text: text for text in texts})
    path.write_bytes(model.SerializeToString())
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def assert_plain(text: str) -> None:
    """Nothing that a terminal obeys."""
    odd = {char for char in text if not char.isprintable() and char != "\n"}
    assert not odd, sorted(map(hex, map(ord, odd)))


class Elements(HTMLParser):
    """What a page is made of: its elements, with their attributes' names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, ...]] = Counter()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[(tag, *(name for name, _ in attrs))] += 1


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("hostile")
    model = chain(folder / "net.onnx", HOSTILE)
    result = invoke("build", model, "-o", folder / "o", "-t", "cortex-m4", "--per-layer")
    assert result.exit_code == 0, result.output
    return folder, result


def test_the_terminal_obeys_nothing(hostile: tuple[Path, Result]) -> None:
    folder, built = hostile
    model = folder / "net.onnx"
    graph, program = invoke("inspect", model), invoke("inspect", model, "--ir")
    for result in (built, graph, program, invoke("verify", folder / "o")):
        assert result.exit_code == 0, result.output
        assert_plain(result.output)


def test_errors_that_quote_the_model_are_plain(tmp_path: Path) -> None:
    nodes = [helper.make_node("Det", ["x"], [f"y{i}"], name=text) for i, text in enumerate(HOSTILE)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 4))],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(len(HOSTILE))],
    )
    onnx.save(helper.make_model(graph), tmp_path / "det.onnx")
    result = invoke("build", tmp_path / "det.onnx", "-t", "host", "-o", tmp_path / "o")
    assert result.exit_code == 2
    assert_plain(result.output)


def test_c_compiles_without_a_warning(hostile: tuple[Path, Result]) -> None:
    folder = hostile[0]
    for source in sorted((folder / "o").glob("*.c")):
        options = [
            "-std=c99",
            "-pedantic",
            "-trigraphs",
            "-Wall",
            "-Wextra",
            "-Wcomment",
            "-Werror",
            "-fsyntax-only",
        ]
        subprocess.run(["gcc", *options, source], check=True, cwd=folder)
        text = source.read_text("ascii")
        assert f"int {MARK}" not in "".join(
            line for line in text.splitlines() if not line.startswith(("/*", " *"))
        )
    assert not list(folder.rglob(f"*{CANARY}*"))


def test_make_and_cmake_run_nothing(hostile: tuple[Path, Result]) -> None:
    folder = hostile[0]
    (folder / "Makefile").write_text("include o/net.mk\nall: ; @echo $(NET_SOURCES) $(NET_CFLAGS)\n")
    done = subprocess.run(["make", "-s"], cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout == "o/net.c o/net_weights.c -std=c99 -Io/\n"
    subprocess.run(["cmake", "-S", "o", "-B", "b"], cwd=folder, check=True, capture_output=True)
    assert not list(folder.rglob(f"*{CANARY}*"))


def test_the_report_has_the_elements_of_an_innocent_one(hostile: tuple[Path, Result], tmp_path: Path) -> None:
    folder = hostile[0]
    model = chain(tmp_path / "net.onnx", tuple(f"layer{i}" for i in range(len(HOSTILE))))
    assert invoke("build", model, "-o", tmp_path / "o", "-t", "cortex-m4", "--per-layer").exit_code == 0
    pages = [(place / "o" / "report.html").read_text("utf-8") for place in (folder, tmp_path)]
    found, innocent = (Elements(page).found for page in pages)
    assert set(found) == set(innocent)
    assert found[("script",)] == 1  # the page's own


def test_json_holds_the_texts_as_they_are(hostile: tuple[Path, Result]) -> None:
    manifest = json.loads((hostile[0] / "o" / "manifest.json").read_text("ascii"))
    assert manifest["network"] == "net"
    assert any(MARK in layer["name"] for layer in manifest["layers"])


def test_names_of_files_and_folders_are_no_commands(tmp_path: Path) -> None:
    """As many texts in one name as file systems allow: the model's, the network's and the folder's."""
    texts = list(FILE_NAMES)
    while texts:
        name = ""
        while texts and len((name + texts[-1]).encode()) < 180:
            name += texts.pop()
        place = tmp_path / str(len(texts))
        place.mkdir()
        model = tiny(place / f"{name}.onnx")
        output = place / f"out{name}"
        result = invoke("build", "-t", "host", "-o", output, "--name", f"n{name}", "--", model)
        assert result.exit_code == 0, result.output
        assert_plain(result.output)
        again = invoke("verify", "--", output)
        assert again.exit_code == 0, again.output
        assert_plain(again.output)
        page = Elements((output / "report.html").read_text("utf-8"))
        assert not [element for element in page.found if element[0] in ("img", MARK)]
        assert page.found[("script",)] == 1
    assert not list(tmp_path.rglob(CANARY))
    assert not Path(CANARY).exists()
