"""The Pareto front: points that no other one beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.report.facts import Facts

COSTS = ("flash_bytes", "arena_bytes", "seconds")


def measure_of(points: Sequence[Facts]) -> str:
    """What all points have: accuracy on labels, else agreement with float, else the SQNR."""
    for measure in ("accuracy", "agreement"):
        if points and all(point.get(measure) is not None for point in points):
            return measure
    return "sqnr_db"


def mark_front(points: Sequence[Facts]) -> list[Facts]:
    """The points with "front": whether none of the same target is at least as good in everything, and better
    in something. Models compete where there are labels; SQNRs of different models do not compare.
    """
    measure = measure_of(points)

    def group(point: Facts) -> tuple[str, str]:
        return point["target"], "" if measure == "accuracy" else point["model"]

    return [
        {**point, "front": not any(_beats(o, point, measure) for o in points if group(o) == group(point))}
        for point in points
    ]


def _beats(other: Facts, point: Facts, measure: str) -> bool:
    ours, theirs = _merits(point, measure), _merits(other, measure)
    return theirs != ours and all(t >= o for t, o in zip(theirs, ours, strict=True))


def _merits(point: Facts, measure: str) -> list[float]:
    """Larger is better."""
    quality = point[measure]
    return [
        float("-inf") if quality is None else quality,
        *(-(point[cost] if point[cost] is not None else 0.0) for cost in COSTS),
    ]
