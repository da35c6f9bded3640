"""What pairs on a Cortex-M7 and what waits, by the model that LLVM has of it."""

from __future__ import annotations

import pytest

from dfqgen.targets import load_target
from dfqgen.verify.disassembly import parse_disassembly
from dfqgen.verify.dual_issue import dual_issue_cycles, schedule, step_of

M7 = load_target("cortex-m7").dual_issue
assert M7 is not None


def cycles(*lines: str) -> int:
    """Of instructions in a row, from an empty pipeline."""
    text = "\t".join
    code = parse_disassembly(
        [
            "00000100 <f>:",
            *(f"     {256 + 4 * at:x}:\t{text(line.split(' ', 1))}" for at, line in enumerate(lines)),
        ]
    )
    assert len(code) == len(lines)
    assert M7 is not None
    return schedule([step_of(instruction, M7) for instruction in code.values()])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("add r0, r1, r2", "add r3, r4, r5"), 1),
        (("add r0, r1, r2", "add r3, r0, r5"), 2),
        (("adds r0, #1", "adds r0, #1"), 2),
        (("ldr r0, [r1, #0]", "ldr r2, [r1, #4]"), 1),
        (("ldr r0, [r1], #4", "ldr r2, [r1], #4"), 2),
        (("ldr r0, [r1, #0]", "add r2, r0, r3"), 2),
        (("ldrsb r0, [r1, #0]", "add r2, r0, r3"), 3),
        (("add r1, r1, r2", "ldr r0, [r1, #0]"), 3),
        (("add r0, r1, r2", "str r0, [r3, #0]"), 1),
        (("str r0, [r3, #0]", "str r1, [r3, #4]"), 2),
        (("smlad r0, r1, r2, r0", "smlad r3, r1, r2, r3"), 2),
        (("smlad r0, r1, r2, r0", "smlad r0, r4, r5, r0", "smlad r0, r6, r7, r0"), 3),
        (("smlad r0, r1, r2, r0", "ldr r1, [r3], #4"), 1),
        (("mul r0, r1, r2", "add r3, r0, r4"), 3),
        (("smlal r0, r1, r2, r3", "add r5, r1, r4"), 3),
        (("sxtb16 r0, r1", "add r2, r3, r4"), 1),
        (("add r2, r3, r4", "sxtb16 r0, r1"), 2),
        (("add r0, r1, r2, lsl #2", "add r3, r4, r5, asr #1"), 2),
        (("cmp r0, r1", "addne r2, r3, r4"), 2),
        (("cmp r0, r1", "bne.n 100 <f>"), 1),
        (("ldmia r0!, {r1, r2, r3, r4}", "add r5, r6, r7"), 3),
        (("sdiv r0, r1, r2", "add r3, r4, r5"), 8),
    ],
    ids=lambda value: " ; ".join(value) if isinstance(value, tuple) else str(value),
)
def test_cycles_in_a_row(lines: tuple[str, ...], expected: int) -> None:
    assert cycles(*lines) == expected


def test_a_loop_is_scheduled_as_it_goes_round() -> None:
    code = parse_disassembly(
        """
00000100 <loop>:
     100:\tldr.w\tr0, [r1], #4
     104:\tsubs\tr3, #1
     106:\tsmlad\tr2, r0, r5, r2
     10a:\tbne.n\t100 <loop>
     10c:\tbx\tlr
""".splitlines()
    )
    runs = {0x100: 10, 0x104: 10, 0x106: 10, 0x10A: 10, 0x10C: 1}
    assert M7 is not None
    # Two cycles a turn, one branch that was not foretold, and a return that never is.
    assert (
        dual_issue_cycles(runs, {0x10A: 9, 0x10C: 1}, code, M7) == 10 * 2 + M7.mispredict + 1 + M7.mispredict
    )
