"""Samples from .npy, .csv, folders of images and of sounds, and the .toml that says how to read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph, Port
from dfqgen.ops.lookup import Clip
from dfqgen.samples.files import load_samples
from dfqgen.samples.frontend import FrontEnd
from dfqgen.samples.sources import content_hash, source_of
from tests.builders import chain

RATE = 8000


def graph_of(*shape: int) -> Graph:
    graph = chain([Clip.of(0.0, 1.0)], (1, *shape))
    return Graph("net", (Port("x", "x", (1, *shape)),), graph.outputs, graph.nodes)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)


def write_tone(path: Path, hertz: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, RATE, np.round(16384 * tone(hertz)).astype(np.int16))


def test_an_npy_file_has_its_labels_beside_it_as_integers_or_one_hot(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    assert load_samples(tmp_path / "x.npy", graph_of(8, 6, 3)).labels is None
    for labels in (
        np.asarray([2, 0, 1, 2]),
        np.eye(3)[[2, 0, 1, 2]],
        np.asarray([[2], [0], [1], [2]], np.uint8),
    ):
        np.save(tmp_path / "x_labels.npy", labels)
        found = load_samples(tmp_path / "x.npy", graph_of(8, 6, 3))
        assert np.array_equal(found.raw["x"], x)
        assert found.labels is not None
        assert found.labels.tolist() == [2, 0, 1, 2]
    np.save(tmp_path / "x_labels.npy", np.full((4, 3), 0.4))
    with pytest.raises(UserError, match="one-hot"):
        load_samples(tmp_path / "x.npy", graph_of(8, 6, 3))


def test_a_csv_has_a_column_of_labels_where_the_toml_says_so(tmp_path: Path) -> None:
    (tmp_path / "iris.csv").write_text("a,kind,b\n1,setosa,2\n3,virginica,4.5\n5,setosa,6\n")
    (tmp_path / "iris.toml").write_text('path = "iris.csv"\nlabel = "kind"\n')
    found = load_samples(tmp_path / "iris.toml", graph_of(2))
    assert found.raw["x"].tolist() == [[1, 2], [3, 4.5], [5, 6]]
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 0]
    (tmp_path / "iris.toml").write_text(
        'path = "iris.csv"\nlabel = "kind"\nclasses = ["virginica", "setosa"]\n'
    )
    found = load_samples(tmp_path / "iris.toml", graph_of(2))
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, 1]
    with pytest.raises(UserError, match=r"row 2.*setosa[\s\S]*label ="):
        load_samples(tmp_path / "iris.csv", graph_of(2))


def test_a_row_of_a_csv_may_be_an_image_channels_last(tmp_path: Path) -> None:
    x = np.arange(2 * 4 * 3).reshape(2, -1)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="n" + ",n" * 11, comments="", fmt="%d")
    assert (
        load_samples(tmp_path / "x.csv", graph_of(2, 2, 3)).raw["x"].tolist()
        == x.reshape(2, 2, 2, 3).tolist()
    )


def test_folders_of_images_are_classes_and_images_are_made_to_fit(tmp_path: Path) -> None:
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (20, 10), colour).save(tmp_path / "photos" / name / "a.png")
    (tmp_path / "photos" / "red" / ".hidden").write_text("x")
    found = load_samples(tmp_path / "photos", graph_of(8, 6, 3))
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]  # blue, red
    assert found.raw["x"].dtype == np.uint8
    assert (found.raw["x"][1] == (255, 0, 0)).all()
    grey = load_samples(tmp_path / "photos", graph_of(8, 6, 1)).raw["x"]
    assert grey.shape == (2, 8, 6, 1)
    (tmp_path / "photos.toml").write_text(
        'path = "photos"\nfit = "exact"\nclasses = ["red", "green", "blue"]\n'
    )
    with pytest.raises(UserError, match="20x10 pixels"):
        load_samples(tmp_path / "photos.toml", graph_of(8, 6, 3))
    exact = load_samples(tmp_path / "photos.toml", graph_of(10, 20, 3))
    assert exact.labels is not None
    assert exact.labels.tolist() == [0, 2]
    (tmp_path / "photos" / "red" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(UserError, match=r"b\.png: cannot be read"):
        load_samples(tmp_path / "photos", graph_of(8, 6, 3))


def test_the_middle_of_an_image_is_what_a_crop_keeps(tmp_path: Path) -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    (tmp_path / "photos").mkdir()
    Image.fromarray(image).save(tmp_path / "photos" / "a.png")
    assert (load_samples(tmp_path / "photos", graph_of(10, 10, 3)).raw["x"] == 200).all()


FRONT_END = """
path = "words"
[front-end]
kind = "{kind}"
rate = 8000
samples = 8000
window = 320
hop = 160
mels = 20
low = 0
coefficients = 10
"""


def test_folders_of_sounds_become_what_the_stated_front_end_makes_of_them(tmp_path: Path) -> None:
    write_tone(tmp_path / "words" / "low" / "a.wav", 300)
    write_tone(tmp_path / "words" / "high" / "a.wav", 3000)
    (tmp_path / "words.toml").write_text(FRONT_END.format(kind="log-mel"))
    frames = 1 + (8000 - 320) // 160
    found = load_samples(tmp_path / "words.toml", graph_of(frames, 20, 1))
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    front_end = source_of(tmp_path / "words.toml").front_end
    assert front_end is not None
    peaks = front_end.bands().argmax(axis=1) * RATE / front_end.points
    for clip, hertz in zip(found.raw["x"][..., 0], (3000, 300), strict=True):
        loudest = set(clip.argmax(axis=1).tolist())
        assert all(abs(peaks[band] - hertz) < 200 for band in loudest)
    (tmp_path / "words.toml").write_text(FRONT_END.format(kind="mfcc"))
    assert load_samples(tmp_path / "words.toml", graph_of(frames, 10, 1)).raw["x"].dtype == np.float32
    with pytest.raises(UserError, match="front-end"):
        load_samples(tmp_path / "words", graph_of(frames, 10, 1))
    (tmp_path / "words.toml").write_text(FRONT_END.format(kind="mfcc").replace("rate = 8000", "rate = 16000"))
    with pytest.raises(UserError, match="Resample"):
        load_samples(tmp_path / "words.toml", graph_of(frames, 10, 1))


def test_a_front_end_is_its_formula() -> None:
    """One frame by sums as the definitions have them."""
    made = FrontEnd(
        "mfcc", RATE, 64, window=64, hop=64, fft=64, mels=6, low=100.0, high=3000.0, coefficients=4
    )
    clip = tone(700.0, 64 / RATE)
    n = np.arange(64)
    frame = clip * (0.5 - 0.5 * np.cos(2 * np.pi * n / 64))
    power = [abs(np.sum(frame * np.exp(-2j * np.pi * k * n / 64))) ** 2 for k in range(33)]
    mel = np.linspace(2595 * np.log10(1 + 100 / 700), 2595 * np.log10(1 + 3000 / 700), 8)
    edges = 700 * (10 ** (mel / 2595) - 1)
    logs = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        weights = np.interp(np.arange(33) * RATE / 64, [low, middle, high], [0, 1, 0])
        logs.append(np.log(max(float(np.sum(weights * power)), 1e-6)))
    expected = [
        (1 / 6 if k == 0 else 2 / 6) ** 0.5
        * sum(y * np.cos(np.pi * k * (2 * i + 1) / 12) for i, y in enumerate(logs))
        for k in range(4)
    ]
    np.testing.assert_allclose(made.features(clip)[0], expected, rtol=1e-5)


def test_slaneys_scale_is_linear_to_a_kilohertz_and_comes_back() -> None:
    from dfqgen.samples.frontend import SCALES

    to_mel, to_hertz = SCALES["slaney"]
    assert to_mel(500.0) == pytest.approx(7.5)
    assert to_mel(6400.0) == pytest.approx(15.0 + 27.0)
    hertz = np.asarray([0.0, 440.0, 1000.0, 3000.0, 8000.0])
    np.testing.assert_allclose(to_hertz(to_mel(hertz)), hertz, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path = 3", "where the samples are"),
        ('path = "words"\nlabels = "x"', "'labels' is unknown"),
        ('path = "words"\nfit = "squeeze"', "fit is one of"),
        ('path = "words"\n[front-end]\nkind = "mfcc"', r"lacks rate"),
        ('path = "words"\n[front-end]\nkind = "cqt"\nrate = 1\nsamples = 1', "kind is one of"),
        ('path = "words"\n[front-end]\nkind = "mfcc"\nrate = 8000\nsamples = 100', "hop and window"),
        ('path = "words"\n[front-end]\nkind = "mfcc"\nrate = true\nsamples = 100', "rate is True"),
        ('path = "loop.toml"', "another .toml"),
        ("path = ", "is no TOML"),
    ],
)
def test_a_toml_that_says_something_odd_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "loop.toml").write_text('path = "words"\nfit = "crop"\nlabel = "y"')
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        source_of(tmp_path / "s.toml")


def test_the_hash_of_samples_is_of_all_that_is_read(tmp_path: Path) -> None:
    write_tone(tmp_path / "words" / "low" / "a.wav", 300)
    description = tmp_path / "words.toml"
    description.write_text(FRONT_END.format(kind="mfcc"))
    before = content_hash(description), content_hash(tmp_path / "words")
    assert before[0] != before[1]
    assert content_hash(description) == before[0]
    write_tone(tmp_path / "words" / "low" / "a.wav", 301)
    assert content_hash(description) != before[0]
    assert content_hash(tmp_path / "words") != before[1]
