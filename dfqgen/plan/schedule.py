"""The order of operators that needs the least memory at its worst step.

A state is the set of operators already run (a bit mask); the bytes alive depend on nothing else.
The cheapest path by its largest step is found exactly, best first, while the states are few, and by a
beam otherwise. Both see in-place operation: a step counts what it needs after its best overlap.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfqgen.plan.lifetimes import overlap_gain_bytes
from dfqgen.plan.workload import Workload

EXACT_STATES = 20_000
BEAM_WIDTH = 48


def best_order(workload: Workload, exact_states: int = EXACT_STATES) -> tuple[int, ...]:
    """The order of works with the smallest peak; the program's own order where it is as good."""
    own = tuple(range(len(workload.works)))
    space = _Space(workload)
    own_peak = space.peak(own)
    if own_peak <= space.unavoidable_bytes():
        return own
    beam = space.beam(BEAM_WIDTH)
    beam_peak = space.peak(beam)
    best = beam if beam_peak < own_peak else own
    exact = space.search(min(own_peak, beam_peak), exact_states)
    return best if exact is None else exact


def peak_bytes(workload: Workload, order: Sequence[int]) -> int:
    """Bytes at the worst step of an order, each step after its best overlap: no placement can use fewer."""
    return _Space(workload).peak(order)


def peaks_by_step(workload: Workload, order: Sequence[int]) -> list[int]:
    """Bytes at each step of an order after its best overlap."""
    space = _Space(workload)
    state, peaks = space.start, []
    for index in order:
        state = space.step(replace(state, peak_bytes=0), index)
        peaks.append(state.peak_bytes)
    return peaks


@dataclass(frozen=True, slots=True)
class _State:
    done: int  # mask of works
    live_bytes: int
    peak_bytes: int


class _Space:
    """The states reachable in a workload and what a step between them costs."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        works = workload.works
        producer = {work.writes: index for index, work in enumerate(works)}
        self.needs = [
            sum(1 << producer[buffer] for buffer in work.reads if buffer in producer) for work in works
        ]
        self.users = dict.fromkeys(workload.sizes_bytes, 0)
        for index, work in enumerate(works):
            for buffer in work.reads:
                self.users[buffer] |= 1 << index
        self.all_done = (1 << len(works)) - 1
        unused = [b for b in workload.inputs if not self.users[b] and b not in workload.outputs]
        inputs_bytes = sum(workload.sizes_bytes[buffer] for buffer in workload.inputs)
        kept = inputs_bytes - sum(workload.sizes_bytes[buffer] for buffer in unused)
        self.start = _State(0, kept, inputs_bytes)

    def ready(self, done: int) -> list[int]:
        """Works whose inputs exist, in program order."""
        return [
            index for index, needs in enumerate(self.needs) if not done >> index & 1 and needs & ~done == 0
        ]

    def step(self, state: _State, index: int) -> _State:
        work = self.workload.works[index]
        sizes = self.workload.sizes_bytes
        outputs = self.workload.outputs
        done = state.done | 1 << index
        dying = [b for b in work.reads if self.users[b] & ~done == 0 and b not in outputs]
        output = sizes[work.writes]
        during = state.live_bytes + output + work.scratch_bytes - overlap_gain_bytes(work, dying, sizes)
        live = state.live_bytes + output - sum(sizes[buffer] for buffer in dying)
        if not self.users[work.writes] and work.writes not in outputs:
            live -= output
        return _State(done, live, max(state.peak_bytes, during))

    def peak(self, order: Sequence[int]) -> int:
        state = self.start
        for index in order:
            state = self.step(state, index)
        return state.peak_bytes

    def unavoidable_bytes(self) -> int:
        """What some step, the start or the end needs in any order."""
        sizes = self.workload.sizes_bytes
        bound = max(self.start.peak_bytes, sum(sizes[buffer] for buffer in self.workload.outputs))
        for work in self.workload.works:
            together = sum(sizes[buffer] for buffer in work.reads) + sizes[work.writes] + work.scratch_bytes
            gain = overlap_gain_bytes(work, work.reads, sizes)
            bound = max(bound, together - gain)
        return bound

    def search(self, limit_bytes: int, state_limit: int) -> tuple[int, ...] | None:
        """The order with the smallest peak, if below `limit_bytes` and found within `state_limit` states."""
        best_peak = {0: self.start.peak_bytes}
        last_step: dict[int, int] = {}  # state -> the work that led to it on its best path
        queue = [(self.start.peak_bytes, 0, 0, self.start)]
        expanded = pushed = 0
        while queue and expanded < state_limit:
            peak, _, _, state = heapq.heappop(queue)
            if peak > best_peak[state.done]:
                continue
            if state.done == self.all_done:
                return _trace(last_step, state.done)
            expanded += 1
            for index in self.ready(state.done):
                after = self.step(state, index)
                if after.peak_bytes >= best_peak.get(after.done, limit_bytes):
                    continue
                best_peak[after.done] = after.peak_bytes
                last_step[after.done] = index
                pushed += 1
                # Deepest first among equals reaches an end soon; then in program order.
                heapq.heappush(queue, (after.peak_bytes, -after.done.bit_count(), pushed, after))
        return None

    def beam(self, width: int) -> tuple[int, ...]:
        """A good order: the `width` best states after each step, by peak, then by bytes alive."""
        layer: list[tuple[_State, tuple[int, ...]]] = [(self.start, ())]
        for _ in self.workload.works:
            reached: dict[int, tuple[_State, tuple[int, ...]]] = {}
            for state, order in layer:
                for index in self.ready(state.done):
                    after = self.step(state, index)
                    other = reached.get(after.done)
                    if other is None or after.peak_bytes < other[0].peak_bytes:
                        reached[after.done] = (after, (*order, index))
            layer = sorted(reached.values(), key=_promise)[:width]
        return layer[0][1]


def _trace(last_step: dict[int, int], done: int) -> tuple[int, ...]:
    order = []
    while done:
        index = last_step[done]
        order.append(index)
        done &= ~(1 << index)
    return tuple(reversed(order))


def _promise(item: tuple[_State, tuple[int, ...]]) -> tuple[int, int, tuple[int, ...]]:
    state, order = item
    return state.peak_bytes, state.live_bytes, order
