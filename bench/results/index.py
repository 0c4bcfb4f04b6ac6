"""The index of a comparison: which trials belong to it. Every setting of a preset is a comparison of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from bench.errors import BenchError
from bench.plugins.method import Stage
from bench.plugins.registry import load_task
from bench.plugins.task import Metric
from bench.storage.cache import content_key
from bench.storage.files import read_json, write_json

if TYPE_CHECKING:  # it imports PyTorch, which a report does without
    from bench.trial.setting import Setting

INDEX = "comparison.json"
COMPARISONS = "comparisons"
KEY_LENGTH = 8  # of the keys that are shown
#: of a trial of the study, of one of its settings that is looked at again, or of a chosen one with another seed
Role = Literal["search", "look", "repeat"]


def comparison_folder(results: Path, task: str, preset: str) -> Path:
    """Where the results of a task and preset are; always inside the results folder.

    Raises:
        BenchError: a name cannot be one of a task or a preset, such as ``..``.
    """
    for name in (task, preset):
        if name in ("", ".", "..") or Path(name).name != name:
            raise BenchError(
                f"{name!r} cannot be the name of a task or a preset; `bench list` shows the tasks there are"
            )
    return results / task / preset


@dataclass(frozen=True)
class TrialEntry:
    """A finished trial in the index of a comparison."""

    key: str  # names its folder
    trial: int  # its number in the study of the method; repeats have the number of the trial that they repeat
    seed: int
    role: Role
    budget: float | None  # share of the dense compute that was asked for; None if the method takes no budget
    settings: dict[str, Any]  # of the method: those that its name fixes, and those that were searched
    chosen: bool  # whether it is read on eval


@dataclass(frozen=True)
class MethodEntry:
    """A method in the index of a comparison, with its finished trials."""

    stage: Stage
    control: bool
    trials: list[TrialEntry]


@dataclass(frozen=True)
class _Setting:
    fields: dict[str, str]


@dataclass(frozen=True)
class _Index:
    """What an index must hold to be read; of several versions, so that other names may be there."""

    identity: str
    task: str
    preset: str
    metric: Metric
    work_unit: str
    setting: _Setting
    methods: dict[str, MethodEntry]


_INDEX_SHAPE = TypeAdapter(_Index)


def read_index(path: Path) -> dict[str, Any] | None:
    """The index of a comparison, or None if it is not there, damaged or of another shape."""
    index = read_json(path)
    try:
        _INDEX_SHAPE.validate_python(index)
    except ValidationError:
        return None
    return index


def write_index(
    folder: Path,
    setting: "Setting",
    methods: Mapping[str, MethodEntry],
    *,
    best_possible: Sequence[tuple[float, float]],
    budgets: Sequence[float],
    trials: int,
    seeds: int,
    predicted: Mapping[str, Sequence[tuple[float, float]]] = MappingProxyType({}),
    provenance: Mapping[str, Any],
) -> None:
    """Write the index of a comparison; entries of methods that took no part this time stay.

    A preset may be run with several models or data sets: each is a comparison of its own, kept under its identity, and
    ``comparison.json`` is the latest.

    Args:
        methods: by their method specs.
        best_possible: shares of the dense compute and the best score that any model can have there; those of earlier
            trials stay.
        budgets: shares of the dense compute.
        trials: of every method, as asked for.
        seeds: trainings of every chosen point.
        predicted: what models were told to cost and what they did, by how their files are made.
    """
    task = load_task(setting.task)
    widths = {"width_multiple": setting.width_multiple, "width_groups": " ".join(setting.width_groups) or "all"}
    widths |= {"cost": setting.cost, "prices": dict(setting.prices), **setting.timed_in}
    identity = content_key({**setting.made_from, **widths})
    kept = folder / COMPARISONS / f"{identity}.json"
    before = read_index(kept) or {}
    index = {
        "budgets": budgets,
        "trials": trials,
        "seeds": seeds,
        "predicted": dict(predicted),
        "provenance": provenance,
        "identity": identity,
        "task": setting.task,
        "preset": setting.preset,
        "metric": asdict(task.metric),
        "work_unit": task.work_unit,
        "setting": {**setting.made_from, **widths},
        "best_possible": sorted({**dict(before.get("best_possible", [])), **dict(best_possible)}.items()),
        "methods": {**before.get("methods", {}), **{name: asdict(entry) for name, entry in methods.items()}},
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, index)
    write_json(folder / INDEX, index)


def comparisons(folder: Path) -> list[dict[str, Any]]:
    """The indices of all comparisons of a task and preset, the latest last."""
    found = [index for path in sorted((folder / COMPARISONS).glob("*.json")) if (index := read_index(path))]
    # dates are ISO 8601 in UTC, so that their order is that of their texts; of two the same the last file counts
    found.sort(key=_date)
    return found


def find_comparison(folder: Path, model: str | None = None, key: str | None = None) -> dict[str, Any] | None:
    """The index of the latest comparison with this model of the task and this beginning of its key.

    None if neither is given: the comparison that is read.

    Raises:
        BenchError: there is none, or a beginning fits several; the message says which there are.
    """
    if model is None and key is None:
        return None
    every = comparisons(folder)
    found = [index for index in every if model is None or index["setting"]["fields"].get("model") == model]
    if model is not None and not found:
        models = dict.fromkeys(f"model {index['setting']['fields'].get('model')}" for index in every)
        raise BenchError(f"no results with model {model} in {folder}; there are: {'; '.join(models) or 'none'}")
    found = [index for index in found if index["identity"].startswith(key or "")]
    if not found or (key is not None and len(found) > 1):
        which = f"{len(found)} comparisons begin" if found else "no comparison begins"
        known = "; ".join(map(" ".join, told_apart(found or every).items()))
        raise BenchError(f"{which} with {key!r} in {folder}; there are: {known or 'none'}")
    return found[-1]


def select_comparison(folder: Path, model: str | None, key: str | None = None) -> None:
    """Make the latest comparison with this model of the task, or the one with this key, the one that is read."""
    if index := find_comparison(folder, model, key):
        write_json(folder / INDEX, index)


def told_apart(indices: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By the beginning of its key, when each of these comparisons was run, and what sets it apart from the others."""
    settings = [dict(_flat(index["setting"])) for index in indices]
    names = {name: None for setting in settings for name in setting}
    apart = [name for name in names if len({setting.get(name) for setting in settings}) > 1]
    return {
        index["identity"][:KEY_LENGTH]: " ".join([_date(index)[:16], *(f"{n}={own[n]}" for n in apart if n in own)])
        for index, own in zip(indices, settings, strict=True)
    }


def _flat(setting: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Its values as short texts, a mapping's by their own names; without prices, which follow from the cost."""
    for name, value in setting.items():
        if name != "prices":
            yield from _flat(value) if isinstance(value, Mapping) else [(name, str(value)[:20])]


def _date(index: Mapping[str, Any]) -> str:
    return str(index.get("provenance", {}).get("date", ""))
