"""Small fixed-point programs and their folders, for tests of everything after quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dfqgen.compile import quantize_prepared
from dfqgen.emit import emit, write_folder
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.serialize import program_from_json
from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.methods import SampleRoom
from dfqgen.ops.add import Add
from dfqgen.ops.movement import Reshape
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.softmax import Softmax
from dfqgen.plan import plan_program
from dfqgen.quantization.prepare import prepare
from dfqgen.quantization.prepared import Prepared
from dfqgen.recipe import Recipe
from dfqgen.recipe.records import ActivationsRecipe, Optimize
from dfqgen.samples.made import NetworkSamples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.targets import load_target
from tests import builders

STANDARD = Recipe(activations=ActivationsRecipe(activations="int8"))
"""Defaults, but with types that every network has."""


def prepare_by(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    recipe: Recipe = STANDARD,
    samples: Mapping[str, np.ndarray] | None = None,
    *,
    real: bool = True,
) -> Prepared:
    """A float graph prepared, on these samples (as the float network sees them) where there are any."""
    given = None if samples is None else NetworkSamples(samples, "samples", real)
    return prepare(graph, meanings, recipe.passes, recipe.statistics, recipe.weights, given)


def program_by(prepared: Prepared, recipe: Recipe = STANDARD) -> Program:
    """The program of a prepared graph."""
    return quantize_prepared(prepared, recipe, SampleRoom(prepared.graph, {}, recipe.samples)).program


def quantized(graph: Graph, recipe: Recipe = STANDARD) -> Program:
    """The program of a float graph; inputs are normalised pixels."""
    meaning = InputMeaning(mean=(127.5,), std=(64.0,))
    return program_by(prepare_by(graph, {port.name: meaning for port in graph.inputs}, recipe), recipe)


def tiny(name: str = "tiny", seed: int = 0, recipe: Recipe = STANDARD) -> Program:
    """One operator of most families: convolutions of each kind, pooling, a reshape, softmax."""
    rng = np.random.default_rng(seed)
    graph = builders.chain(
        [
            builders.conv(rng, 6, 3, stride=2),
            builders.relu6(),
            builders.conv(rng, 6, 6, groups=6),
            builders.relu(),
            builders.conv(rng, 9, 6, 1, pad=0),
            MaxPool((2, 2), (2, 2)),
            AveragePool((2, 2)),
            Reshape((1, 1, 1, 9)),
            builders.conv(rng, 4, 9, 1, pad=0),
            Softmax(3),
        ]
    )
    return quantized(replace(graph, name=name), recipe)


def stored() -> Program:
    """`tiny` as it once was: what golden files are made of, whatever becomes of the passes."""
    return program_from_json((Path(__file__).parent / "golden" / "tiny.json").read_bytes())


def branched(name: str = "branched") -> Program:
    """Two inputs, a sum, two outputs."""
    rng = np.random.default_rng(1)
    nodes = (
        Node("left", builders.conv(rng, 5, 3), ("a",), "l"),
        Node("right", builders.conv(rng, 5, 2), ("b",), "r"),
        Node("sum", Add(), ("l", "r"), "s"),
        Node("head", builders.conv(rng, 7, 5, stride=2), ("s",), "h"),
    )
    inputs = (Port("a", "a", (1, 6, 5, 3)), Port("b", "b", (1, 6, 5, 2)))
    outputs = (Port("sum", "s", (1, 6, 5, 5)), Port("head", "h", (1, 3, 3, 7)))
    return quantized(Graph(name, inputs, outputs, nodes))


def write(
    program: Program, folder: Path, *, target: str = "cortex-m3", optimize: Optimize = "speed"
) -> dict[str, bytes]:
    """Plan, emit and write; gives the files."""
    machine = load_target(target)
    plan = plan_program(program, machine, optimize=optimize)
    files = emit(program, plan, machine, optimize=optimize)
    write_folder(files, folder)
    return files
