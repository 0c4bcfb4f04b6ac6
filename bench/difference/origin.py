"""What differs in how two result sets were made, and whether their numbers should agree."""

import json
from collections.abc import Mapping
from typing import Any

from bench.difference.sides import Side
from bench.storage.provenance import without_password

#: said of every run, and no reason for other numbers
_ALWAYS_OTHER = ("date", "started", "command")
#: where these differ, numbers need not agree
_DECISIVE = ("preset", "budgets", "data", "plan", "fields")


def origins_differing(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """Name, value in A and value in B of everything recorded about the making that is not the same in both.

    Of a points.csv only the preset is known; what only one side says is no difference then.
    """
    sides = [_origin(side) for side in (first, second)]
    names = (
        sides[0].keys() & sides[1].keys() if None in (first.index, second.index) else sides[0].keys() | sides[1].keys()
    )
    order = [name for name in {**sides[0], **sides[1]} if name in names]
    values = [(name, *(side.get(name, "not recorded") for side in sides)) for name in order]
    return [(name, one, other) for name, one, other in values if one != other]


def decisive(differing: list[tuple[str, str, str]]) -> list[str]:
    """Those names among the differences because of which numbers need not agree."""
    return [name for name, _, _ in differing if name.split(": ")[0] in _DECISIVE]


def same_start(first: Side, second: Side, stage: str, seeds: set[int]) -> bool:
    """Whether a seed stands for the same data, weights at the start and batches on both sides, as far as is recorded.

    Args:
        first: A.
        second: B.
        stage: of the method; a post-hoc one starts from the shared dense model, whose dev score must be the same.
        seeds: those that both have.
    """
    if first.index is None or second.index is None or not seeds:
        return False
    made = [side.index.get("setting", {}) for side in (first, second) if side.index]
    if any(made[0].get(name) != made[1].get(name) for name in ("data", "plan", "fields")):
        return False
    if stage != "post_hoc":
        return True
    return all(s in first.checkpoints and first.checkpoints[s] == second.checkpoints.get(s) for s in seeds)


def _origin(side: Side) -> dict[str, str]:
    made: dict[str, Any] = {"preset": side.name.split("/")[1]}
    if side.index is not None:
        setting = {k: v for k, v in side.index.get("setting", {}).items() if k not in ("task", "plan")}
        origin = {k: v for k, v in side.index.get("provenance", {}).items() if k not in _ALWAYS_OTHER}
        made |= {name: side.index.get(name) for name in ("budgets", "seeds", "work_unit", "plan")}
        made |= {"data": setting.pop("data", None), "fields": setting.pop("fields", {}), **origin}
        made |= {f"setting: {name}": value for name, value in setting.items()}
    return _flat(made)


def _flat(made: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested values under names such as ``packages: torch``, as text."""
    flat: dict[str, str] = {}
    for name, value in made.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}: ")
        else:
            flat[f"{before}{name}"] = without_password(value if isinstance(value, str) else json.dumps(value))
    return flat
