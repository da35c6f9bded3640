"""What a build is made by: choices, settled at once into a recipe of small records."""

from typing import TYPE_CHECKING

from dfqgen.lazy import on_demand

if TYPE_CHECKING:
    from dfqgen.recipe.choices import Choices, make_recipe
    from dfqgen.recipe.records import Recipe

__all__ = ["Choices", "Recipe", "make_recipe"]

__getattr__ = on_demand(
    __name__,
    {
        "Choices": "dfqgen.recipe.choices",
        "Recipe": "dfqgen.recipe.records",
        "make_recipe": "dfqgen.recipe.choices",
    },
)
