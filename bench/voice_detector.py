"""How often a detector of speech decides in C as in float, on recordings.

    python bench/voice_detector.py silero_vad.onnx a.wav b.wav --fix sr=16000 \\
        --input-shape input:1,512 --input-shape state:2,1,128 [--activations int16]

Recordings are 16 kHz, one channel, 16 bits; a frame is as long as the network's input, states go on from
frame to frame, of the float network and of the integers each their own. Speech is what its first output
calls more than half. The integers are the reference's, which the C equals on every bit.
"""

from __future__ import annotations

import argparse
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.compile import compile_model
from dfqgen.recipe import Choices, make_recipe
from dfqgen.verify.compare import ErrorMeter

Array = npt.NDArray[Any]
RATE = 16_000
SPEECH = 0.5


def recording(path: Path) -> Array:
    """Samples in [-1, 1]. Raises SystemExit for another format."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise SystemExit(f"{path}: 16 kHz, one channel and 16 bits are asked for")
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--input-shape", action="append", default=[], metavar="NAME:1,512")
    parser.add_argument("--fix", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--activations", default="auto", choices=("auto", "int8", "int16"))
    arguments = parser.parse_args()
    shapes = dict(text.split(":") for text in arguments.input_shape)
    choices = Choices(
        target="cortex-m4",
        input_shape={name: tuple(map(int, numbers.split(","))) for name, numbers in shapes.items()},
        fix={name: float(value) for name, value in (text.split("=") for text in arguments.fix)},
        activations=arguments.activations,
    )
    compiled = compile_model(arguments.model, make_recipe(**choices))
    graph, program = compiled.network.graph, compiled.program
    (signal,), output = graph.fed, graph.given[0]
    shape, kinds = graph.shapes[signal.tensor][1:], {name: t.qtype for name, t in program.tensors.items()}
    run_float = compiled.network.runner()
    for path in arguments.recordings:
        samples = recording(path)
        frames = len(samples) // int(np.prod(shape))
        inputs = {signal.tensor: samples[: frames * int(np.prod(shape))].reshape(frames, *shape)}
        expected = run_float(inputs)[output.tensor]
        played = program.play({name: kinds[name].quantize(x) for name, x in inputs.items()})[output.tensor]
        found = kinds[output.tensor].dequantize(played)
        meter = ErrorMeter()
        meter.add(expected, found)
        equal = np.mean((expected > SPEECH) == (found > SPEECH))
        speech = np.mean(expected > SPEECH)
        print(
            f"{path.name}: {frames} frames, {100 * speech:.0f} % speech, {100 * equal:.1f} % decided alike, "
            f"{meter.sqnr_db:.1f} dB"
        )


if __name__ == "__main__":
    main()
