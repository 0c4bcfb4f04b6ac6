"""Whether a difference between camps or methods is more than chance, as far as the seeds can tell."""

from typing import Any

import pandas as pd

from bench.report.chosen import chosen_points
from bench.report.grid import seed_runs
from bench.results.points import Points
from bench.stats.estimates import LARGE_IS_GOOD
from bench.stats.fronts import camp_hypervolume_by_seed, hypervolume_by_seed, reference_for
from bench.stats.significance import TOO_FEW, holm, permutation_test, probability_better, seeds_needed

CONTROL = "uniform_width"
CAMPS = ("in-training methods together", "post-hoc methods together")
Seeds = dict[int, float]
COLUMNS = ["first", "second", "advantage", "probability", "low", "high", "sentence"]


def chance_table(points: Points) -> pd.DataFrame:
    """The camps against each other, then every method against the control, by the hypervolume of each seed.

    Columns: first, second; advantage (mean hypervolume of the first less that of the second, 0 to 1); probability
    that a seed of the first is better, with its interval low to high; sentence (the p-value of a permutation test,
    Holm-corrected over the methods, or why there can be none). Empty for a metric without a frozen box.
    """
    reference = reference_for(points.metric)
    runs = seed_runs(points)
    if reference is None or not runs:
        return pd.DataFrame(columns=COLUMNS)
    covered = {method: hypervolume_by_seed(own, reference) for method, own in runs.items()}
    stages = chosen_points(points).drop_duplicates("method").set_index("method")
    contenders = [method for method in runs if not stages.loc[method, "control"]]
    camps = [
        camp_hypervolume_by_seed([runs[m] for m in contenders if stages.loc[m, "stage"] == stage], reference)
        for stage in ("in_training", "post_hoc")
    ]
    rows = [_row(CAMPS[0], CAMPS[1], camps[0], camps[1], 1)] if all(camps) else []
    if CONTROL in covered:
        rows += [_row(m, CONTROL, covered[m], covered[CONTROL], len(contenders)) for m in contenders]
    family = [row for row in rows if row["second"] == CONTROL]
    for row, corrected in zip(family, holm([row["p"] for row in family]), strict=True):
        needed = seeds_needed(paired=True, family=len(family))
        row["sentence"] = (
            f"{TOO_FEW}: as one of {len(family)} comparisons it needs {needed} seeds"
            if corrected is None
            else f"{row['sentence']}; {corrected:.2g} after Holm's correction"
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(first: str, second: str, one: Seeds, other: Seeds, comparisons: int) -> dict[str, Any]:
    test = permutation_test(one, other, sign=LARGE_IS_GOOD, family=comparisons)
    chance = probability_better(one, other, sign=LARGE_IS_GOOD)
    return {
        **{"first": first, "second": second, "probability": chance.value, "low": chance.low, "high": chance.high},
        **{"advantage": test.advantage, "p": test.p, "sentence": test.sentence},
    }
