"""What every layer has computed, copied out of the arena while a network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dfqgen.fixedpoint.qtype import Array


class LayerTrace:
    """Copies what layers have written, as a probe is called: whole outputs, or the rows that are new.

    `layers` and `rows` are the manifest's; `rows` is empty where no layers run row by row.
    """

    def __init__(self, layers: Sequence[Mapping[str, Any]], rows: Mapping[str, Any], arena: Array) -> None:
        self.arena = arena
        self.layers = layers
        self.outputs = [
            np.zeros(layer["output_shape"], np.dtype(layer.get("output_type", "int8"))) for layer in layers
        ]
        self.bands = rows["bands"][1:] if rows else []
        self.counters = int(rows["counters_offset"]) + 8 if rows else 0

    def before_layer(self, layer: int) -> None:
        """What the probe calls."""
        if self.bands and layer <= len(self.bands):
            self._copy_rows()
        elif layer > 0:
            start = int(self.layers[layer - 1]["output_offset"])
            self._copy(layer - 1, 0, start, self.outputs[layer - 1].nbytes)

    def _copy_rows(self) -> None:
        counters = self.arena[self.counters :][: 8 * len(self.bands)].view(np.int32).reshape(-1, 2)
        for index, (band, (first, end)) in enumerate(zip(self.bands, counters.tolist(), strict=True)):
            row_bytes, height = int(band["row_bytes"]), self.outputs[index].shape[1]
            for row in range(max(first, 0), min(end, height)):
                self._copy(index, row * row_bytes, int(band["offset"]) + (row - first) * row_bytes, row_bytes)

    def _copy(self, layer: int, at: int, start: int, count: int) -> None:
        self.outputs[layer].reshape(-1).view(np.int8)[at : at + count] = self.arena[start : start + count]
