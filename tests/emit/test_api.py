"""What comes before and after a network: pixels, best classes, softmax, boxes; and the wrapper in C++."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dfqgen import InputMeaning, build, make_recipe, resources
from dfqgen.samples.stated import PRESETS
from tests.models import DIGITS, ROOT, tiny
from tests.tools import needs

HEADERS = resources.runtime_dir() / "api"
rng = np.random.default_rng(0)


def library(folder: Path, source: str, *includes: Path) -> ctypes.CDLL:
    """C as a shared library, without warnings."""
    (folder / "library.c").write_text(source)
    words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1", "-shared", "-fPIC"]
    words += [f"-I{include}" for include in includes]
    words += [str(folder / "library.c"), "-o", str(folder / "library.so"), "-lm"]
    subprocess.run(words, check=True)
    return ctypes.CDLL(str(folder / "library.so"))


def pointer(values: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "meaning",
    [PRESETS["unit"], PRESETS["raw"], PRESETS["signed"], InputMeaning((3.0,), (7.0,), 0.0, 16.0)],
    ids=str,
)
def test_pixels_become_what_quantize_gives(tmp_path: Path, meaning: InputMeaning, channels: int) -> None:
    model = tiny(tmp_path / "tiny.onnx", shape=(1, 2, 6, 6))
    if channels == 3:  # of the two channels each has its own
        meaning = InputMeaning(
            tuple(meaning.mean * 2), (meaning.std[0], meaning.std[0] * 2), meaning.lo, meaning.hi
        )
    result = build(model, tmp_path / "o", make_recipe(meaning=meaning))
    lib = library(
        tmp_path,
        '#include "tiny_api.h"\nvoid go(const uint8_t *pixels, int8_t *input);\n'
        "void go(const uint8_t *pixels, int8_t *input)\n{\n    static tiny_t net;\n"
        "    tiny_pixels_to_input(&net, pixels);\n"
        "    for (int32_t i = 0; i < TINY_INPUT_SIZE; i++) { input[i] = tiny_input(&net)[i]; }\n}\n",
        tmp_path / "o",
    )
    pixels = rng.integers(0, 256, (6, 6, 2)).astype(np.uint8)
    found = np.zeros((6, 6, 2), np.int8)
    lib.go(pointer(pixels), pointer(found))
    port = result.program.inputs[0]
    np.testing.assert_array_equal(
        found, result.program.tensors[port.tensor].qtype.quantize(meaning.normalize(pixels))
    )
    if meaning in (PRESETS["unit"], PRESETS["raw"]):
        assert "dfq_pixels_xor(" in (tmp_path / "o" / "tiny_api.h").read_text()


def test_an_input_that_takes_no_pixels_has_no_function_for_them(tmp_path: Path) -> None:
    build(tiny(tmp_path / "tiny.onnx"), tmp_path / "o", make_recipe(meaning=InputMeaning(lo=-3.0, hi=3.0)))
    assert "pixels_to_input" not in (tmp_path / "o" / "tiny_api.h").read_text()


def test_the_best_classes_and_softmax_are_numpys(tmp_path: Path) -> None:
    lib = library(
        tmp_path,
        '#include "dfq_api.h"\n'
        "int32_t best(const void *v, int32_t w, int32_t n);\n"
        "int32_t best(const void *v, int32_t w, int32_t n) { return dfq_best(v, w, n); }\n"
        "int32_t best_k(const void *v, int32_t w, int32_t n, int32_t k, int32_t *p);\n"
        "int32_t best_k(const void *v, int32_t w, int32_t n, int32_t k, int32_t *p)\n"
        "{ return dfq_best_k(v, w, n, k, p); }\n"
        "void soft(const void *v, int32_t w, int32_t n, float s, float *p);\n"
        "void soft(const void *v, int32_t w, int32_t n, float s, float *p)\n"
        "{ dfq_softmax_of(v, w, n, s, p); }\n",
        HEADERS,
    )
    for turn in range(200):
        count, k, wide = int(rng.integers(1, 12)), int(rng.integers(0, 14)), turn % 2
        step, dtype = (8000, np.int16) if wide else (40, np.int8)
        values = (step * rng.integers(-3, 4, count)).astype(dtype)
        places = np.full(16, -1, np.int32)
        assert lib.best(pointer(values), wide, count) == values.argmax()
        assert lib.best_k(pointer(values), wide, count, k, pointer(places)) == min(count, k)
        order = np.argsort(-values.astype(int), kind="stable")[:k]
        assert places.tolist() == order.tolist() + [-1] * (16 - len(order))
        probabilities = np.zeros(count, np.float32)
        scale = 4.0 / step
        lib.soft(pointer(values), wide, count, ctypes.c_float(scale), pointer(probabilities))
        exact = np.exp(scale * (values.astype(float) - values.max()))
        np.testing.assert_allclose(probabilities, exact / exact.sum(), rtol=1e-5)


BOXES = """
#include "dfq_boxes.h"
int32_t go(int32_t kind, int32_t y_first, int32_t sigmoid, int32_t background, const float *anchors,
           const int8_t *b, const int8_t *s, dfq_box_t *found, int32_t room);
int32_t go(int32_t kind, int32_t y_first, int32_t sigmoid, int32_t background, const float *anchors,
           const int8_t *b, const int8_t *s, dfq_box_t *found, int32_t room)
{
    const dfq_boxes_t head = { .kind = kind, .count = 60, .classes = 4, .background = background, .stride = 6,
        .y_first = y_first, .sigmoid = sigmoid, .rows = 4, .columns = 5, .priors = 3, .anchors = anchors,
        .center_scale = 10.0f, .size_scale = 5.0f, .score_threshold = 0.3f, .iou_threshold = 0.4f };
    const dfq_head_t boxes = { b, 0.04f, -3 }, scores = { s, 0.05f, 7 };
    return dfq_decode_boxes(&head, &boxes, &scores, found, room);
}
"""


def logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def decoded(
    kind: int, y_first: int, sigmoid: int, background: int, anchors: np.ndarray, b: np.ndarray, s: np.ndarray
) -> list[tuple[float, ...]]:
    """The same by the definitions, in numpy: (x1, y1, x2, y2, score, label), best first."""
    box, score = 0.04 * (b.astype(float) + 3), 0.05 * (s.astype(float) - 7)
    if kind == 2:
        box = box[: 60 * 9].reshape(60, 9)
        score = logistic(box[:, 5:]) * logistic(box[:, 4:5])
        cell = np.arange(60) // 3
        x, y = (cell % 5 + logistic(box[:, 0])) / 5, (cell // 5 + logistic(box[:, 1])) / 4
        w, h = (anchors[np.arange(60) % 3, 2 + i] * np.exp(box[:, 2 + i]) for i in (0, 1))
    else:
        box = box[: 60 * 6].reshape(60, 6)
        if y_first:
            box = box[:, [1, 0, 3, 2]]
        score = score[: 60 * 4].reshape(60, 4)[:, background:]
        score = logistic(score) if sigmoid else score
        x, y = (anchors[:, i] + box[:, i] / 10 * anchors[:, 2 + i] for i in (0, 1))
        grown = [np.exp(box[:, 2 + i] / 5) if kind == 0 else box[:, 2 + i] / 5 for i in (0, 1)]
        w, h = (anchors[:, 2 + i] * grown[i] for i in (0, 1))
    best = score.argmax(axis=1)
    all_boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2, score.max(axis=1), best], axis=1)
    kept: list[np.ndarray] = []
    for one in all_boxes[np.argsort(-all_boxes[:, 4], kind="stable")]:
        if one[4] >= 0.3 and all(one[5] != other[5] or overlap(one, other) <= 0.4 for other in kept):
            kept.append(one)
    return [tuple(one) for one in kept]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    w, h = (max(0.0, min(a[2 + i], b[2 + i]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return w * h / (sum(areas) - w * h)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["ssd", "blazeface", "yolo"])
@pytest.mark.parametrize("variant", [(0, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_boxes_are_those_of_the_definitions(tmp_path: Path, kind: int, variant: tuple[int, int, int]) -> None:
    lib = library(tmp_path, BOXES, HEADERS)
    for seed in range(10):
        draw = np.random.default_rng(seed)
        anchors = draw.uniform(0.1, 0.9, (60, 4)).astype(np.float32)
        boxes = draw.integers(-128, 128, 60 * 9).astype(np.int8)
        if kind == 1:  # a size is no logarithm: let it be above zero
            boxes[:360].reshape(60, 6)[:, 2:4] = draw.integers(20, 128, (60, 2))
        scores = draw.integers(-128, 128, 60 * 4).astype(np.int8)
        found = np.zeros((80, 6), np.float32)
        count = lib.go(kind, *variant, pointer(anchors), pointer(boxes), pointer(scores), pointer(found), 80)
        expected = np.array(decoded(kind, *variant, anchors, boxes, scores)).reshape(-1, 6)
        got = found[:count].copy()
        got[:, 5] = found[:count, 5].view(np.int32)
        assert count == len(expected) > 0
        # boxes of one score may come in either order
        order = [np.lexsort(rows.T[[0, 5, 4]].round(4)) for rows in (got, expected)]
        np.testing.assert_allclose(got[order[0]], expected[order[1]], rtol=1e-4, atol=1e-5)


def test_of_too_many_boxes_the_best_are_kept(tmp_path: Path) -> None:
    lib = library(tmp_path, BOXES, HEADERS)
    anchors = rng.uniform(0.1, 0.9, (60, 4)).astype(np.float32)
    boxes, scores = (rng.integers(-128, 128, 60 * 9).astype(np.int8) for _ in range(2))
    found = np.zeros((80, 6), np.float32)
    many = lib.go(0, 0, 1, 0, pointer(anchors), pointer(boxes), pointer(scores), pointer(found), 80)
    best = found[0].copy()
    few = lib.go(0, 0, 1, 0, pointer(anchors), pointer(boxes), pointer(scores), pointer(found), 1)
    assert (few, many > 1) == (1, True)
    np.testing.assert_array_equal(found[0], best)
    assert lib.go(0, 0, 1, 0, pointer(anchors), pointer(boxes), pointer(scores), pointer(found), 0) == 0


CPP = """
#include "digits.hpp"
#include "digits_api.h"
#include "runtime_c/api/dfq_boxes.h"
#include <cstdio>
#if __cplusplus >= 202002L
#include <span>
#endif

static digits::Network net;

int main()
{
    for (auto &value : net.input()) { value = 100; }
    net.invoke();
    auto scores = net.output();
#if __cplusplus >= 202002L
    std::span<const std::int8_t> same(scores);
    if (same.size() != digits::Network::output_size) { return 1; }
#endif
    for (auto value : scores) { std::printf("%d ", value); }
    std::printf("%d\\n", static_cast<int>(digits_best(net.c())));
}
"""


@needs("g++")
@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_the_wrapper_gives_spans(tmp_path: Path, standard: str) -> None:
    result = build(DIGITS, tmp_path / "o", make_recipe(input_std=(16.0,), input_range=(0.0, 16.0)))
    (tmp_path / "main.cpp").write_text(CPP)
    for name in ("digits", "digits_weights"):
        words = [
            "gcc",
            "-std=c99",
            "-O1",
            "-c",
            str(tmp_path / "o" / f"{name}.c"),
            "-o",
            str(tmp_path / f"{name}.o"),
        ]
        subprocess.run(words, check=True)
    words = ["g++", f"-std={standard}", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{tmp_path / 'o'}"]
    words += [str(tmp_path / name) for name in ("main.cpp", "digits.o", "digits_weights.o")]
    subprocess.run([*words, "-o", str(tmp_path / "main")], check=True)
    printed = subprocess.run(
        [str(tmp_path / "main")], capture_output=True, text=True, check=True
    ).stdout.split()
    port = result.program.inputs[0].tensor
    (scores,) = result.program.run({port: np.full((1, 8, 8, 1), 100, np.int8)}).values()
    assert [int(word) for word in printed] == [*scores[0].tolist(), int(scores[0].argmax())]


RTOS = """
typedef void *QueueHandle_t;
#define pdTRUE 1
#define portMAX_DELAY 0xffffffffu
int xQueueReceive(QueueHandle_t queue, void *to, uint32_t ticks);
"""


def test_the_examples_of_the_docs_compile(tmp_path: Path) -> None:
    """FreeRTOS's headers are replaced by the few declarations that the example uses."""
    build(DIGITS, tmp_path / "o", make_recipe(input_std=(16.0,), input_range=(0.0, 16.0)))
    for name in ("FreeRTOS.h", "queue.h", "task.h"):
        (tmp_path / name).write_text("#include <stdint.h>\n" + (RTOS if name == "queue.h" else ""))
    examples = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "example.c").write_text(example)
        words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", f"-I{tmp_path / 'o'}"]
        subprocess.run([*words, "-c", str(tmp_path / "example.c"), "-o", str(tmp_path / "e.o")], check=True)
