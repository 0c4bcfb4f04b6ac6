"""What runs in a process of its own: train, read eval, measure latency."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.dense import dense_checkpoint
from bench.executor import JobReport
from bench.measure import OnnxModel, Predictor, export_onnx, measure_latency
from bench.points import EVAL, LATENCY
from bench.trial import MODEL, Setting, TrialSpec, run_trial, write_json


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


def train_and_measure(spec: TrialSpec, folder: Path, report: JobReport) -> dict[str, Any]:
    """Job: run a trial; returns its record."""
    shutil.rmtree(folder, ignore_errors=True)
    return run_trial(spec, folder, lambda done, steps, loss: report(done / max(1, steps), f"loss {loss:.3f}"))


def evaluate_model(setting: Setting, folder: Path, report: JobReport) -> None:
    """Job: score the exported file of a trial on eval, and keep the scores beside it."""
    predict = Predictor(OnnxModel((folder / MODEL).read_bytes()))
    write_json(folder / EVAL, setting.build_task().evaluate(predict, "eval"))


def measure_latencies(setting: Setting, folders: list[Path], report: JobReport) -> None:
    """Job: time the exported files of trials against the dense model's, one after the other."""
    task = setting.build_task()
    example = task.example_input()
    dense = export_onnx(task.build_model(), example)
    for position, folder in enumerate(folders):
        report(position / len(folders), "")
        model = OnnxModel((folder / MODEL).read_bytes())
        write_json(folder / LATENCY, asdict(measure_latency(model, dense, example)))
