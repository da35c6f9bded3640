"""Which builds are worth showing, and which are tried."""

from __future__ import annotations

from dfqgen.explore.front import mark_front, measure_of
from dfqgen.explore.space import variations
from dfqgen.recipe.choices import Choices
from dfqgen.report.facts import Facts


def point(**facts: object) -> Facts:
    usual: Facts = {"model": "m", "target": "t", "accuracy": 0.9, "agreement": 0.9, "sqnr_db": 20.0}
    return {**usual, "flash_bytes": 100, "arena_bytes": 100, "seconds": 1.0, **facts}


def fronts(*points: Facts) -> list[bool]:
    return [found["front"] for found in mark_front(points)]


def test_a_point_is_beaten_only_by_one_as_good_in_everything() -> None:
    assert fronts(point(), point(flash_bytes=90, accuracy=0.8)) == [True, True]
    assert fronts(point(), point(flash_bytes=90)) == [False, True]
    assert fronts(point(), point()) == [True, True]


def test_targets_do_not_compete_and_models_only_on_labels() -> None:
    assert fronts(point(), point(flash_bytes=90, target="u")) == [True, True]
    assert fronts(point(), point(flash_bytes=90, model="n")) == [False, True]
    assert fronts(point(accuracy=None), point(flash_bytes=90, model="n", accuracy=None)) == [True, True]


def test_the_measure_is_one_that_all_points_have() -> None:
    assert measure_of([point(), point()]) == "accuracy"
    assert measure_of([point(), point(accuracy=None)]) == "agreement"
    assert measure_of([point(agreement=None, accuracy=None)]) == "sqnr_db"


def test_variations_keep_what_the_user_chose() -> None:
    assert variations(Choices(bits="4", activations="int8"), 10) == [Choices(bits="4", activations="int8")]
    found = variations(Choices(target="host"), 6)
    assert [choices.get("activations") for choices in found] == ["int8"] * 3 + ["int16"] * 3
    assert [choices.get("flash_budget") for choices in found[:3]] == [None, "67.5%", "35%"]
    assert variations(Choices(), 1) == [Choices()]
