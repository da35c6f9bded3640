"""Where a program runs row by row: the cheapest parts of its schedule that keep the arena small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dfqgen.kernels.rows import Segment
from dfqgen.plan.rows import Piece


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Steps `begin` to `end` - 1 row by row: the arena meanwhile, and instructions more than whole layers.

    Without a `segment` both are estimates.
    """

    begin: int
    end: int
    size_bytes: int
    instructions: float
    piece: Piece
    segment: Segment | None


def partition(
    parts: Iterable[Part],
    peaks: Sequence[int],
    allowed: float,
    simulate: Callable[[Part], Part | None],
    *,
    whole_first: bool,
    lean: bool,
) -> list[Part]:
    """The parts that run row by row, all others whole: the smallest arena for `allowed` instructions more.

    `peaks` are the bytes of whole steps. Of the ways that need the least at their worst step, the one with
    the fewest instructions; `lean`: the one with the least above half of that, which is easier to place.
    Estimates of what is chosen are replaced by what `simulate` finds, until all that is chosen is known. The
    first step may run whole where `whole_first`. Empty where nothing gets smaller.
    """
    by_begin: dict[int, list[Part]] = {}
    for part in parts:
        by_begin.setdefault(part.begin, []).append(part)
    while True:
        chosen = _smallest(by_begin, peaks, allowed, whole_first=whole_first, lean=lean)
        unknown = [part for part in chosen if part.segment is None]
        if not unknown:
            return chosen
        for part in unknown:
            others = by_begin[part.begin]
            known = simulate(part)
            others.remove(part)
            if known is not None:
                others.append(known)


def _smallest(
    by_begin: Mapping[int, list[Part]],
    peaks: Sequence[int],
    allowed: float,
    *,
    whole_first: bool,
    lean: bool,
) -> list[Part]:
    """The best way through all steps with the lowest limit that is allowed, by bisection."""
    limits = sorted({*peaks, *(part.size_bytes for parts in by_begin.values() for part in parts)})
    low, high, best = 0, len(limits) - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = _best_way(by_begin, peaks, limits[middle], whole_first=whole_first, lean=lean)
        if found is not None and sum(part.instructions for part in found) <= allowed:
            best, high = found, middle - 1
        else:
            low = middle + 1
    return best or []


def _best_way(
    by_begin: Mapping[int, list[Part]],
    peaks: Sequence[int],
    limit_bytes: int,
    *,
    whole_first: bool,
    lean: bool,
) -> list[Part] | None:
    """Through all steps within a limit of bytes, by instructions or `lean`; None where there is no way."""
    reached: dict[int, tuple[tuple[int, float], list[Part]]] = {0: ((0, 0.0), [])}

    def excess(size_bytes: int, steps: int) -> int:
        return max(0, size_bytes - limit_bytes // 2) * steps if lean else 0

    for step, peak in enumerate(peaks):
        if step not in reached:
            continue
        (above, cost), way = reached.pop(step)
        onward: list[tuple[int, tuple[int, float], list[Part]]] = []
        if peak <= limit_bytes and (step or whole_first):
            onward.append((step + 1, (above + excess(peak, 1), cost), way))
        for part in by_begin.get(step, ()):
            if part.size_bytes <= limit_bytes:
                more = above + excess(part.size_bytes, part.end - step)
                onward.append((part.end, (more, cost + part.instructions), [*way, part]))
        for end, total, parts in onward:
            if end not in reached or total < reached[end][0]:
                reached[end] = total, parts
    return reached[len(peaks)][1] if len(peaks) in reached else None
