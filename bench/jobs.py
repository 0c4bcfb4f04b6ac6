"""What runs in a process of its own: train, audit, read eval."""

import shutil
from pathlib import Path
from typing import Any

from bench.audit import audit_trial
from bench.conformance import ensure_repeats
from bench.dense import dense_checkpoint
from bench.files import write_json
from bench.items import save_items
from bench.measure import OnnxModel, Predictor
from bench.points import EVAL, EVAL_ITEMS
from bench.registry import load_recipe
from bench.trial import MODEL, Setting, TrialSpec, run_trial
from bench.worker import JobReport


def train_dense(setting: Setting, seed: int, report: JobReport) -> None:
    """Job: train the shared dense model of a seed."""
    plan = setting.plan
    dense_checkpoint(
        setting.build_task(),
        plan,
        seed,
        setting.made_from,
        on_progress=lambda done, loss: report(done / plan.dense_steps, f"loss {loss:.3f}"),
        hardware=setting.hardware,
    )


def train(spec: TrialSpec, folder: Path, report: JobReport) -> None:
    """Job: train and compress; what is left in the folder is for ``audit`` to measure."""
    shutil.rmtree(folder, ignore_errors=True)
    run_trial(spec, folder, lambda done, steps, loss: report(done / max(1, steps), f"loss {loss:.3f}"))


def audit(spec: TrialSpec, folder: Path, report: JobReport) -> dict[str, Any]:
    """Job: measure and score what a training has left, in a process that has not run the method; the trial's record."""
    return audit_trial(spec, folder)


def check_repeats(name: str, cache: Path, report: JobReport) -> None:
    """Job: find out whether a method gives the same model twice."""
    ensure_repeats(load_recipe(name), cache)


def evaluate_model(setting: Setting, folder: Path, report: JobReport) -> None:
    """Job: score the exported file of a trial on eval, once; its scores, and those of single items, stay beside it."""
    task, predict = setting.build_task(), Predictor(OnnxModel((folder / MODEL).read_bytes()))
    items = task.item_scores(predict, "eval")
    if items is not None:
        save_items(folder / EVAL_ITEMS, items)
    write_json(folder / EVAL, task.evaluate(predict, "eval") if items is None else task.summary(items, "eval"))
