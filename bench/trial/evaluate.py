"""A chosen model is scored on eval once, and timed when nothing else runs on the machine."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from bench.errors import BenchError, said
from bench.export import CHUNK, RECIPE
from bench.export.latency import BRIEF, CALM, Call, Loaded, Reference, compare_times, eager_call, measure_latency
from bench.export.layers import layer_latency_ms, weighty_layers
from bench.export.model import OnnxModel, Predictor, export_onnx, rebuilt_model
from bench.export.runtimes import DEFAULT
from bench.export.streaming import export_stream, filled_inputs
from bench.plugins.own_model import dense_model
from bench.plugins.task import Progress, Task
from bench.trial.record import TrialFolder
from bench.trial.setting import Setting

#: spread of repeats beyond which a model is timed again, after all others
DOUBTED = 0.03
PASSES = 3


def scores_of(task: Task, found: object) -> dict[str, float]:
    """What ``evaluate`` or ``summary`` of a task has returned, as numbers by name.

    Raises:
        BenchError: it holds no headline, or what is no finite number.
    """
    name, column = type(task).__name__, task.metric.column
    if not isinstance(found, Mapping) or column not in found:
        given = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise BenchError(f"evaluate() of task {name} gives no {column!r}: {given or 'nothing'}")
    try:
        scores = {str(key): float(value) for key, value in found.items()}
    except (TypeError, ValueError):
        raise BenchError(f"evaluate() of task {name} gives what is no number: {found!r}") from None
    if not all(map(math.isfinite, scores.values())):
        raise BenchError("its scores are not finite numbers")
    return scores


def evaluate_model(setting: Setting, folder: TrialFolder, report: Progress) -> None:
    """Job: score the ONNX file of a trial on eval, once; the scores, and those of single items, stay beside it."""
    task = setting.build_task()
    predict = Predictor(_file(folder), setting.runtime)
    items = task.item_scores(predict, "eval")
    scores = scores_of(task, task.evaluate(predict, "eval") if items is None else task.summary(items, "eval"))
    if items is not None:
        if not math.isclose(stated := scores[task.metric.column], items.headline, rel_tol=1e-6, abs_tol=1e-6):
            raise BenchError(f"task {type(task).__name__} says {stated:g}, the scores of its items {items.headline:g}")
        folder.write_item_scores(items)
    folder.write_eval_scores(scores)


def time_models(setting: Setting, folders: list[TrialFolder], report: Progress) -> dict[str, str]:
    """Job: time the models of trials against the dense model, one after the other; the latencies stay beside them.

    A machine has bad moments: a model whose repeats are far apart, or while which the dense model was slow, is timed
    again after all others, and the timing made in the calmer moment stays. Which one stays never depends on the ratio.
    Of models that differ by the values of their weights alone one is timed, for all of them. What is returned says, by
    key, why a model could not be timed.
    """
    torch.set_num_threads(1)
    task = setting.build_task()
    dense = DenseLatency(task, setting.runtime, setting.threads)
    best: dict[TrialFolder, dict[str, float]] = {}
    failed: dict[str, str] = {}
    alike = _alike(folders)
    waiting = list(alike)
    for number in range(PASSES):
        for position, folder in enumerate(waiting):
            report(position / len(waiting), "")
            try:
                measured = {**best.get(folder, {}), **(headline if number else latencies)(task, folder, dense)}
                if folder not in best or dense.disturbed(measured) < dense.disturbed(best[folder]):
                    best[folder] = measured
                    for twin in alike[folder]:
                        twin.write_latencies(measured)
                if number == 0 and setting.runtime == DEFAULT:
                    spent = layer_latency_ms(_file(folder), task.example_input(), dense.layers)
                    for twin in alike[folder]:
                        twin.write_layer_latency_ms(spent)
            except Exception as error:  # of this model; the others are timed all the same
                if number == 0:
                    failed |= {twin.path.name: said(error) for twin in alike[folder]}
        waiting = [folder for folder, measured in best.items() if dense.disturbed(measured) > (1.0, DOUBTED)]
    return failed


def _alike(folders: Sequence[TrialFolder]) -> dict[TrialFolder, list[TrialFolder]]:
    """Those whose files differ by the values of their weights alone, by the first of them."""
    groups: dict[tuple[str, bool, bool], list[TrialFolder]] = {}
    for folder in folders:
        beside = folder.stream_path.exists(), (folder.path / RECIPE).exists()  # these are timed as well
        groups.setdefault((_file(folder).form, *beside), []).append(folder)
    return {twins[0]: twins for twins in groups.values()}


class DenseLatency:
    """The dense model of a task, as a file in a runtime and as a module, ready to be timed against.

    Attributes:
        streamed: whether it carries state from chunk to chunk: then nothing else is timed on a chunk.
    """

    def __init__(self, task: Task, runtime: str = DEFAULT, threads: int = 1) -> None:
        self.load = partial(Loaded, runtime=runtime, threads=threads)
        example = task.example_input()
        model = dense_model(task).eval()
        self.layers = weighty_layers(model)
        file = self.load(export_onnx(model, example))
        self.headline = file.reference(example)
        self.further = {name: file.reference(inputs) for name, inputs in task.timed_inputs().items()}
        stream = _stream_of(task, model) if CHUNK in self.further else None
        self.streamed = stream is not None
        if stream is not None:
            self.further[CHUNK] = self.load(stream).reference(*filled_inputs(stream, task.timed_inputs()[CHUNK]))
        self.eager = Reference([eager_call(model, example)])

    def disturbed(self, measured: Mapping[str, float]) -> tuple[float, float]:
        """How much slower the dense model was than in calm moments, beyond what is calm; and the spread of repeats."""
        return max(1.0, measured["latency_dense_ms"] / self.headline.fastest_ms / CALM), measured["latency_spread"]


def latencies(task: Task, folder: TrialFolder, dense: DenseLatency) -> dict[str, float]:
    """Latencies of one trial's model (ms, and ratios to the dense model's), by the names of columns of ``points.csv``.

    Those of ``headline``; more briefly, of the file at the other ``timed_inputs`` of the task; then of the PyTorch
    module, where there is one, against the dense module. Where the dense model carries state from chunk to chunk, a
    chunk is one in the middle of a stream; a model without that form has no such time.
    """
    file = _loaded(folder, dense)
    measured = _headline(task, file, dense)
    for name, inputs in task.timed_inputs().items():
        calls = _streaming_calls(folder, dense, inputs) if name == CHUNK and dense.streamed else file.calls(inputs)
        if calls:
            measured |= _brief(f"latency_{name}", calls, dense.further[name], task.duration_s(inputs))
    if (module := rebuilt_model(task, folder.path)) is not None:
        measured |= _brief("latency_eager", [eager_call(module, task.example_input())], dense.eager)
    return measured


def headline(task: Task, folder: TrialFolder, dense: DenseLatency) -> dict[str, float]:
    """Those of the ONNX file at the task's unit of work alone."""
    return _headline(task, _loaded(folder, dense), dense)


def _stream_of(task: Task, model: nn.Module) -> OnnxModel | None:
    try:
        return export_stream(model, task.example_input()) if task.streams else None
    except BenchError:  # a model of the user's own that sees the whole recording
        return None


def _streaming_calls(folder: TrialFolder, dense: DenseLatency, chunk: Tensor) -> list[Call]:
    """A chunk in the middle of a stream; none for a model that has no such form."""
    if not folder.stream_path.exists():
        return []
    stream = OnnxModel(folder.stream_path.read_bytes())
    return dense.load(stream).calls(*filled_inputs(stream, chunk))


def _loaded(folder: TrialFolder, dense: DenseLatency) -> Loaded:
    return dense.load(_file(folder))


def _file(folder: TrialFolder) -> OnnxModel:
    return OnnxModel(folder.model_path.read_bytes())


def _headline(task: Task, file: Loaded, dense: DenseLatency) -> dict[str, float]:
    example = task.example_input()
    measured = measure_latency(file, dense.headline, example)
    return measured | _real_time("latency", measured["latency_ms"], task.duration_s(example))


def _brief(name: str, calls: Sequence[Call], dense: Reference, duration_s: float | None = None) -> dict[str, float]:
    compared = compare_times(calls, dense, BRIEF)
    measured = {f"{name}_ms": compared.own_ms, f"{name}_ratio": compared.ratio}
    return measured | _real_time(name, compared.own_ms, duration_s)


def _real_time(name: str, latency_ms: float, duration_s: float | None) -> dict[str, float]:
    return {f"{name}_real_time": latency_ms / 1e3 / duration_s} if duration_s else {}
