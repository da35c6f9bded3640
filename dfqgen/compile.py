"""Model file -> C, step by step: read, prepare, assign types, choose bits, round, lower; plan, emit, verify.

The first six give a fixed-point program, the last three its C. Every step is one call that gets what it
needs and no more; this file is the picture in docs/design.md, written out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dfqgen.emit.package import Files, emit, write_files
from dfqgen.emit.provenance import Provenance
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.frontend import load
from dfqgen.frontend.read import cut_inputs, fix_inputs, read_model
from dfqgen.graph.ir import Graph
from dfqgen.graph.steps import with_states
from dfqgen.kernels.base import Plan
from dfqgen.memory import give_back
from dfqgen.methods import SampleRoom, make_rounder
from dfqgen.passes.contract import Note
from dfqgen.plan.activations import choose_activations
from dfqgen.plan.budget import Budget, check_budget, layer_costs
from dfqgen.plan.estimate import estimate, seconds
from dfqgen.plan.planner import plan_for
from dfqgen.progress import Progress, silent
from dfqgen.quantization.choose_bits import choose_bits, low_bits_warnings
from dfqgen.quantization.lower import lower
from dfqgen.quantization.predicted_noise import (
    affordable,
    first_order_sqnr,
    predicted_note,
    simulated_samples,
    simulated_sqnr,
)
from dfqgen.quantization.prepare import prepare, rewrite
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.recipe.command import build_command
from dfqgen.recipe.manifest import file_hash, recipe_to_json
from dfqgen.recipe.records import ActivationsRecipe, CodeRecipe, InputRecipe, Recipe
from dfqgen.samples.doubts import input_warnings, resting_warnings
from dfqgen.samples.meaning import InputMeaning, meanings_for
from dfqgen.statistics.likeness import sample_weights
from dfqgen.targets import Target, load_target
from dfqgen.verify.against_float import Network
from dfqgen.verify.check import HostCheck, check_on_host
from dfqgen.verify.code_size import CodeSize, measure_code

Assign = Callable[[Prepared, ActivationsRecipe], Typed]


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A program, and the float graph whose function it has; `notes` say what was done, `warnings` what is
    odd about the samples given. `predicted_db` is the SQNR of each output, simulated where samples move it.
    """

    prepared: Prepared
    program: Program
    notes: tuple[Note, ...]
    predicted_db: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A program and what it came from."""

    network: Network
    quantized: Quantized
    recipe: Recipe
    target: Target

    @property
    def program(self) -> Program:
        return self.quantized.program

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should hear: choices without effect, inputs that nobody explained, or explained in a
        way that is probably a mistake.
        """
        inputs = self.recipe.input
        doubts = input_warnings(self.network.graph, inputs.meaning, inputs.meanings)
        remarks = self.network.graph.remarks
        idle = low_bits_warnings(self.quantized.prepared.graph, self.recipe.low_bits)
        resting = resting_warnings(self.network.graph, self.quantized.prepared.resting)
        return (*self.recipe.warnings, *idle, *remarks, *doubts, *resting, *self.quantized.warnings)


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """The C of a program, not yet checked. Without the target's compiler `code` is None."""

    plan: Plan
    files: Files
    code: CodeSize | None

    @property
    def flash_bytes(self) -> int:
        """Constants and code."""
        return self.plan.array_bytes + (0 if self.code is None else self.code.code_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The C of a program, and what its checks found. Without the target's compiler `code` is None."""

    plan: Plan
    files: Files
    code: CodeSize | None
    check: HostCheck


def compile_model(
    model: str | Path,
    recipe: Recipe | None = None,
    progress: Progress = silent,
    assign: Assign = assign_types,
) -> Compiled:
    """The fixed-point program of an ONNX file; `assign` may know types already. Raises UserError's kinds."""
    recipe = recipe or Recipe()
    target = load_target(recipe.code.target)
    network = read_network(Path(model), recipe.input, recipe.code, progress)
    quantized = quantize_graph(network.graph, network.meanings, recipe, progress, assign)
    return Compiled(network, quantized, recipe, target)


def read_network(model: Path, recipe: InputRecipe, code: CodeRecipe, progress: Progress = silent) -> Network:
    """Read: the float graph of a model file, named as the C will be."""
    progress("reading the model")
    shapes = dict(recipe.shapes)
    if "" in shapes:
        shapes[_only_input(model, recipe)] = shapes.pop("")
    graph = load(
        model,
        input_shapes=shapes,
        io_layout=recipe.io_layout,
        rows_along=recipe.rows_along,
        inputs=recipe.inputs or None,
        outputs=recipe.outputs or None,
        states=recipe.states,
        fixed=recipe.fixed,
    )
    # Not the graph's own name: exporters call every graph the same, and networks must live side by side.
    graph = replace(graph, name=code.name or model.stem)
    return Network(model, graph, meanings_for(graph, recipe.meaning, recipe.meanings))


def quantize_graph(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    recipe: Recipe,
    progress: Progress = silent,
    assign: Assign = assign_types,
) -> Quantized:
    """Prepare, then the rest. `graph` has its batch normalization still."""
    samples = SampleRoom(graph, meanings, recipe.samples, progress)
    prepared, warnings = _prepare(samples, recipe)
    return replace(quantize_prepared(prepared, recipe, samples, progress, assign), warnings=warnings)


def _prepare(samples: SampleRoom, recipe: Recipe) -> tuple[Prepared, tuple[str, ...]]:
    """The graph of these samples prepared, and what is odd about samples that were given."""
    graph, meanings = samples.graph, samples.meanings
    given = samples.for_statistics(recipe.statistics)
    prepared = prepare(
        graph, meanings, recipe.passes, recipe.statistics, recipe.weights, given, samples.progress
    )
    give_back()
    return prepared, () if given is None else given.warnings


def quantize_prepared(
    prepared: Prepared,
    recipe: Recipe,
    samples: SampleRoom,
    progress: Progress = silent,
    assign: Assign = assign_types,
) -> Quantized:
    """Assign types, choose bits, round, lower."""
    if recipe.activations.activations == "auto":
        progress("choosing which activations are int16")
    target = load_target(recipe.code.target)
    activations, widened = choose_activations(prepared, recipe, target)
    progress("assigning types")
    typed = assign(prepared, activations)
    rounder = make_rounder(recipe.weights, recipe.low_bits, recipe.rounding, samples, progress)
    progress("choosing bits")
    allocation = choose_bits(typed, recipe.weights, recipe.low_bits, recipe.rounding)
    progress("rounding the weights")
    give_back()
    rounded = rounder.round(typed, allocation.bits)
    give_back()
    program = lower(typed, rounded)
    chosen = allocation.notes(typed.graph, program.weight_bytes)
    progress("predicting the error")
    simulated = simulate(typed, program, recipe, samples)
    resting = {port.name for port in typed.graph.outputs} - simulated.keys()
    estimated = first_order_sqnr(prepared, typed, rounded) if resting else {}
    estimated = {name: value for name, value in estimated.items() if name in resting}
    predicted = predicted_note(simulated, estimated)
    notes = (*prepared.notes, *typed.notes, *widened, *chosen, *rounded.notes, *predicted)
    return Quantized(prepared, program, notes, simulated | estimated)


def simulate(typed: Typed, program: Program, recipe: Recipe, samples: SampleRoom) -> dict[str, float]:
    """SQNR in dB of each output that moves: on the user's samples where there are some, else on samples made
    by rule, not those that weights are fitted on, which count as batch normalization says.
    """
    given = samples.for_statistics(recipe.statistics) if recipe.statistics.source == "data" else None
    if given is not None:
        return simulated_sqnr(typed.graph, program, affordable(program, given.values), stated=typed.stated)
    made = typed.evidence.held_out(simulated_samples(program))
    counts = sample_weights(samples.graph, made)
    return simulated_sqnr(typed.graph, program, with_states(typed.graph, made), counts, typed.stated)


def prepare_again(compiled: Compiled, recipe: Recipe, progress: Progress = silent) -> Prepared:
    """The same model, not read again, by a recipe that means the same inputs and the same target."""
    before = compiled.recipe
    if (recipe.passes, recipe.statistics, recipe.weights) == (
        before.passes,
        before.statistics,
        before.weights,
    ):
        return compiled.quantized.prepared
    network = compiled.network
    return _prepare(SampleRoom(network.graph, network.meanings, recipe.samples, progress), recipe)[0]


def quantize_again(
    compiled: Compiled,
    prepared: Prepared,
    recipe: Recipe,
    progress: Progress = silent,
    assign: Assign = assign_types,
) -> Compiled:
    """The same model by another recipe, for which it was prepared; `assign` may know types already."""
    network = compiled.network
    samples = SampleRoom(network.graph, network.meanings, recipe.samples, progress)
    quantized = quantize_prepared(prepared, recipe, samples, progress, assign)
    quantized = replace(quantized, warnings=compiled.quantized.warnings)
    return replace(compiled, quantized=quantized, recipe=recipe, target=load_target(recipe.code.target))


def draft_c(compiled: Compiled, budget: Budget, progress: Progress = silent) -> Draft:
    """Plan and emit, and let the target's compiler measure the code."""
    program, target, code = compiled.program, compiled.target, compiled.recipe.code
    give_back()
    progress("planning memory")
    plan = plan_for(program, code, target, budget)
    progress("writing C")
    origin = provenance(compiled.network.model, compiled.recipe)
    files = emit(
        program,
        plan,
        target,
        optimize=code.made_for,
        provenance=origin,
        packages=code.packages,
        meanings=compiled.network.meanings,
    )
    give_back()
    progress(f"measuring code size for {target.name}")
    return Draft(plan, files, measure_code(files, target, code.made_for))


def check_draft(compiled: Compiled, draft: Draft, budget: Budget) -> None:
    """Raise BudgetExceeded where flash, RAM or time are more than there is."""
    program, plan, target = compiled.program, draft.plan, compiled.target
    times = {} if budget.seconds is None else layer_times(plan, target)
    costs = layer_costs(program, plan, times)
    check_budget(draft.flash_bytes, plan.arena_bytes, target, costs, budget)


def verify_draft(compiled: Compiled, draft: Draft, progress: Progress = silent) -> Built:
    """Run the C on this machine. Raises VerificationFailed where a bit differs."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        write_files(draft.files, Path(scratch))
        check = check_on_host(compiled.program, Path(scratch), progress)
    give_back()
    return Built(draft.plan, draft.files, draft.code, check)


def layer_times(plan: Plan, target: Target) -> dict[str, float]:
    """Estimated seconds of each layer."""
    return {layer.op.name: seconds(layer.instructions, target) for layer in estimate(plan)}


def quantize(model: str | Path, recipe: Recipe | None = None) -> Program:
    """The fixed-point program of an ONNX model, in one call."""
    return compile_model(model, recipe).program


def provenance(model: Path, recipe: Recipe) -> Provenance:
    """Where a program comes from. No paths, no times."""
    command = build_command(model.name, recipe)
    return Provenance(model.name, file_hash(model), recipe_to_json(recipe), command)


def rewritten_graph(network: Network, recipe: Recipe) -> Graph:
    """The float graph whose tensors the program's are compared with: what the passes made of the model."""
    return rewrite(network.graph, network.meanings, recipe.passes, recipe.statistics, recipe.weights).graph


def _only_input(model: Path, recipe: InputRecipe) -> str:
    whole = read_model(model)
    fix_inputs(whole, recipe.fixed)
    cut_inputs(whole, recipe.inputs)
    constants = {tensor.name for tensor in whole.graph.initializer}
    names = [value.name for value in whole.graph.input if value.name not in constants]
    if len(names) != 1:
        raise UserError(
            f"{model} has {len(names)} inputs, so an input shape must say which one it is for",
            f"Write NAME:1,3,32,32 for each of {', '.join(names)}.",
        )
    return names[0]
