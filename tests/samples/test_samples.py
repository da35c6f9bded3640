"""Samples from files, random ones, and what an input means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph, Port
from dfqgen.ops.lookup import Clip
from dfqgen.samples.files import load_samples
from dfqgen.samples.meaning import UNSTATED, meanings_for, state_meaning
from dfqgen.samples.noise import random_samples
from tests.builders import chain


def image_graph() -> Graph:
    """One input of 8x6 pixels, 3 channels, in a channels-first model."""
    graph = chain([Clip.of(0.0, 1.0)], (1, 8, 6, 3))
    return Graph("net", (Port("x", "x", (1, 8, 6, 3), (0, 2, 3, 1)),), graph.outputs, graph.nodes)


def test_saying_nothing_is_told_from_saying_something() -> None:
    assert state_meaning(None, None, None) is None
    meaning = state_meaning((127.5,), None, None)
    assert meaning is not None
    assert (meaning.mean, meaning.std, meaning.lo, meaning.hi) == ((127.5,), (1.0,), 0.0, 255.0)
    ranged = state_meaning(None, None, (-60.0, 20.0))
    assert ranged is not None
    assert (ranged.mean, ranged.std, ranged.lo, ranged.hi) == ((0.0,), (1.0,), -60.0, 20.0)
    assert meanings_for(image_graph(), None) == {"x": UNSTATED}


def test_a_value_for_each_channel_must_be_one_for_each_channel() -> None:
    three = state_meaning((1.0, 2.0, 3.0), None, None)
    assert meanings_for(image_graph(), three)["x"] == three
    with pytest.raises(UserError, match="2 values"):
        meanings_for(image_graph(), state_meaning(None, (1.0, 2.0), None))


def test_samples_are_taken_channels_last_or_in_the_models_axes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "last.npz", x=x, y=np.arange(4))
    np.savez(tmp_path / "first.npz", x=x.transpose(0, 3, 1, 2).astype(np.float32))
    last = load_samples(tmp_path / "last.npz", image_graph())
    first = load_samples(tmp_path / "first.npz", image_graph())
    assert np.array_equal(last.raw["x"], x)
    assert np.array_equal(first.raw["x"], x)
    assert last.labels is not None
    two = last.take(2).labels
    assert two is not None
    assert np.array_equal(two, [0, 1])
    assert first.labels is None


def test_random_samples_keep_to_the_stated_range_and_repeat() -> None:
    graph = image_graph()
    meanings = meanings_for(graph, state_meaning(None, None, (-60.0, 20.0)))
    samples = random_samples(graph, meanings, 6)
    x = samples.raw["x"]
    assert x.shape == (6, 8, 6, 3)
    assert x.min() >= -60.0
    assert x.max() <= 20.0
    assert 10.0 < x.std() < 30.0
    assert np.array_equal(x, random_samples(graph, meanings, 6).raw["x"])
