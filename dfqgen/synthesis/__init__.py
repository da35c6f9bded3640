"""Samples without data, and what needs gradients: DSG and AdaRound. The only part that uses PyTorch."""

from dfqgen.errors import UserError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise UserError(
        "synthesis needs PyTorch, which is not installed",
        "Install it with: pip install dfqgen[synthesis]",
    ) from error

from dfqgen.synthesis.adaround import AdaRound, AdaRoundSettings, Reconstruction
from dfqgen.synthesis.diversity import Diversity, diversity, plot_diversity
from dfqgen.synthesis.dsg import Synthesis, SynthesisOptions, generate_samples
from dfqgen.synthesis.samples import load_samples, save_contact_sheet, save_samples
from dfqgen.synthesis.torch_graph import TorchGraph, torch_function

__all__ = [
    "AdaRound",
    "AdaRoundSettings",
    "Diversity",
    "Reconstruction",
    "Synthesis",
    "SynthesisOptions",
    "TorchGraph",
    "diversity",
    "generate_samples",
    "load_samples",
    "plot_diversity",
    "save_contact_sheet",
    "save_samples",
    "torch_function",
]
