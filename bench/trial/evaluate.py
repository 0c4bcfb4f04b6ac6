"""A finished model is read on eval once, and timed alone on the machine when everything else is done."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from bench.export.latency import BRIEF, Call, Loaded, compare_cpu_time, eager_call, measure_latency
from bench.export.model import OnnxModel, Predictor, export_onnx, rebuilt_model
from bench.plugins.task import Progress, Task
from bench.storage.files import read_json, write_json
from bench.trial.compress import Setting
from bench.trial.record import EVAL, EVAL_ITEMS, LATENCY, MODEL, save_items


def evaluate_model(setting: Setting, folder: Path, report: Progress) -> None:
    """Job: score the exported file of a trial on eval, once; its scores, and those of single items, stay beside it."""
    task, predict = setting.build_task(), Predictor(OnnxModel((folder / MODEL).read_bytes()))
    items = task.item_scores(predict, "eval")
    if items is not None:
        save_items(folder / EVAL_ITEMS, items)
    write_json(folder / EVAL, task.evaluate(predict, "eval") if items is None else task.summary(items, "eval"))


AGREED = 0.01  # spread of the repeats of a ratio, as a share of it, that needs no second look


def time_models(setting: Setting, folders: list[Path], report: Progress) -> None:
    """Job: time the models of trials against the dense model, one after the other, into ``latency.json`` of each."""
    torch.set_num_threads(1)
    task = setting.build_task()
    dense = task.build_model().eval()
    dense_file = Loaded(export_onnx(dense, task.example_input()))
    for position, folder in enumerate(folders):
        report(position / len(folders), "")
        write_json(folder / LATENCY, latencies(task, folder, dense, dense_file))
    for folder in folders:
        _time_again(task, folder, dense, dense_file)


def _time_again(task: Task, folder: Path, dense: nn.Module, dense_file: Loaded) -> None:
    """A machine has bad moments: what does not agree with itself is timed once more, later; what agrees better stays.

    Which one stays depends on the spread alone, never on the ratio.
    """
    before = read_json(folder / LATENCY)
    if before is None or before["latency_spread"] <= AGREED:
        return
    after = latencies(task, folder, dense, dense_file)
    if after["latency_spread"] < before["latency_spread"]:
        write_json(folder / LATENCY, after)


def latencies(task: Task, folder: Path, dense: nn.Module, dense_file: Loaded) -> dict[str, float]:
    """Latency of one trial's model, by the names of the columns of ``points.csv``.

    The exported file at the task's unit of work and, more briefly, at its other ``timed_inputs``; then the PyTorch
    module, where there is one, against the dense module.
    """
    example = task.example_input()
    file = Loaded(OnnxModel((folder / MODEL).read_bytes()))
    measured = asdict(measure_latency(file, dense_file, example))
    for name, inputs in task.timed_inputs().items():
        measured |= _brief(name, file.calls(inputs), dense_file.calls(inputs))
    module = rebuilt_model(task, folder)
    if module is not None:
        measured |= _brief("eager", [eager_call(module, example)], [eager_call(dense, example)])
    return measured


def _brief(name: str, calls: Sequence[Call], dense_calls: Sequence[Call]) -> dict[str, float]:
    compared = compare_cpu_time(calls, dense_calls, BRIEF)
    return {f"latency_{name}_ms": compared.cpu_ms, f"latency_{name}_ratio": compared.ratio}
