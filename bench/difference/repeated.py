"""Models that have the same key on both sides: everything that decides their result is the same, so they must agree."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench.difference.sides import Side
from bench.report.numbers import known

#: what belongs to the comparison a model stands in, or to the machine's folders, and not to the model
_NOT_THE_MODEL = ("task", "preset", "method", "stage", "control", "trial", "chosen", "reason", "run_id", "key")
#: how names of columns begin or end that hold times and memory, which no machine repeats
_MEASURED_BEFORE, _MEASURED_AFTER = ("latency",), ("_s", "_ms", "_mb")


@dataclass(frozen=True)
class Disagreement:
    """A model that was trained twice under the same key and came out differently.

    Attributes:
        method: its method.
        seed: its seed.
        key: its key.
        columns: value in A and value in B of every column that differs.
    """

    method: str
    seed: int
    key: str
    columns: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Repeated:
    """What the keys of two result sets tell.

    Attributes:
        agreeing: how many models, by method, have the same key and agree to the bit.
        disagreeing: those that do not.
        only_first: how many keys, by method, only A has.
        only_second: likewise B.
    """

    agreeing: Counter[str]
    disagreeing: list[Disagreement]
    only_first: Counter[str]
    only_second: Counter[str]


def repeated_models(first: Side, second: Side) -> Repeated:
    """Compare the models that have the same key, in all columns but times and memory; nothing if keys are unknown."""
    one, other = _by_key(first), _by_key(second)
    if not (one and other):
        return Repeated(Counter(), [], Counter(), Counter())
    columns = [name for name in first.table if name in second.table and _of_the_model(str(name))]
    agreeing: Counter[str] = Counter()
    disagreeing = []
    for key in (key for key in one if key in other):
        pairs = {str(name): (one[key][str(name)], other[key][str(name)]) for name in columns}
        differing = {name: (a, b) for name, (a, b) in pairs.items() if known(a) and known(b) and a != b}
        if differing:
            disagreeing.append(Disagreement(str(one[key]["method"]), int(one[key]["seed"]), key, differing))
        else:
            agreeing[str(one[key]["method"])] += 1
    only = [Counter(str(a[key]["method"]) for key in a if key not in b) for a, b in ((one, other), (other, one))]
    return Repeated(agreeing, disagreeing, *only)


def _by_key(side: Side) -> dict[str, dict[str, Any]]:
    return {str(row["key"]): row for row in side.rows if known(row.get("key"))}


def _of_the_model(column: str) -> bool:
    return not (column in _NOT_THE_MODEL or column.startswith(_MEASURED_BEFORE) or column.endswith(_MEASURED_AFTER))
