"""An LSTM beside TFLite's integer one: error against the float LSTM, on the same sequences.

    python bench/tflite_lstm.py

Random weights and inputs. TFLite's has int8 inputs, weights and hidden states, an int16 cell, one scale a
weight matrix, and is given the input's and the hidden state's range; LiteRT's reference kernel runs it.
dfqgen's is built of the float model, without data, with int8 inputs and outputs.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dfqgen.compile import compile_model
from dfqgen.graph.ir import Array
from dfqgen.recipe import make_recipe
from tests.frontend.tflite import TfliteNet, interpreted

SHAPES = ((16, 8, 16), (20, 16, 64), (50, 40, 128))
"""Steps, features and units."""
SEQUENCES = 16
REACH = 2.0
CELL_BITS = 11
"""Of TFLite's cell: +-16, as dfqgen's."""
GATES = ("input", "forget", "cell", "output")


def weights(rng: np.random.Generator, features: int, units: int) -> dict[str, list[Array]]:
    """Of each gate, in TFLite's order."""
    return {
        "x": [rng.normal(0, features**-0.5, (units, features)).astype(np.float32) for _ in GATES],
        "h": [rng.normal(0, units**-0.5, (units, units)).astype(np.float32) for _ in GATES],
        "bias": [rng.normal(0, 0.3, units).astype(np.float32) for _ in GATES],
    }


def net_of(net: TfliteNet, ports: tuple[int, int], parts: Sequence[Sequence[int]], states: list[int]) -> None:
    """The one operator; its `parts` are weights of inputs, of hidden states, and biases."""
    of_input, of_state, biases = parts
    inputs = [ports[0], *of_input, *of_state, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, ports[1], record="UnidirectionalSequenceLSTMOptions",
                 fusedActivationFunction=4, timeMajor=False, cellClip=0.0, projClip=0.0)  # fmt: skip


def float_model(folder: Path, values: Mapping[str, list[Array]], steps: int) -> Path:
    units, features = values["x"][0].shape
    net = TfliteNet()
    x, y = (net.tensor((1, steps, width), np.float32) for width in (features, units))
    parts = [[net.constant(value) for value in values[part]] for part in ("x", "h", "bias")]
    states = [net.tensor((1, units), np.float32, variable=True) for _ in range(2)]
    net_of(net, (x, y), parts, states)
    return net.save(folder, [x], [y])


def integer_model(folder: Path, values: Mapping[str, list[Array]], steps: int) -> Path:
    units, features = values["x"][0].shape
    net = TfliteNet()
    scale = 2 * REACH / 255
    x = net.tensor((1, steps, features), np.int8, scale)
    y = net.tensor((1, steps, units), np.int8, 1 / 128)

    def rounded(value: Array) -> int:
        step = float(np.abs(value).max()) / 127
        return net.constant(np.round(value / step).astype(np.int8), scale=step)

    parts = [[rounded(value) for value in values[part]] for part in ("x", "h")]
    biases = []
    for value, weight in zip(values["bias"], values["x"], strict=True):
        step = scale * float(np.abs(weight).max()) / 127
        biases.append(net.constant(np.round(value / step).astype(np.int32), scale=step))
    hidden = net.tensor((1, units), np.int8, 1 / 128, variable=True)
    cell = net.tensor((1, units), np.int16, 2.0**-CELL_BITS, variable=True)
    net_of(net, (x, y), [*parts, biases], [hidden, cell])
    between = [net.tensor((0,), np.int16, 2.0**-12) for _ in GATES]
    net.graph.operators[-1].intermediates = [*between, net.tensor((0,), np.int8, 1 / 128)]
    return net.save(folder, [x], [y])


def sequences(path: Path, samples: Array) -> Array:
    """What a model gives of each, its states zero before."""
    return np.concatenate([interpreted(path, {0: sample[None]})[0] for sample in samples])


def sqnr_db(exact: Array, found: Array) -> float:
    return 10.0 * math.log10(float(np.sum(exact**2) / np.sum((found - exact) ** 2)))


def measured(steps: int, features: int, units: int) -> tuple[float, float]:
    """Decibels of TFLite's integers and of ours."""
    rng = np.random.default_rng(units)
    values = weights(rng, features, units)
    samples = rng.uniform(-REACH, REACH, (SEQUENCES, steps, features)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        integers = np.clip(np.round(samples / (2 * REACH / 255)), -128, 127).astype(np.int8)
        theirs = sequences(integer_model(folder, values, steps), integers)
        path = float_model(folder, values, steps)
        exact = sequences(path, samples)
        compiled = compile_model(path, make_recipe(activations="int8", input_range=(-REACH, REACH)))
    (port,) = compiled.program.inputs
    ours = compiled.program.run(samples.reshape(-1, *compiled.program.tensors[port.tensor].shape[1:]))
    assert not isinstance(ours, dict)
    return sqnr_db(exact, theirs / 128.0), sqnr_db(exact, np.asarray(ours).reshape(exact.shape))


def main() -> None:
    print("| LSTM | LiteRT, integers | dfqgen |\n| --- | --: | --: |")
    for steps, features, units in SHAPES:
        theirs, ours = measured(steps, features, units)
        print(f"| {units} units, {features} features, {steps} steps | {theirs:.1f} dB | {ours:.1f} dB |")


if __name__ == "__main__":
    main()
