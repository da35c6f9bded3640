"""What to make of a build, in a sentence and its reasons."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.report.facts import Facts
from dfqgen.verify.against_float import FloatComparison
from dfqgen.verify.check import HostCheck
from dfqgen.verify.judge import says_nothing, shortfall

NEARLY_FULL = 0.9


def verdict_facts(
    check: HostCheck, sizes: Facts, target: Facts, comparison: FloatComparison, warnings: Sequence[str]
) -> Facts:
    """`level` is good, doubtful or bad, as the worst of the `points`; each has a level and a text."""
    points = [_bits(check), *_room(sizes, target), *_distances(comparison)]
    if warnings:
        count = "a warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        points.append(_point("doubtful", f"{count}: read {'it' if len(warnings) == 1 else 'them'} below"))
    levels = {point["level"] for point in points}
    level = next((level for level in ("bad", "doubtful") if level in levels), "good")
    return {"level": level, "text": TEXTS[level], "points": points}


TEXTS = {
    "good": "Ready to try on the board",
    "doubtful": "Usable, with doubts",
    "bad": "Not yet: outputs are far from the float network's",
}


def _point(level: str, text: str) -> Facts:
    return {"level": level, "text": text}


def _bits(check: HostCheck) -> Facts:
    if check.network is None:
        return _point("doubtful", "the C has not been compiled and compared with the reference")
    return _point("good", f"the C against the integer reference: {check.summary}")


def _room(sizes: Facts, target: Facts) -> list[Facts]:
    points = []
    for what, used, limit in (
        ("flash", sizes["flash_bytes"], target["flash_bytes"]),
        ("RAM", sizes["arena_bytes"], target["ram_bytes"]),
    ):
        if limit:
            level = "doubtful" if used > NEARLY_FULL * limit else "good"
            points.append(_point(level, f"{what}: {100 * used / limit:.1f} % of what there is"))
    return points


def _distances(comparison: FloatComparison) -> list[Facts]:
    points = []
    for output in comparison.outputs:
        wrong = shortfall(output)
        level, words = ("bad", f"is far from float: {wrong}") if wrong else ("good", "is close to float")
        if says_nothing(output):
            level, words = "doubtful", "hardly moves, which tells nothing of how good it is"
        points.append(_point(level, f"{output.name} {words}, on {comparison.source}"))
    return points
