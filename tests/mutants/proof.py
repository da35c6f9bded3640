"""Mutants of the proof, made from its own source: nothing to keep up when an operator is added.

Every `verify`, and every check it is made of, loses each of its statements in turn, and has each comparison's
bound and each constant moved by one. A mutant is killed when one of the edges (tests/fixedpoint/edges.py) or
of the programs beside them is judged otherwise.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint import proof
from dfqgen.fixedpoint.program import Program, QOp, QTensor
from tests.fixedpoint.test_proof import ACCEPTED, EDGES, REFUSED

Function = Callable[..., Any]
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A function of the proof: of a class, or used by name in any module of dfqgen."""

    function: Function
    owner: type | None = None

    @property
    def name(self) -> str:
        return self.function.__qualname__


@dataclass(frozen=True)
class ProofMutant:
    name: str
    subject: Subject
    function: Function


def subjects() -> Iterator[Subject]:
    """All functions of the proof, found by looking at the registered operators."""
    owners = [QTensor, Program, *(kind for _, kind in sorted(QOp.registry.items()))]
    for owner in owners:
        if owner.__module__.startswith("dfqgen."):
            for name in ("verify", "check_shapes", "largest_accumulator"):
                if name in vars(owner):
                    yield Subject(vars(owner)[name], owner)
    checks = {
        value
        for name, module in sorted(sys.modules.items())
        if name == proof.__name__ or name.startswith("dfqgen.ops.")
        for value in vars(module).values()
        if inspect.isfunction(value) and value.__name__.startswith("check_")
    }
    for function in sorted(checks, key=lambda function: function.__name__):
        yield Subject(function)


def mutants(subject: Subject) -> Iterator[ProofMutant]:
    """Each with one thing changed."""
    source = textwrap.dedent(inspect.getsource(subject.function))

    def mutant(what: str, line: int, tree: ast.Module) -> ProofMutant:
        namespace: dict[str, Any] = {}
        code = compile(ast.fix_missing_locations(tree), f"<mutant of {subject.name}>", "exec")
        exec(code, subject.function.__globals__, namespace)
        text = source.splitlines()[line - 1].strip()
        return ProofMutant(f"{subject.name}: {what}: {text}", subject, namespace[subject.function.__name__])

    tree = ast.parse(source)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    if subject.function.__name__ == "verify":
        definition.body = [ast.Return(None)]
        yield mutant("returns at once", 1, tree)
    for index, node in enumerate(ast.walk(ast.parse(source))):
        for what, change in _changes(node):
            copy = ast.parse(source)
            change(list(ast.walk(copy))[index])
            yield mutant(what, node.lineno, copy)  # type: ignore[attr-defined]


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    if isinstance(node, ast.If | ast.For) and any(isinstance(part, ast.Raise) for part in ast.walk(node)):
        yield "without", lambda found: _replace(found, ast.Pass())
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "without", lambda found: _replace(found, ast.Pass())
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            if type(operator) in _BOUNDARY:
                yield "bound of", partial(_exchange, place, _BOUNDARY[type(operator)])
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} + 1 in", lambda found: setattr(found, "value", found.value + 1)


def _exchange(place: int, other: type[ast.cmpop], found: Any) -> None:
    """Another operator in a comparison."""
    found.ops[place] = other()


def _replace(statement: ast.stmt, other: ast.stmt) -> None:
    """Turn a statement into another, in place."""
    statement.__class__ = other.__class__
    for name in list(vars(statement)):
        if name not in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
            delattr(statement, name)


@contextmanager
def applied(mutant: ProofMutant) -> Iterator[None]:
    """The mutant in place of the original, wherever that is bound."""
    original, owner = mutant.subject.function, mutant.subject.owner
    places: list[Any] = [owner] if owner else [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("dfqgen.") and getattr(module, original.__name__, None) is original
    ]  # fmt: skip
    for place in places:
        setattr(place, original.__name__, mutant.function)
    try:
        yield
    finally:
        for place in places:
            setattr(place, original.__name__, original)


def killed() -> bool:
    """Whether the proof, as it is now, judges an edge or a program wrongly."""
    judgements: list[tuple[Callable[[], None], str | None]] = []
    for edge in EDGES:
        for found, message in ((edge.inside, None), (edge.outside, f"op: {edge.message}")):
            judgements.append((lambda case=found: case.op.verify(case.inputs, case.output), message))  # type: ignore[misc]
    judgements += [(program.verify, None) for program in ACCEPTED.values()]
    judgements += [(program.verify, message) for message, program in REFUSED.items()]
    return any(_verdict(verify, message) for verify, message in judgements)


def _verdict(verify: Callable[[], None], message: str | None) -> bool:
    try:
        verify()
    except ProgramError as error:
        return message is None or re.search(re.escape(message), str(error)) is None
    except Exception:
        return True
    return message is not None


def survivors() -> tuple[list[str], int]:
    """Names of the mutants that no edge kills, and how many mutants there are."""
    assert not killed(), "the proof as it is must judge every edge rightly"
    names, count = [], 0
    for subject in list(subjects()):
        for mutant in mutants(subject):
            count += 1
            with applied(mutant):
                if not killed():
                    names.append(mutant.name)
    return names, count
