"""Imports point one way: a module may import what stands above it in `FLOW`, and what stands beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.models import ROOT

PACKAGE = ROOT / "dfqgen"

FLOW = (
    "errors resources files units progress lazy memory version notebook",
    "targets",
    "fixedpoint",
    "statistics.gaussian statistics.channel",
    "graph.site graph.ir",
    "ops",
    "fixedpoint.serialize fixedpoint.text graph",
    "statistics",
    "samples",
    "recipe",
    "passes",
    "frontend graph.reference",
    "quantization",
    "synthesis",
    "methods",
    "kernels",
    "plan",
    "emit",
    "export",
    "verify",
    "report",
    "compile",
    "goals explore",
    "commands",
    "cli",
)
"""From what knows nothing to what knows all; names on one line may know each other."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and name != "__main__" and "_data" not in parts:
            yield name, path


def imports(path: Path, *, types: bool = True) -> Iterator[str]:
    """Modules of the package that a file imports, at the top or inside a function; `types` also those that
    only type checkers see.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not types:
        tree.body = [node for node in tree.body if not _for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dfqgen":
            for alias in node.names:
                full = f"{node.module}.{alias.name}".removeprefix("dfqgen.")
                yield full if _is_module(full) else node.module.removeprefix("dfqgen").lstrip(".")
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("dfqgen.") for a in node.names if a.name.startswith("dfqgen."))


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_module(name: str) -> bool:
    path = PACKAGE / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def level(module: str) -> int:
    """The line of the longest name in FLOW that the module is, or is in."""
    found = [
        (len(name), index)
        for index, line in enumerate(FLOW)
        for name in line.split()
        if module == name or module.startswith(f"{name}.")
    ]
    assert found, f"{module} has no place in FLOW"
    return max(found)[1]


def test_imports_point_up_the_flow_only() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in modules()
        for other in imports(path)
        if other and level(other) > level(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: {other for other in imports(path, types=False) if other} for name, path in modules()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_methods_and_commands_meet_pytorch() -> None:
    users = {
        name.split(".")[0] for name, path in modules() for other in imports(path) if "synthesis" in other
    }
    assert users <= {"synthesis", "methods", "commands"}


def test_the_root_holds_no_rooms_beside_the_flow() -> None:
    names = {name for line in FLOW for name in line.split()}
    rooms = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert rooms <= names
