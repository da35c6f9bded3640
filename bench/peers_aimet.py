"""AIMET's part of bench/peers.py: run by the interpreter AIMET is installed for, which has no dfqgen.

    AIMET_PYTHON bench/peers_aimet.py MODEL SAMPLES.npz OUTPUTS.npz

SAMPLES holds `images` and one array for each way to calibrate, all [N, ...] as the network takes them.
OUTPUTS gets one array [N, classes] for each of METHODS, granularity and way to calibrate.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import aimet_onnx
import aimet_onnx.common.quantsim_config as configs
import numpy as np
import onnx
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
from aimet_onnx.cross_layer_equalization import equalize_model
from aimet_onnx.quantsim import QuantizationSimModel, compute_encodings

METHODS = ("quantsim", "equalized")
CONFIGS = {"per-tensor": "default_config.json", "per-channel": "default_config_per_channel.json"}


def simulated(model: Path, calibration: Any, images: Any, method: str, config: str) -> Any:
    """Outputs of AIMET's simulation: int8 weights and activations, min-max ranges, its own defaults else."""
    proto = onnx.load(str(model))
    (equalize_model if method == "equalized" else fold_all_batch_norms_to_weight)(proto)
    folder = Path(configs.__path__[0])
    simulation = QuantizationSimModel(proto, config_file=str(folder / config))
    name = proto.graph.input[0].name
    with compute_encodings(simulation):
        for image in calibration:
            simulation.session.run(None, {name: image[None]})
    return np.concatenate([simulation.session.run(None, {name: image[None]})[0] for image in images])


def main() -> None:
    model, samples, outputs = map(Path, sys.argv[1:])
    arrays = dict(np.load(samples))
    images = arrays.pop("images")
    found = {
        f"{method} {granularity} {source}": simulated(model, calibration, images, method, config)
        for method in METHODS
        for granularity, config in CONFIGS.items()
        for source, calibration in arrays.items()
    }
    np.savez(outputs, version=np.array(aimet_onnx.__version__), **found)


if __name__ == "__main__":
    main()
