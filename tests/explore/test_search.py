"""A search on this machine and on a real Dask cluster, one of whose workers is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfqgen import InputMeaning
from dfqgen.commands import explore
from dfqgen.compile import compile_model
from dfqgen.errors import UserError
from dfqgen.explore import Search, workers
from dfqgen.explore.beginning import Beginnings
from dfqgen.fixedpoint.serialize import program_to_json
from dfqgen.progress import Part
from dfqgen.recipe.choices import Choices, make_recipe
from tests.models import DIGITS, DIGITS_INPUT, DIGITS_TEST, tiny
from tests.test_cli import command
from tests.tools import needs

BASE = Choices(meaning=InputMeaning((0.0,), (1.0,), -1.0, 1.0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("explore") / "a<b>.onnx")


@needs("arm-none-eabi-gcc")
def test_a_search_is_resumed_where_it_was_and_gives_the_same(tmp_path: Path, model: Path) -> None:
    search = Search(("stm32f411", "host"), points=4, processes=2)
    said: list[str] = []
    first = explore([model], tmp_path / "x", search, BASE)
    kept = (tmp_path / "x" / "points.jsonl").read_text()
    (tmp_path / "x" / "points.jsonl").write_text("".join(kept.splitlines(True)[:1]) + '{"cut short')
    again = explore([model], tmp_path / "x", search, BASE, progress=said.append)
    assert said[0] == "1 of 2 quantizations are there already"
    assert again == first
    assert [p["target"] for p in first["points"]] == ["stm32f411", "host"] * 2
    assert all(p["flash_bytes"] > p["code_bytes"] > 0 for p in first["points"] if p["target"] != "host")
    page = (tmp_path / "x" / "explore.html").read_text()
    assert "<b>" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert json.loads((tmp_path / "x" / "explore.json").read_text())["measure"] == first["measure"]
    assert (tmp_path / "x" / "explore.png").stat().st_size > 5000


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, model: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="something else"):
        explore([model], tmp_path, Search(("host",)), BASE)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@needs("arm-none-eabi-gcc")
def test_the_command_shows_the_best_and_how_they_are_built(tmp_path: Path) -> None:
    arguments = ["-t", "cortex-m4", *DIGITS_INPUT, "--data", DIGITS_TEST, "--points", "1", "-j", "1"]
    facts = json.loads(command("explore", DIGITS, *arguments, "--json", "-o", tmp_path / "x").stdout)
    (point,) = facts["points"]
    assert point["front"] is True
    assert point["accuracy"] > 0.97
    assert point["command"].startswith("dfqgen build digits.onnx --target cortex-m4 ")
    text = command("explore", DIGITS, *arguments, "-o", tmp_path / "x").stdout  # nothing is measured again
    assert "98." in text
    assert "explore.html" in text


def test_builds_that_begin_alike_are_those_made_alone(tmp_path: Path, model: Path) -> None:
    together = Beginnings()
    for choices in (Choices(), Choices(flash_budget="70%"), Choices(flash_budget="50%", activations="int16")):
        recipe = make_recipe(**(BASE | choices))
        copy = tmp_path / str(choices) / model.name  # wherever it lies
        copy.parent.mkdir()
        copy.write_bytes(model.read_bytes())
        found = together.compile("the same", copy, recipe)
        alone = compile_model(model, recipe)
        assert program_to_json(found.program) == program_to_json(alone.program)
        assert found.network.model == copy
        assert [note.effect for note in found.quantized.notes] == [n.effect for n in alone.quantized.notes]


def test_data_may_be_a_folder_of_images(tmp_path: Path) -> None:
    samples = np.load(DIGITS_TEST)
    for i, (image, label) in enumerate(zip(samples["x"][:40], samples["y"][:40], strict=True)):
        folder = tmp_path / "images" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(image.reshape(8, 8)).astype(np.uint8)).save(folder / f"{i}.png")
    base = Choices(meaning=InputMeaning((0.0,), (16.0,), 0.0, 16.0))
    facts = explore(
        [Path(DIGITS)], tmp_path / "x", Search(("host",), points=1, processes=1), base, tmp_path / "images"
    )
    (point,) = facts["points"]
    assert facts["measure"] == "accuracy"
    assert point["accuracy"] > 0.9
    assert point["samples"] == "all 40 samples of data.npz"


def start(*arguments: object) -> subprocess.Popen[bytes]:
    module = [sys.executable, "-m", "distributed.cli." + str(arguments[0])]
    return subprocess.Popen(
        [*module, *map(str, arguments[1:])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler with two workers, each a process of its own."""
    from distributed import Client

    found = tmp_path / "scheduler.json"
    at = ["--scheduler-file", found]
    running = [start("dask_scheduler", *at, "--port", "0", "--no-dashboard", "--host", "127.0.0.1")]
    workers = [
        start(
            "dask_worker",
            *at,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--local-directory",
            tmp_path,
        )
        for _ in range(2)
    ]
    try:
        with Client(scheduler_file=str(found), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, workers
    finally:
        for process in [*workers, *running]:
            process.kill()
            process.wait()


def test_a_cluster_finds_the_same_though_a_worker_is_killed(
    tmp_path: Path, model: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster

    def kill_one(stage: str) -> None:
        if isinstance(stage, Part) and workers[0].poll() is None:
            workers[0].kill()

    search = Search(("host",), points=6, scheduler=address)
    found = explore([model], tmp_path / "there", search, BASE, progress=kill_one)
    assert workers[0].wait() != 0
    assert workers[1].poll() is None
    here = explore([model], tmp_path / "here", Search(("host",), points=6, processes=1), BASE)
    assert found["points"] == here["points"]
    assert len(found["points"]) + len(found["failed"]) == 6


def test_a_scheduler_that_is_not_there_is_told(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match="no Dask scheduler at tcp"):
        explore([model], tmp_path / "x", Search(("host",), scheduler="tcp://127.0.0.1:9"), BASE)
