"""dfqgen: float ONNX networks to fixed-point C for microcontrollers, without training data."""

from typing import TYPE_CHECKING

import dfqgen.explore as _explore
import dfqgen.export as _export
import dfqgen.verify as _verify
from dfqgen.lazy import on_demand

if TYPE_CHECKING:
    __version__: str
    from dfqgen.commands.build import BuildResult, build
    from dfqgen.commands.evaluate import Evaluation, evaluate
    from dfqgen.commands.explore import explore
    from dfqgen.commands.export import export
    from dfqgen.commands.run import run
    from dfqgen.commands.verify import verify
    from dfqgen.compile import quantize
    from dfqgen.explore.search import Search
    from dfqgen.fixedpoint.program import Program
    from dfqgen.frontend import load
    from dfqgen.plan.budget import Budget
    from dfqgen.recipe import Choices, Recipe, make_recipe
    from dfqgen.samples.files import Samples
    from dfqgen.samples.meaning import InputMeaning

__all__ = [
    "Budget",
    "BuildResult",
    "Choices",
    "Evaluation",
    "InputMeaning",
    "Program",
    "Recipe",
    "Samples",
    "Search",
    "build",
    "evaluate",
    "explore",
    "export",
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
        "Program": "dfqgen.fixedpoint.program",
        "Recipe": "dfqgen.recipe.records",
        "Samples": "dfqgen.samples.files",
        "Search": "dfqgen.explore.search",
        "build": "dfqgen.commands.build",
        "evaluate": "dfqgen.commands.evaluate",
        "explore": "dfqgen.commands.explore",
        "export": "dfqgen.commands.export",
        "load": "dfqgen.frontend",
        "make_recipe": "dfqgen.recipe.choices",
        "quantize": "dfqgen.compile",
        "run": "dfqgen.commands.run",
        "verify": "dfqgen.commands.verify",
    },
)

# These are functions' names too: a package that is imported already does not set its name again.
del _explore, _export, _verify, globals()["explore"], globals()["export"], globals()["verify"]
