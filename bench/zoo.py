"""Every network of the zoo: the generated C without data, beside own samples and onnxruntime's quantization.

    python bench/zoo.py --shared ../shared [--only face_slim_320,ppocr_cls] [--write docs/zoo.md]

For each network: whether it is accepted (or why not), whether the C equals the reference on every bit, and
how close it is to the float network (onnxruntime) with int8 activations without data, per tensor, with the
samples themselves for calibration (by default ranges, and by min-max ones), and by onnxruntime's
static quantization (QDQ, per channel, MinMax, calibrated on the same samples). Results are kept in --cache:
dfqgen's until its sources change, onnxruntime's until the model or the samples do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import onnxruntime_static
from subjects import chosen_names, replace_table, table_parser
from zoo_networks import GOALS, Goal, Network, Subject, read_zoo, subject
from zoo_scores import Outputs, Scores, float_scores, score

import dfqgen
from dfqgen.commands.evaluate import c_outputs
from dfqgen.compile import Compiled, compile_model, read_network
from dfqgen.emit.package import emit, write_files
from dfqgen.errors import DfqgenError
from dfqgen.frontend.read import read_model
from dfqgen.graph.ir import Graph
from dfqgen.plan import plan_program
from dfqgen.recipe import Choices, make_recipe
from dfqgen.recipe.records import ActivationChoice
from dfqgen.samples.files import Samples
from dfqgen.verify.check import check_on_host

Facts = dict[str, Any]

DEFAULT_SAMPLES = 64
COLUMNS: Mapping[str, str] = {
    "default": "no data",
    "per_tensor": "no data, per tensor",
    "own": "own samples",
    "minmax": "own samples, min-max",
    "onnxruntime": "onnxruntime, own samples",
}
OURS: Mapping[str, Choices] = {
    "default": Choices(),
    "per_tensor": Choices(weights="per-tensor"),
    "own": Choices(),
    "minmax": Choices(ranges="min-max"),
}
CALIBRATED = ("own", "minmax")


class Cache:
    """Results in files, named by a hash of all they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: Sequence[str], make: Callable[[], Facts]) -> Facts:
        """What was found before, or what `make` finds now."""
        path = self.folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"
        if path.is_file():
            kept: Facts = json.loads(path.read_text())
            return kept
        facts = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(facts))
        scratch.replace(path)
        return facts


def source_hash() -> str:
    """Of everything that decides what dfqgen generates."""
    root = Path(dfqgen.__file__).parent.parent
    digest = hashlib.sha256()
    for folder, pattern in (
        ("dfqgen", "*.py"),
        ("templates", "*"),
        ("runtime_c", "*"),
        ("targets", "*.toml"),
    ):
        for path in sorted((root / folder).rglob(pattern)):
            if path.is_file():
                digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def samples_hash(found: Subject) -> str:
    """Of the samples' values."""
    digest = hashlib.sha256()
    for name, value in found.raw.items():
        digest.update(f"{name} {value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


class Measurement:
    """One network on its samples."""

    def __init__(
        self,
        network: Network,
        shared: Path,
        limit: int | None,
        cache: Cache,
        activations: ActivationChoice = "int8",
    ) -> None:
        self.network, self.cache, self.activations = network, cache, activations
        self.model = network.path(shared)
        self.subject = subject(network, shared, limit)
        self.feeds = self.subject.feeds()
        model = hashlib.sha256(self.model.read_bytes()).hexdigest()
        # The rules of scoring are part of what a figure depends on.
        scoring = (Path(__file__).parent / "zoo_scores.py").read_text()
        self.key = [network.name, model, samples_hash(self.subject), repr(network), scoring]
        self._reference: Outputs | None = None

    @property
    def reference(self) -> Outputs:
        """The float network's outputs."""
        if self._reference is None:
            # As dfqgen reads it: onnxruntime refuses some axes that TensorFlow's converter writes.
            model = read_model(self.model).SerializeToString()
            self._reference = onnxruntime_static.run(model, self.feeds)
        return self._reference

    def run(self, columns: Sequence[str], log: Callable[[str], None]) -> Facts:
        """Facts by column."""
        name = self.network.name
        facts: Facts = {"samples": self.subject.count}
        facts["float"] = self.cache.get(["float", *self.key], self.by_float)
        for column in columns:
            if column == "onnxruntime":
                static = (Path(__file__).parent / "onnxruntime_static.py").read_text()
                key = [column, onnxruntime.__version__, static, *self.key]
                facts[column] = self.cache.get(key, self.by_onnxruntime)
            elif column == "default" or facts["default"]["accepted"]:
                key = [column, self.activations, source_hash(), *self.key]
                facts[column] = self.cache.get(key, partial(self.by_dfqgen, column))
            else:
                facts[column] = facts["default"]
            found = facts[column]
            log(f"{name:32s} {column:12s} {cell(found) if found['accepted'] else found['reason']}")
        return facts

    def score(self, outputs: Outputs) -> Scores:
        network = self.network
        return score(network.name, self.reference, outputs, self.subject.labels, network.boxes)

    def by_float(self) -> Facts:
        try:
            return float_scores(
                self.network.name, self.reference, self.subject.labels, self.network.boxes
            ).as_json()
        except Exception:  # it does not run in onnxruntime either, whose exceptions share no base class
            return Scores().as_json()

    def by_onnxruntime(self) -> Facts:
        try:
            outputs = onnxruntime_static.quantized_outputs(self.model, self.feeds, self.feeds)
        except Exception as error:  # its exceptions share no base class
            return {"accepted": False, "reason": first_line(error)}
        found = self.score(outputs)
        return {"accepted": True, **found.as_json()}

    def by_dfqgen(self, column: str) -> Facts:
        fixed = {name: float(value) for name, value in self.subject.constants.items()}
        # States stay inputs and outputs: each sample is a step of its own, for the float network too.
        choices = Choices(
            target="cortex-m4",
            input_shape=self.network.shapes,
            fix=fixed,
            state={},
            activations=self.activations,
        )
        if self.network.meaning is not None:
            choices["meaning"] = self.network.meaning
        try:
            if column in CALIBRATED:
                recipe = make_recipe(**choices)
                graph = read_network(self.model, recipe.input, recipe.code).graph
                choices["calibration_data"] = self.samples(graph)
            choices = {**choices, **OURS[column]}
            recipe = make_recipe(**choices)
            started = time.process_time()
            compiled = compile_model(self.model, recipe)
            seconds = time.process_time() - started
            exact = equal_on_host(compiled) if column == "default" else None
            inputs = compiled.network.normalize(self.samples(compiled.network.graph).raw)
            found, _ = c_outputs(compiled, inputs)
        except DfqgenError as error:
            return {"accepted": False, "reason": first_line(error)}
        except Exception as error:  # a bug, to be shown in the table
            return {"accepted": False, "reason": f"{type(error).__name__}: {first_line(error)}"}
        outputs = {}
        for port in compiled.network.graph.outputs:
            values = port.to_model(found[port.name]).reshape(self.reference[port.name].shape)
            outputs[port.name] = values if port.coding is None else port.coding.encode(values)
        figures = self.score(outputs)
        predicted = min(compiled.quantized.predicted_db.values(), default=None)
        return {
            "accepted": True,
            "exact": exact,
            "seconds": seconds,
            "predicted": predicted,
            **figures.as_json(),
        }

    def samples(self, graph: Graph) -> Samples:
        """Raw samples by tensor, in our axes."""
        found = {}
        for port in graph.inputs:
            raw = self.subject.raw[port.name]
            values = port.from_model(raw if port.whole else np.concatenate(raw))
            found[port.tensor] = values if port.coding is None else port.coding.decode(values)
        return Samples(found)


def equal_on_host(compiled: Compiled) -> bool:
    """Whether the C, made of the kernels it is built from for its target, equals the reference. Raises."""
    plan = plan_program(compiled.program, compiled.target)
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        write_files(emit(compiled.program, plan, compiled.target), Path(folder))
        return check_on_host(compiled.program, Path(folder)).network is not None


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def cell(facts: Facts) -> str:
    """Of one column, for the table."""
    return scores_of(facts).text if facts["accepted"] else "-"


def scores_of(facts: Facts) -> Scores:
    boxes = facts["boxes"]
    return Scores(facts["sqnr_db"], facts["top1"], None if boxes is None else tuple(boxes), facts["mean_iou"])


def goal_cell(goal: Goal | None, facts: Facts) -> str:
    """What the network should reach without data, and whether it does."""
    if goal is None:
        return ""
    figures = scores_of(facts) if facts["accepted"] else Scores()
    wanted: list[tuple[str, float, float]] = []
    if goal.boxes is not None:
        wanted.append((f"{goal.boxes} boxes", goal.boxes, figures.boxes[1] if figures.boxes else 0))
    if goal.top1 is not None:
        wanted.append((f"{100 * goal.top1:.1f} %", goal.top1, figures.top1 or 0.0))
    wanted += [(f"{db:g} dB", db, figures.sqnr_db.get(name, -np.inf)) for name, db in goal.sqnr_db.items()]
    met = all(found >= least for _, least, found in wanted)
    return ", ".join(text for text, *_ in wanted) + (": met" if met else ": **not met**")


def float_cell(facts: Facts) -> str:
    if facts["boxes"] is not None:
        return f"{facts['boxes'][0]} boxes"
    return "" if facts["top1"] is None else f"{100 * facts['top1']:.1f} %"


def table(results: Mapping[str, Facts], columns: Sequence[str]) -> str:
    """Markdown."""
    heads = [
        "network",
        "float",
        "C",
        *(COLUMNS[column] for column in columns),
        "predicted",
        "goal",
        "CPU time",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    reasons = []
    for name, facts in results.items():
        default = facts["default"]
        accepted = "refused" if not default["accepted"] else "exact" if default["exact"] else "not checked"
        predicted = default.get("predicted")
        seconds = default.get("seconds")
        cells = [
            name,
            float_cell(facts["float"]),
            accepted,
            *(cell(facts[column]) for column in columns),
            "" if predicted is None else f"{predicted:.1f} dB",
            goal_cell(GOALS.get(name), default),
            "" if seconds is None else f"{seconds:.1f} s",
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if not default["accepted"]:
            reasons.append(f"* {name}: {default['reason']}")
    return "\n".join([*lines, *(["", "Refused:", "", *reasons] if reasons else [])])


def measure(
    network: Network,
    shared: Path,
    limit: int | None,
    cache: Path,
    columns: Sequence[str],
    activations: ActivationChoice,
) -> Facts:
    """In a process of its own, whose memory goes with it."""
    logging.disable(logging.WARNING)

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    return Measurement(network, shared, limit, Cache(cache), activations).run(columns, log)


def main() -> None:
    parser = table_parser(__doc__)
    parser.add_argument("--columns", default=",".join(COLUMNS), help=f"of {','.join(COLUMNS)}")
    samples = parser.add_mutually_exclusive_group()
    samples.add_argument("--limit", type=int, default=DEFAULT_SAMPLES, help="samples of each network")
    samples.add_argument("--full", action="store_true", help="all samples")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "dfqgen-zoo")
    parser.add_argument("--activations", choices=get_args(ActivationChoice), default="int8", help="of the C")
    parser.add_argument("--jobs", type=int, default=1, help="networks measured at a time")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    zoo = read_zoo(arguments.shared)
    names = chosen_names(parser, arguments.only, zoo)
    columns = list(dict.fromkeys(["default", *arguments.columns.split(",")]))
    if unknown := sorted(set(columns) - set(COLUMNS)):
        parser.error(f"unknown columns: {', '.join(unknown)}")
    limit = None if arguments.full else arguments.limit
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        futures = {
            name: pool.submit(
                measure, zoo[name], arguments.shared, limit, arguments.cache, columns, arguments.activations
            )
            for name in names
        }
        results, failed = {}, False
        for name, future in futures.items():
            try:
                results[name] = future.result()
            except Exception as error:  # the others' figures are not lost for it
                print(f"{name}: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
                failed = True
            # After each, so that what was found is there if somebody stops it.
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=2) + "\n")
            if arguments.write:
                replace_table(arguments.write, table(results, columns))
    print(table(results, columns))
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
