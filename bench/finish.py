"""What is measured of a frozen model: eval, read once, and latency."""

from dataclasses import asdict
from pathlib import Path

from bench.executor import JobReport
from bench.measure import OnnxModel, Predictor, export_onnx, measure_latency
from bench.points import EVAL, LATENCY
from bench.trial import MODEL, Setting, write_json


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
