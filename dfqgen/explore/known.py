"""What an earlier search measured of a network on a target, for the report of one build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfqgen.errors import UserError
from dfqgen.explore.front import COSTS
from dfqgen.explore.pages import SCALES, label_of
from dfqgen.files import read_regular
from dfqgen.report.facts import Facts

RESULTS = "explore.json"


def known_points(folder: Path, model: str, target: str) -> Facts:
    """The points of `model` (its file's name without ending) on `target` in a folder of `dfqgen explore`.

    {"measure", "label", "scale", "points"}; the measure is what quality means. Raises UserError where there
    are none.
    """
    path = folder / RESULTS
    try:
        facts = json.loads(read_regular(path).decode("utf-8"))
        measure = facts["measure"]
        label = label_of(measure)
        scale = SCALES.get(measure, 1)
        points = [_point(point, measure, scale) for point in facts["points"] if _is_of(point, model, target)]
    except (UnicodeDecodeError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: is no result of dfqgen explore ({error})") from None
    if not points:
        raise UserError(
            f"{path}: has no point of {model!r} on {target}", "Give the folder of a search of this network."
        )
    return {"measure": measure, "label": label, "scale": scale, "points": points}


def _is_of(point: Mapping[str, Any], model: str, target: str) -> bool:
    return point["model"] == model and point["target"] == target


def _point(point: Mapping[str, Any], measure: str, scale: float) -> Facts:
    """Numbers, what was chosen, and whether no other point beats it. Raises TypeError for something else."""
    found = {"quality": point[measure], **{cost: point[cost] for cost in COSTS}}
    for key, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise TypeError(f"{key} is {value!r}")
    if found["quality"] is not None:
        found["quality"] *= scale
    return found | {"front": point["front"] is True, "choice": str(point["choice"])}
