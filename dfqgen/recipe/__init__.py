"""What a build is made by: choices, settled at once into a recipe of small records."""

from dfqgen.recipe.choices import Choices, make_recipe
from dfqgen.recipe.records import Recipe

__all__ = ["Choices", "Recipe", "make_recipe"]
