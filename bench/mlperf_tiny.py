"""What MLPerf Tiny's submitters measured on boards: published results of its closed division."""

from __future__ import annotations

from dataclasses import dataclass

NETWORKS = ("ic01", "vww01-dead", "kws01", "ad01")
"""As docs/speed.md names them."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Median inferences a second of NETWORKS, from results/<board>/<network>/performance/results.txt, and the
    clock that the submission's system description states.
    """

    board: str
    core: str
    clock_hz: int
    software: str
    round: str
    per_second: tuple[float, float, float, float]

    @property
    def cycles(self) -> list[int]:
        """Of one inference of each network."""
        return [round(self.clock_hz / rate) for rate in self.per_second]


# Board, core, clock in MHz, software, round, inferences a second.
_PUBLISHED = (
    ("NUCLEO-L4R5ZI", "cortex-m4", 120, "ST X-CUBE-AI 9.0", "v1.2", (6.056, 11.245, 23.155, 190.086)),
    ("NUCLEO-L4R5ZI-P", "cortex-m4", 120, "ST X-CUBE-AI 10.2", "v1.3", (6.036, 11.181, 23.032, 208.608)),
    ("NUCLEO-L4R5ZI", "cortex-m4", 120, "Plumerai 2023.05", "v1.1", (5.961, 10.126, 20.929, 246.814)),
    ("NUCLEO-L4R5ZI", "cortex-m4", 120, "Bosch HALE 1.0.175", "v1.2", (5.539, 5.540, 16.623, 171.375)),
    ("NUCLEO-L4R5ZI", "cortex-m4", 120, "Skymizer ONNC", "v1.1", (3.372, 5.056, 10.679, 124.906)),
    ("NUCLEO-L4R5ZI", "cortex-m4", 120, "Krai microTVM, CMSIS-NN", "v1.1", (2.567, 3.324, 10.019, 116.212)),
    ("NUCLEO-U575ZI-Q", "cortex-m33", 160, "Plumerai 2023.05", "v1.1", (9.589, 16.809, 33.286, 272.337)),
    ("NUCLEO-U575ZI-Q", "cortex-m33", 160, "ST X-CUBE-AI 9.0", "v1.2", (9.003, 16.870, 34.416, 291.589)),
    ("DISCO-F746NG", "cortex-m7", 216, "Plumerai 2023.05", "v1.1", (15.904, 29.343, 56.341, 585.204)),
    ("NUCLEO-H7A3ZI-Q", "cortex-m7", 280, "Plumerai 2023.05", "v1.1", (19.636, 37.290, 72.141, 742.001)),
    ("NUCLEO-H7A3ZI-Q", "cortex-m7", 280, "ST X-CUBE-AI 9.0", "v1.2", (24.483, 42.009, 88.356, 816.004)),
    ("NUCLEO-G0B1RE", "cortex-m0plus", 64, "Bosch HALE 1.0.175", "v1.2", (0.657, 0.707, 2.107, 24.454)),
)
"""From mlcommons/tiny_results_v1.1 (c32ef94), tiny_results_v1.2 (cadb362), tiny_results_v1.3 (cd605ea)."""

SUBMISSIONS = tuple(
    Submission(board, core, mhz * 1_000_000, software, number, rates)
    for board, core, mhz, software, number, rates in _PUBLISHED
)

PAIRS = tuple(
    (large, small)
    for large in SUBMISSIONS
    for small in SUBMISSIONS
    if (large.core, small.core) == ("cortex-m7", "cortex-m4")
    and (large.software, large.round) == (small.software, small.round)
)
"""The same software on a Cortex-M7 and a Cortex-M4, in one round."""
