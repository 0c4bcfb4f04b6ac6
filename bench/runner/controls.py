"""The controls that can only be planned when the search has ended: widths that were found, without what found them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bench.plugins.method import MethodSpec
from bench.plugins.task import Metric
from bench.results.selection import budget_class
from bench.runner.study import PlannedTrial

#: of a trial: how many channels its model has of each width group that lost some
Sizes = Callable[[PlannedTrial], Mapping[str, int]]


def followers(
    method_specs: Sequence[MethodSpec],
    frozen: Sequence[PlannedTrial],
    metric: Metric,
    budgets: Sequence[float],
    sizes: Sizes,
) -> list[PlannedTrial]:
    """For each control that follows and each budget, a trial for every seed of the best in-training method there.

    Args:
        method_specs: of the controls.
        frozen: the chosen trials of the search with their repeats.
        sizes: of the model of a trial; one whose channels are all there found no widths.
    """
    found = []
    for number, budget in enumerate(budgets):
        for source in _best(frozen, metric, budget, budgets, sizes):
            settings = {"budget": source.asked_compute, "widths": _written(sizes(source))}
            for method_spec in method_specs:
                spec = replace(source.spec, method=method_spec.name, settings=settings)
                found.append(PlannedTrial(method_spec, number, spec, "repeat"))
    return found


def _best(
    frozen: Sequence[PlannedTrial], metric: Metric, budget: float, budgets: Sequence[float], sizes: Sizes
) -> list[PlannedTrial]:
    """The trials, one a seed, of the in-training method that has the best mean on dev in this budget class."""
    groups: dict[tuple[str, int], list[PlannedTrial]] = {}
    for trial in frozen:
        spec = trial.method_spec
        if spec.stage == "in_training" and not spec.control and budget_class(trial.asked_compute, budgets) == budget:
            groups.setdefault((spec.name, trial.number), []).append(trial)
    finished = [own for own in groups.values() if all(trial.has_model and sizes(trial) for trial in own)]
    return min(finished, key=lambda own: fmean(trial.error(metric) or 0.0 for trial in own), default=[])


def _written(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={size}" for name, size in sizes.items())
