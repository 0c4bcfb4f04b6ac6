"""What the gap between the camps is due to: when the cut is made, which channels stay, the widths, or the rest.

At one budget, seed by seed, with errors of the best in-training method A, the best post-hoc method P, random channels
cut after a share of the steps R(share), uniform width U, and the widths of A trained from scratch W:

    P - A  =  [R(share of P) - R(share of A)]           the time of the cut
            - [R(share of P) - P]                       what P gains by choosing channels
            + [U - W]                                   the widths that A found
            + [R(share of A) - A] - [U - W]             what is left: weights, and how A trains

The four add up to the gap exactly, whatever the controls score; a control that scores by luck moves one part against
another, which the intervals show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.report.quality import best_first
from bench.results.selection import COST, ROUNDING, models_at
from bench.stats.estimates import Sign, mean_of

RANDOM, UNIFORM, GIVEN = "random_pruning", "uniform_width", "given_widths"
#: by column: what the part is called
PARTS = {
    "time": "when the cut is made",
    "channels": "which channels post-hoc keeps",
    "widths": "the widths that in-training found",
    "left": "what is left: weights and training",
}
#: no part of the gap, but the like of ``channels``: what in-training gains over random channels cut at the same time
GAINED = "gained"


def attribution_table(chosen: pd.DataFrame, models: pd.DataFrame, budgets: Sequence[float], sign: Sign) -> pd.DataFrame:
    """One row for each budget, and one for their mean where all have their controls.

    Args:
        chosen: the chosen points.
        models: their trained models, with ``settings`` (JSON) and ``dense_share``.

    Columns: budget (NaN for the mean), in_training, post_hoc (methods), gap, each of ``PARTS`` and ``GAINED``
    (an ``Estimate``, or None), missing (controls without which the gap cannot be split; empty if it was).
    """
    usable = best_first(chosen, sign)
    rows: list[dict[str, object]] = []
    split = []
    for budget in budgets:
        row, parts = _row(usable[usable[COST] <= budget * (1 + ROUNDING)], models, sign)
        rows.append({"budget": budget, **row})
        split.append(parts)
    whole = [parts for parts in split if parts is not None]
    if len(whole) == len(budgets) > 1 and len(mean := (sum(whole[1:], whole[0]) / len(whole)).dropna()):
        rows.append({"budget": math.nan, **_summed(mean)})
    columns = ["budget", "in_training", "post_hoc", "gap", *PARTS, GAINED, "missing"]
    return pd.DataFrame(rows, columns=columns).astype({"budget": float})


def _row(usable: pd.DataFrame, models: pd.DataFrame, sign: Sign) -> tuple[dict[str, object], pd.DataFrame | None]:
    """What is said of one budget, and the parts by seed; None if they are not all known."""
    one, other = (_best(usable, models, kind=kind) for kind in ("in-training", "post-hoc"))
    if one is None or other is None:
        return {"missing": "a camp with a finished model"}, None
    named: dict[str, object] = {"in_training": one["method"].iloc[0], "post_hoc": other["method"].iloc[0]}
    early, late = _share(one), _share(other)
    if early is None:
        return {**named, "missing": "a share of the steps after which the in-training method cuts"}, None
    controls = [
        (f"{RANDOM}:dense_share={late:g}", _best(usable, models, base=RANDOM, share=late)),
        (f"{RANDOM}:dense_share={early:g}", _best(usable, models, base=RANDOM, share=early)),  # may be the same again
        (UNIFORM, _best(usable, models, base=UNIFORM)),
        (GIVEN, _best(usable, models, base=GIVEN)),
    ]
    if missing := dict.fromkeys(name for name, found in controls if found is None):
        return {**named, "missing": ", ".join(missing)}, None
    parts = _parts(one, other, *(found for _, found in controls), sign=sign)
    if parts.empty:
        return {**named, "missing": "finished models of the same seeds"}, None
    return named | _summed(parts), parts


def _best(
    usable: pd.DataFrame, models: pd.DataFrame, *, kind: str = "", base: str = "", share: float | None = None
) -> pd.DataFrame | None:
    """The models, one a seed, of the best point of a camp, or of a control that cuts after a share of the steps."""
    for point in usable.to_dict("records"):
        own = models_at(models, point["method"], point["trial"])
        users = "widths=" in point["method"]  # widths of the user's own, which no method found
        named = point["kind"] == kind if kind else point["method"].partition(":")[0] == base and not users
        if named and (share is None or _share(own) == share):
            return own
    return None


def _share(own: pd.DataFrame) -> float | None:
    """The share of all steps before the cut, of the models of one point; None for a method that makes none."""
    given, settings = own["dense_share"].iloc[0], json.loads(own["settings"].iloc[0])
    share = settings.get("search_share") if given is None or math.isnan(given) else given
    return None if share is None else float(share)


def _parts(*models: pd.DataFrame | None, sign: Sign) -> pd.DataFrame:
    """The gap and its parts by seed, of A, P, R late and early, U and W; the seeds that all of them have."""
    errors = pd.DataFrame({n: sign * own.set_index("seed")["eval"] for n, own in enumerate(models) if own is not None})
    a, p, late, early, uniform, given = (errors.dropna()[column] for column in errors)
    widths = uniform - given
    parts = {"gap": p - a, "time": late - early, "channels": p - late, "widths": widths, "left": early - a - widths}
    return pd.DataFrame({**parts, GAINED: early - a})


def _summed(parts: pd.DataFrame) -> dict[str, object]:
    means = {str(name): mean_of(part.to_numpy(dtype=np.float64)) for name, part in parts.items()}
    return {"missing": "", **means}
