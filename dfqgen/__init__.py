"""dfqgen: float ONNX networks to fixed-point C for microcontrollers, without training data."""

from typing import TYPE_CHECKING

import dfqgen.verify as _package
from dfqgen.lazy import on_demand

if TYPE_CHECKING:
    __version__: str
    from dfqgen.commands.build import BuildResult, build
    from dfqgen.commands.evaluate import Evaluation, evaluate
    from dfqgen.commands.run import run
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
    "Evaluation",
    "InputMeaning",
    "Recipe",
    "build",
    "evaluate",
    "load",
    "make_recipe",
    "quantize",
    "run",
    "verify",
]

__getattr__ = on_demand(
    __name__,
    {
        "__version__": "dfqgen.version",
        "Budget": "dfqgen.plan.budget",
        "BuildResult": "dfqgen.commands.build",
        "Choices": "dfqgen.recipe.choices",
        "Evaluation": "dfqgen.commands.evaluate",
        "InputMeaning": "dfqgen.samples.meaning",
        "Recipe": "dfqgen.recipe.records",
        "build": "dfqgen.commands.build",
        "evaluate": "dfqgen.commands.evaluate",
        "load": "dfqgen.frontend",
        "make_recipe": "dfqgen.recipe.choices",
        "quantize": "dfqgen.compile",
        "run": "dfqgen.commands.run",
        "verify": "dfqgen.commands.verify",
    },
)

# `verify` is the function's name too: a package that is imported already does not set its name again.
del _package, globals()["verify"]
