"""What a trial leaves on disk: its record, and the folder that holds the record, the model and what was measured."""

import io
import shutil
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, TypeAdapter

from bench.export import FLOAT_BITS, RECIPE, STREAM, WEIGHTS
from bench.plugins.method import Promise
from bench.plugins.metrics import CURVES
from bench.plugins.task import ItemScores
from bench.storage.files import file_digest, write_json, write_whole
from bench.widths import CostAxis

Number = int | float  # an int stays an int when a record that was read is written again
Scores = dict[str, Number]
FiniteScores = dict[str, int | FiniteFloat]
Status = Literal["complete", "missed", "failed", "declined"]


@dataclass
class AuditRecord:
    """What the audit found."""

    passed: bool  # whether the model is what the training process said it is
    cpu_s: Number = 0.0  # CPU time of the audit without the evaluation, s
    rebuilt: bool | None = None  # whether the PyTorch module could be built again from its recipe and weights
    difference: Number | None = None  # largest one to the trained model's outputs, as a share of the largest output


@dataclass
class TrialRecord:
    """What is known of a trial.

    None stands for what is not known: a trial that failed early has trained nothing, one that failed has no scores.
    ``missed`` has a model, beyond its budget; ``declined`` is what a method cannot do on this model.
    """

    status: Status | None = None  # None until the audit has spoken
    reason: str = ""  # why it is not complete
    retry: bool = False  # whether the next comparison tries it again, because the machine failed and not the method

    # by the training process
    method: str | None = None  # its method spec
    settings: dict[str, Any] | None = None  # of the method, as searched
    seed: int | None = None  # of the training
    budget: Number | None = None  # share of the dense model's MACs that the method promises to keep to, if any
    promises: Promise | None = None  # whether these are all MACs, for a mask those that are not zero, or bits of them
    dense_share: Number | None = None  # of all steps, that trained the dense model a post-hoc method starts from
    start: Scores | None = None  # dev scores of the dense model that a post-hoc method starts from
    start_train_macs: int | None = None  # MACs that training this dense model took
    start_cpu_s: Number | None = None  # CPU time that it took, s
    teacher_train_macs: int | None = None  # MACs that training its teacher took beside that, if it had one
    teacher_cpu_s: Number | None = None  # CPU time that it took, s
    train_steps: int | None = None  # optimiser steps of the trial
    total_steps: int | None = None  # the same with those of the dense model that it started from
    train_macs: int | None = None  # of the training steps, three forward passes each; None if a cost is unknown
    train_cpu_s: Number | None = None  # CPU time of training and compressing, s
    curve: list[Scores] | None = None  # ``step``, mean ``loss`` since the point before, ``learning_rate``
    notes: list[str] | None = None  # what the method says beside the result
    logged: Scores | None = None  # numbers that the method has logged, by name
    files: dict[str, str] | None = None  # SHA-256 digests of the model's files, by name
    cpu_s: Number | None = None  # CPU time of the whole trial with its audit, s
    started_at: Number | None = None  # when training began, unix s
    ended_at: Number | None = None  # when the audit ended, unix s
    peak_memory_mb: Number | None = None  # largest resident memory of the training process, MiB

    # by the audit, of the ONNX file
    dense_macs: int | None = None  # MACs of the task's dense model for one unit of work
    macs_ratio: Number | None = None  # MACs as a share of the dense model's
    cost: CostAxis | None = None  # what budgets are shares of
    cost_ratio: Number | None = None  # the share of that in the dense model's
    params: int | None = None  # numbers stored
    macs: int | None = None  # for one unit of work
    effective_macs: int | None = None  # those with a non-zero weight
    bops: int | None = None  # MACs x weight bits x activation bits
    size_bytes: int | None = None  # of the file
    memory_bytes: int | None = None  # of the activations that are alive at the same time, at most
    simulated: bool | None = None  # whether its bits are only simulated, so that its latency says nothing
    dev: FiniteScores | None = None  # on dev, in the unit of the metric: the headline and its breakdowns
    evaluation_cpu_s: Number | None = None  # CPU time of scoring dev, s
    audit: AuditRecord | None = None  # what else it found

    @property
    def has_model(self) -> bool:
        return self.status in ("complete", "missed")

    @property
    def effective_macs_ratio(self) -> float | None:
        return self.effective_macs / self.dense_macs if self.effective_macs is not None and self.dense_macs else None

    @property
    def bops_ratio(self) -> float | None:
        """Bit operations as a share of those of the dense model in floats."""
        return self.bops / (FLOAT_BITS * self.dense_macs) if self.bops is not None and self.dense_macs else None

    def objectives(self, headline: str) -> tuple[float, float] | None:
        """The dev score in the column ``headline``, and the cost as a share of the dense model's, for a search.

        The cost is non-zero MACs, bit operations where the budget is one of bits, or what else is paid for. None
        without a model. The order of the dev scores says nothing, as files have their names sorted.
        """
        if not self.has_model or self.effective_macs_ratio is None or headline not in (self.dev or {}):
            return None
        if self.cost not in (None, "macs") and self.cost_ratio is not None:
            return (self.dev or {})[headline], self.cost_ratio
        bits = self.bops_ratio if self.promises == "bits" and self.budget is not None else None
        return (self.dev or {})[headline], self.effective_macs_ratio if bits is None else bits

    def content(self) -> dict[str, Any]:
        """As it stands in its file: without what is not known, but for what has no value in a trial that trained."""
        kept = _VALUELESS if self.train_steps is not None else ()
        content = asdict(self, dict_factory=lambda pairs: {k: v for k, v in pairs if v is not None or k in kept})
        if self.status is None:
            del content["reason"]
        if not self.retry:
            del content["retry"]
        return content


_VALUELESS = ("budget", "dense_share", "start", "start_train_macs", "start_cpu_s", "train_macs")

#: stands for the record of a trial that a comparison names and whose folder has none
MISSING = TrialRecord("failed", "its record is missing or damaged", retry=True)

TRAINED = "trained.json"
RECORD = "trial.json"
MODEL = "model.onnx"
OUTPUTS = "outputs.safetensors"
EVAL = "eval.json"
EVAL_ITEMS = "eval_items.npz"
LATENCY = "latency.json"
LAYERS = "layers.json"
TRACKED = "tracked.json"
TRACEBACK = "traceback.txt"

MODEL_FILES = (MODEL, WEIGHTS, RECIPE, STREAM)  # the files that are the model

_Content = TypeVar("_Content")
_RECORD_SHAPE = TypeAdapter(TrialRecord)
_SCORES_SHAPE = TypeAdapter(Scores)
_NOTE_SHAPE = TypeAdapter(dict[str, str])
_LAYERS_SHAPE = TypeAdapter(dict[str, list[tuple[str, Number]]])


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial: the one place that knows their names.

    What is read and turns out damaged or of another shape counts as missing, so that it is made again.
    """

    path: Path

    @classmethod
    def of(cls, comparison: Path, key: str) -> "TrialFolder":
        """Where a comparison keeps the files of the trial with this key."""
        return cls(comparison / "trials" / key)

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    @property
    def model_path(self) -> Path:
        return self.path / MODEL

    @property
    def stream_path(self) -> Path:
        return self.path / STREAM

    @property
    def outputs_path(self) -> Path:
        """What the trained model computes from the probe inputs, as safetensors."""
        return self.path / OUTPUTS

    def empty(self) -> None:
        """Make the folder, without anything that an earlier attempt may have left."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, record: TrialRecord) -> None:
        """Write the record: as ``trial.json`` once it has a status, as ``trained.json`` for the audit until then."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / (TRAINED if record.status is None else RECORD), record.content())

    def record(self) -> TrialRecord | None:
        """The record of a trial that has come to its end, with scores and costs if it has a model."""
        record = _read(self.record_path, _RECORD_SHAPE)
        if record is None or record.status is None:
            return None
        promised = (record.dev, record.effective_macs_ratio, record.macs_ratio, record.cpu_s)
        return None if record.has_model and None in promised else record

    def trained(self) -> TrialRecord | None:
        """What the training process has left for the audit."""
        return _read(self.path / TRAINED, _RECORD_SHAPE)

    @property
    def awaits_audit(self) -> bool:
        """Whether it has trained, and has no record yet, as after an interruption."""
        return not self.record_path.exists() and self.trained() is not None

    def finished(self, headline: str) -> TrialRecord | None:
        """The record of a trial that need not be run again; None also for one that is to be tried again.

        What has a model has the dev score that it is chosen by.

        Ten thousand models are too many to read at every start, so that digests are compared where a file has changed
        later than the record alone; chosen models are compared in any case, before they are read on eval.
        """
        record = self.record()
        if record is None or record.retry:
            return None
        if not record.has_model:
            return record
        if record.objectives(headline) is None:
            return None
        try:
            changed = self.changed_file(record, since_ns=self.record_path.stat().st_ctime_ns)
        except OSError:
            return None
        return record if changed is None and MODEL in (record.files or {}) else None

    def take_training(self, other: "TrialFolder") -> None:
        """Begin anew with a copy of what another trial has left for its audit, if its model is still whole."""
        record = other.trained()
        if other == self or record is None or record.files is None or other.changed_file(record):
            return
        self.empty()
        for name in (*MODEL_FILES, OUTPUTS, TRAINED):  # the last one says that all are there
            if (other.path / name).exists():
                shutil.copyfile(other.path / name, self.path / name)

    def changed_file(self, record: TrialRecord, since_ns: int = 0) -> str | None:
        """The name of a file of the model that is gone, or not the one of the record any more; None if all are.

        Files that have not changed since ``since_ns`` (unix ns) are not read.
        """
        for name, digest in (record.files or {}).items():
            path = self.path / name
            if not path.is_file() or (path.stat().st_ctime_ns > since_ns and file_digest(path) != digest):
                return name
        return None

    def model_digests(self) -> dict[str, str]:
        """SHA-256 digests of the files of the model that are there, by name."""
        return {name: file_digest(self.path / name) for name in sorted(MODEL_FILES) if (self.path / name).exists()}

    def strange_files(self) -> list[str]:
        """Names of files that a training process has no business to leave; drafts of a killed audit are removed."""
        for draft in self.path.glob(f".{RECORD}.*.draft"):
            draft.unlink()
        return sorted({path.name for path in self.path.iterdir()} - {*MODEL_FILES, OUTPUTS, TRAINED})

    def eval_scores(self) -> Scores | None:
        """Scores on eval, in the unit of the metric: the headline and its breakdowns."""
        return _read(self.path / EVAL, _SCORES_SHAPE)

    def eval_was_read(self, headline: str) -> bool:
        """Whether the score on eval is there, and those of single items are whole if there are any."""
        itemised = (self.path / EVAL_ITEMS).exists()
        return headline in (self.eval_scores() or {}) and not (itemised and self.item_scores() is None)

    def write_eval_scores(self, scores: dict[str, float]) -> None:
        write_json(self.path / EVAL, scores)

    def item_scores(self) -> ItemScores | None:
        """Scores of the single items of eval, in double precision."""
        try:
            with np.load(io.BytesIO((self.path / EVAL_ITEMS).read_bytes()), allow_pickle=False) as file:
                found = {name: file[name] for name in file}
            curve = str(found.pop("curve", "equal_error_rate"))
            shapes = {array.shape for array in found.values()}
            found["scores"] = found["scores"].astype(np.float64)
            items = ItemScores(**{"labels": None, **found, "curve": curve})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return items if shapes == {(len(items.scores),)} and curve in CURVES else None

    def write_item_scores(self, items: ItemScores) -> None:
        """Scores in single precision by nature, as networks give them, are kept so: half the bytes."""
        single = items.scores.astype(np.float32)
        scores = single if np.array_equal(single, items.scores) else items.scores
        arrays: dict[str, NDArray[Any]] = {"scores": scores, "units": items.units}
        if items.labels is not None:
            arrays |= {"labels": items.labels.astype(np.uint8), "curve": np.array(items.curve)}
        if items.weights is not None:
            arrays["weights"] = items.weights
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        write_whole(self.path / EVAL_ITEMS, content.getvalue())

    def latencies(self) -> Scores | None:
        """Latencies (ms) and their ratios to the dense model's, by the names of the columns of ``points.csv``."""
        found = _read(self.path / LATENCY, _SCORES_SHAPE) or {}
        return found if {"latency_ms", "latency_ratio"} <= found.keys() else None

    def write_latencies(self, latencies: dict[str, float]) -> None:
        write_json(self.path / LATENCY, latencies)

    def layer_latency_ms(self) -> Scores:
        """Time in the kernels of each layer, of no layer under ""; empty where they have not been timed."""
        return dict((_read(self.path / LAYERS, _LAYERS_SHAPE) or {}).get("layers", []))

    def write_layer_latency_ms(self, spent: dict[str, float]) -> None:
        """Pairs, as their order is that of the network."""
        write_json(self.path / LAYERS, {"layers": list(spent.items())})

    def mlflow_note(self) -> dict[str, str]:
        """Which MLflow run the trial has, where, and what that run says; empty if it has not been logged."""
        return _read(self.path / TRACKED, _NOTE_SHAPE) or {}

    def write_mlflow_note(self, note: dict[str, str]) -> None:
        write_json(self.path / TRACKED, note)

    def write_traceback(self, trace: str) -> Path:
        write_whole(self.path / TRACEBACK, trace.encode(errors="replace"))
        return self.path / TRACEBACK


def _read(path: Path, shape: TypeAdapter[_Content]) -> _Content | None:
    try:
        return shape.validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError):
        return None
