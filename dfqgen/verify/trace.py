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
        self.segments: Sequence[Mapping[str, Any]] = rows["segments"] if rows else []
        self.segment: Mapping[str, Any] | None = None
        self.layer: int | None = None

    def before_layer(self, layer: int) -> None:
        """What the probe calls: a block of rows or a layer has ended, and another begins."""
        if self.segment is not None:
            self._copy_rows(self.segment)
        elif self.layer is not None:
            start = int(self.layers[self.layer]["output_offset"])
            self._copy(self.layer, 0, start, self.outputs[self.layer].nbytes)
        within = (s for s in self.segments if s["begin"] <= layer < s["begin"] + s["layers"])
        self.segment = next(within, None)
        self.layer = layer if layer < len(self.layers) else None

    def _copy_rows(self, segment: Mapping[str, Any]) -> None:
        bands = segment["bands"]
        counters = (
            self.arena[int(segment["counters_offset"]) :][: 8 * len(bands)].view(np.int32).reshape(-1, 2)
        )
        sources = len(bands) - int(segment["layers"])
        for index, band in enumerate(bands[sources:]):
            first, end = counters[sources + index].tolist()
            layer = int(segment["begin"]) + index
            row_bytes = int(band["row_bytes"])
            height = self.outputs[layer].nbytes // row_bytes
            for row in range(max(first, 0), min(end, height)):
                self._copy(layer, row * row_bytes, int(band["offset"]) + (row - first) * row_bytes, row_bytes)

    def _copy(self, layer: int, at: int, start: int, count: int) -> None:
        self.outputs[layer].reshape(-1).view(np.int8)[at : at + count] = self.arena[start : start + count]
