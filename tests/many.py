"""Results of many points with the scores of single items, as large comparisons leave them."""

from pathlib import Path

import numpy as np

from bench.plugins.metrics import equal_error_rate
from bench.plugins.task import ItemScores
from tests.written import Written

BUDGETS = [0.5, 0.25, 0.125, 0.0625]
SEEDS = range(3)
TRIALS = range(2, 10)


def write_many(folder: Path, methods: int = 12, utterances: int = 1400) -> Path:
    """About 150 chosen models, three seeds of ``methods`` at four budgets and two controls, and 350 that were tried.

    Args:
        folder: of the comparison.
        methods: beside the controls.
        utterances: on eval, scored by every chosen model.
    """
    written, random = Written(folder), np.random.default_rng(0)
    written.index |= {"budgets": BUDGETS, "seeds": len(SEEDS)}
    labels = np.arange(utterances) % 3 == 0
    ease = random.normal(size=utterances)
    names = [(f"method_{n:02d}", ("in_training", "post_hoc")[n % 2], False) for n in range(methods)]
    for method, stage, control in [*names, ("uniform_width", "in_training", True), ("dense", "in_training", True)]:
        skill = random.normal(scale=0.1)
        for budget in [None] if method == "dense" else BUDGETS:
            asked, effort = budget or 1.0, {"stage": stage, "control": control, **_effort(stage)}
            for seed in SEEDS:
                scores = (ease + random.normal(size=utterances) + labels * (2.5 + skill + 0.5 * np.log2(asked))).astype(
                    "f4"
                )
                items = ItemScores(scores, labels, np.arange(utterances))
                rate = equal_error_rate(scores, labels)
                written.add(method, budget, rate, rate, seed=seed, items=items, **effort)
            for trial in TRIALS if budget else ():
                number = 100 + 10 * BUDGETS.index(asked) + trial
                written.add(method, budget, 30.0, None, chosen=False, trial=number, latency=False, **effort)
    return written.save()


def _effort(stage: str) -> dict[str, float | int]:
    if stage == "post_hoc":
        return {"train_macs": 1e11, "train_cpu_s": 12.0, "start_train_macs": 3e11, "start_cpu_s": 40.0}
    return {"train_macs": 4e11, "train_cpu_s": 50.0, "train_steps": 700}
