"""The deepest stack that a call of a function can need, from what GCC says of functions and their calls.

GCC writes both with -fcallgraph-info=su. Functions written in assembly have no entry there: what they push is
read from their disassembly. A call of the C library counts LIBRARY_BYTES.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dfqgen.verify.disassembly import words_listed

FLAG = "-fcallgraph-info=su"
LIBRARY_BYTES = 64
"""memcpy, memset and 64-bit division of newlib and picolibc push less."""

_NODE = re.compile(r'node: \{ title: "([^"]*)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"')
_BYTES = re.compile(r"\\n(\d+) bytes \((static|dynamic|dynamic,bounded)\)")
_HEADER = re.compile(r"[0-9a-f]+ <(.+)>:")


@dataclass(frozen=True, slots=True)
class CallGraph:
    """Stack of each function in bytes, None where GCC does not know it, and the functions that each calls."""

    stack_bytes: Mapping[str, int | None]
    calls: Mapping[str, frozenset[str]]


def read_call_graph(text: str, pushed: Mapping[str, int]) -> CallGraph:
    """The file that GCC writes; `pushed` is what functions push by their disassembly, by name."""
    stack: dict[str, int | None] = {}
    for title, label in _NODE.findall(text):
        name = title.rsplit(":", 1)[-1]
        found = _BYTES.search(label)
        if found is None:
            stack[title] = LIBRARY_BYTES if name != "__indirect_call" else 0
        elif found[2] == "dynamic":
            stack[title] = None
        else:
            stack[title] = max(int(found[1]), pushed.get(name, 0) if found[1] == "0" else 0)
    calls: dict[str, set[str]] = defaultdict(set)
    for source, target in _EDGE.findall(text):
        calls[source].add(target)
    return CallGraph(stack, {source: frozenset(targets) for source, targets in calls.items()})


def pushed_bytes(disassembly: Iterable[str]) -> dict[str, int]:
    """Bytes by which each function lowers the stack pointer, all its pushes added up (Arm and RISC-V)."""
    result: dict[str, int] = {}
    function = ""
    for line in disassembly:
        if header := _HEADER.match(line):
            function = header[1]
            result[function] = 0
        elif push := re.search(r"\t(?:push|stmdb(?:\.w)?\tsp!,|vpush)\s*(\{[^}]*\})", line):
            result[function] += 4 * words_listed(push[1])
        elif lowered := re.search(r"\tsub(?:\.w|w)?\tsp, (?:sp, )?#(\d+)", line):
            result[function] += int(lowered[1])
        elif stored := re.search(r"\tstr[d]?(?:\.w)?\t.*\[sp, #-(\d+)\]!", line):
            result[function] += int(stored[1])
        elif lowered := re.search(r"\taddi\tsp,sp,-(\d+)", line):
            result[function] += int(lowered[1])
    return result


def reached(function: str, calls: Mapping[str, Collection[str]]) -> frozenset[str]:
    """All that a function calls, and what that calls."""
    found: set[str] = set()
    waiting = set(calls.get(function, ()))
    while waiting:
        found |= waiting
        waiting = {target for name in waiting for target in calls.get(name, ())} - found
    return frozenset(found)


def deepest_bytes(graph: CallGraph, function: str) -> int | None:
    """Of a call of `function`, callees and all; None where a function has no bound, or calls itself.

    An indirect call may reach any function that nothing calls by name.
    """
    called = frozenset[str]().union(*graph.calls.values())
    unnamed = frozenset(graph.stack_bytes) - called - {function}
    known: dict[str, int | None] = {}
    open_calls: set[str] = set()

    def depth(name: str) -> int | None:
        if name in known:
            return known[name]
        if name in open_calls:
            return None
        open_calls.add(name)
        targets = unnamed if name.endswith("__indirect_call") else graph.calls.get(name, frozenset())
        own, below = graph.stack_bytes.get(name, LIBRARY_BYTES), [depth(target) for target in sorted(targets)]
        open_calls.discard(name)
        deepest = (
            None
            if own is None or None in below
            else own + max((b for b in below if b is not None), default=0)
        )
        known[name] = deepest
        return deepest

    return depth(function)
