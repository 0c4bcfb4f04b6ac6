"""The scores of single items of the chosen models, drawn again: what intervals over items rest on."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.plugins.task import ItemScores
from bench.results.points import Points
from bench.stats.items import redraw_scores, same_items
from bench.trial.record import EVAL_ITEMS, load_items, trial_folder

RESAMPLES = 1000


@dataclass(frozen=True)
class ItemDraws:
    """What chosen models score on eval when its items are drawn again.

    Attributes:
        scores: by key of the trial, each of shape (resamples,), in the unit of the metric; the draws are shared.
        count: units that were drawn from.
        without: how many scored models have no usable scores of single items.
    """

    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    count: int = 0
    without: int = 0


NO_ITEMS = ItemDraws()


def draw_items(points: Points) -> ItemDraws:
    """Read the item scores of all chosen models that have an eval score, and draw the items again.

    A model whose items are missing, damaged, other than those of the first model, or do not give its eval score, has
    no draws.
    """
    chosen = points.table[points.table["chosen"].astype(bool) & points.table[points.eval_column].notna()]
    found: dict[str, ItemScores] = {}
    for key, score in zip(chosen["key"], chosen[points.eval_column], strict=True):
        items = load_items(trial_folder(points.folder, str(key)) / EVAL_ITEMS)
        if items is None or not np.isclose(items.headline, float(score), rtol=1e-6, atol=1e-9):
            continue
        if not found or same_items(next(iter(found.values())), items):
            found[str(key)] = items
    if not found:
        return ItemDraws(without=len(chosen))
    count = len(np.unique(next(iter(found.values())).units))
    if count < 2:
        return ItemDraws(without=len(chosen))
    drawn = redraw_scores(list(found.values()), RESAMPLES)
    return ItemDraws(dict(zip(found, drawn.T, strict=True)), count, len(chosen) - len(found))
