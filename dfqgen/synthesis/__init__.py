from dfqgen.errors import UserError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise UserError(
        "synthesis needs PyTorch, which is not installed",
        "Install it with: pip install dfqgen[synthesis]",
    ) from error

from dfqgen.synthesis.adaround import AdaRound, Reconstruction, adaround
from dfqgen.synthesis.dsg import Synthesis, SynthesisOptions, synthesize
from dfqgen.synthesis.torch_graph import TorchGraph, torch_function

__all__ = [
    "AdaRound",
    "Reconstruction",
    "Synthesis",
    "SynthesisOptions",
    "TorchGraph",
    "adaround",
    "synthesize",
    "torch_function",
]
