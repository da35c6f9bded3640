"""dfqgen: float ONNX networks to fixed-point C for microcontrollers, without training data."""

import importlib.metadata

__version__ = importlib.metadata.version("dfqgen")

from dfqgen.commands.build import BuildResult, build
from dfqgen.commands.verify import verify
from dfqgen.compile import quantize
from dfqgen.frontend import load
from dfqgen.plan.budget import Budget
from dfqgen.recipe import Choices, Recipe, make_recipe
from dfqgen.samples.meaning import InputMeaning

__all__ = [
    "Budget",
    "BuildResult",
    "Choices",
    "InputMeaning",
    "Recipe",
    "build",
    "load",
    "make_recipe",
    "quantize",
    "verify",
]
