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
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bench.report.verdict import mean_of
from bench.results.selection import budget_class
from bench.stats.estimates import Array, Sign

RANDOM, UNIFORM, GIVEN = "random_pruning", "uniform_width", "given_widths"
#: by column: what the part is called
PARTS = {
    "time": "when the cut is made",
    "channels": "which channels post-hoc keeps",
    "widths": "the widths that in-training found",
    "left": "what is left",
}
_SHARE = re.compile(r"search_share=([0-9.]+)")


def attribution_table(
    counted: pd.DataFrame, kinds: Mapping[str, str], budgets: Sequence[float], sign: Sign
) -> pd.DataFrame:
    """One row for each budget, and one for their mean where all have their controls.

    Args:
        counted: the trials that count, with ``settings`` (JSON) and ``dense_share`` beside what ``contenders`` takes.
        kinds: in-training, post-hoc or control, by method.

    Columns: budget (NaN for the mean), in_training, post_hoc (methods), gap and each of ``PARTS`` (an ``Estimate``, or
    None), seeds, missing (controls without which the gap cannot be split; empty if it was).
    """
    shares = map(_share, counted["method"], counted["settings"], counted["dense_share"])
    table = counted.assign(
        kind=counted["method"].map(kinds),
        edge=pd.Series([budget_class(b, budgets) for b in counted["budget"]], counted.index, dtype=float),
        base=[str(method).partition(":")[0] for method in counted["method"]],
        share=pd.Series([*shares], counted.index, dtype=float),
    )
    rows: list[dict[str, object]] = []
    split = []
    for budget in budgets:
        row, parts = _row(table[table["edge"] == budget], sign)
        rows.append({"budget": budget, **row})
        split.append(parts)
    whole = [parts for parts in split if parts is not None]
    if len(whole) == len(budgets) > 1 and len({len(parts["gap"]) for parts in whole}) == 1:
        means = {name: np.mean([parts[name] for parts in whole], axis=0) for name in whole[0]}
        rows.append({"budget": math.nan, **_summed(means)})
    columns = ["budget", "in_training", "post_hoc", "gap", *PARTS, "seeds", "missing"]
    return pd.DataFrame(rows, columns=columns).astype({"budget": float})


def _share(method: str, settings: str, dense_share: float | None) -> float:
    """The share of all steps before the cut; NaN for a method that makes none."""
    if dense_share is not None and not math.isnan(dense_share):
        return dense_share
    named = _SHARE.search(method)
    return float(named[1] if named else json.loads(settings or "{}").get("search_share", math.nan))


def _row(table: pd.DataFrame, sign: Sign) -> tuple[dict[str, object], Mapping[str, Array] | None]:
    """What is said of one budget, and the parts by seed; None if they are not all known."""
    one, other = (_best(table[table["kind"] == kind], sign) for kind in ("in-training", "post-hoc"))
    if one is None or other is None:
        return {"missing": "a camp with a finished model"}, None
    named: dict[str, object] = {"in_training": one["method"].iloc[0], "post_hoc": other["method"].iloc[0]}
    early, late = (own["share"].iloc[0] for own in (one, other))
    if math.isnan(early):
        return {**named, "missing": "a share of the steps after which the in-training method cuts"}, None
    controls = {
        f"{RANDOM}:dense_share={late:g}": _best(table[(table["base"] == RANDOM) & (table["share"] == late)], sign),
        f"{RANDOM}:dense_share={early:g}": _best(table[(table["base"] == RANDOM) & (table["share"] == early)], sign),
        UNIFORM: _best(table[table["base"] == UNIFORM], sign),
        GIVEN: _best(table[table["base"] == GIVEN], sign),
    }
    if missing := [name for name, found in controls.items() if found is None]:
        return {**named, "missing": ", ".join(missing)}, None
    if (parts := _parts(one, other, *controls.values(), sign=sign)) is None:
        return {**named, "missing": "finished models of the same seeds"}, None
    return named | _summed(parts), parts


def _parts(*models: pd.DataFrame | None, sign: Sign) -> dict[str, Array] | None:
    """The gap and its parts, each (seeds,), of A, P, R late and early, U and W; None without a seed of all."""
    errors = pd.DataFrame({n: sign * own.set_index("seed")["eval"] for n, own in enumerate(models) if own is not None})
    errors = errors.dropna()
    if errors.empty or not np.isfinite(errors.to_numpy()).all():
        return None
    a, p, late, early, uniform, given = errors.to_numpy(dtype=np.float64).T
    widths = uniform - given
    return {"gap": p - a, "time": late - early, "channels": p - late, "widths": widths, "left": early - a - widths}


def _summed(parts: Mapping[str, Array]) -> dict[str, object]:
    return {"missing": "", "seeds": len(parts["gap"]), **{name: mean_of(part) for name, part in parts.items()}}


def _best(table: pd.DataFrame, sign: Sign) -> pd.DataFrame | None:
    """The trials, one a seed, of the point with the best mean on dev; None if there is no finished one."""
    groups = [own for _, own in table.groupby(["method", "trial"]) if np.isfinite(own["dev"]).all()]
    return min(groups, key=lambda own: float(sign * own["dev"].mean()), default=None)
