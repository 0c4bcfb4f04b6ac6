"""A trial up to the finished model: task -> model -> compress -> export. ``verify.py`` measures it."""

import json
import platform
import resource
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.errors import BenchError, BudgetError, Declined, MethodError
from bench.export import WEIGHTS
from bench.export.model import OnnxModel, Predictor, export_onnx, require_plain, save_module
from bench.plugins.method import Stage
from bench.plugins.registry import load_method_spec, load_task, source_digest
from bench.plugins.task import Plan, Progress, Task
from bench.storage.cache import cached_folder, content_key
from bench.storage.files import write_whole
from bench.trial.guard import sealed
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.trainer import CPU, Hardware, Trainer, seed_everything, stream_seed
from bench.widths.cost import count_macs


@dataclass(frozen=True)
class Setting:
    """What all trials of a comparison have in common."""

    task: str
    preset: str
    fields: Mapping[str, Any] = field(default_factory=dict)  # of the task, as the user chose
    cache: str = "results/cache"  # folder of prepared data and dense models
    data_digest: str = ""  # of the prepared data, from ``Task.prepare``
    width_multiple: int = 1  # of which all widths are multiples
    width_groups: tuple[str, ...] = ()  # beginnings of the names of those that methods may change; empty for all
    hardware: Hardware = CPU

    def build_task(self) -> Task:
        return load_task(self.task).at(self.preset, cache=Path(self.cache), **self.fields)

    @property
    def plan(self) -> Plan:
        return load_task(self.task).presets[self.preset]

    @cached_property
    def made_from(self) -> dict[str, Any]:
        """What decides the weights of the dense model, apart from the seed; JSON-serialisable."""
        task = self.build_task()
        return {
            "task": self.task,
            "fields": {name: str(value) for name, value in task.identity().items()},
            "data": self.data_digest,
            "plan": {k: v for k, v in asdict(self.plan).items() if k not in ("fields", "trials", "seeds", "budgets")},
            "code": source_digest((type(task),)),
            "torch": torch.__version__,
            "processor": platform.machine(),
            "hardware": asdict(self.hardware),
        }


@dataclass(frozen=True)
class TrialSpec:
    """What decides a trial: its setting, a method (or chain) with settings of its own, and a seed."""

    setting: Setting
    method: str
    settings: Mapping[str, Any]
    seed: int

    @cached_property
    def key(self) -> str:
        """Names the trial by everything that decides its result: 16 hexadecimal digits."""
        method_spec = load_method_spec(self.method)
        return content_key(
            {
                **self.setting.made_from,
                "method": method_spec.chain,
                "settings": {**method_spec.fixed, **self.settings},
                "seed": self.seed,
                "width_multiple": self.setting.width_multiple,
                "width_groups": self.setting.width_groups,
                "method_code": source_digest(method_spec.classes),
            }
        )


def fresh_model(task: Task, seed: int) -> nn.Module:
    """The task's dense model, initialised from the seed."""
    torch.manual_seed(stream_seed(seed, "init"))
    return task.build_model()


def train_dense(setting: Setting, seed: int, report: Progress) -> Path:
    """Job: the cached folder of a seed's dense model, trained for ``plan.dense_steps`` unless it is there already."""
    task = setting.build_task()

    def build(folder: Path) -> None:
        model, plan = fresh_model(task, seed), setting.plan
        macs, hardware = count_macs(model, task.example_input()), setting.hardware
        trainer = Trainer(
            task, plan, steps=plan.dense_steps, seed=seed, dense_macs=macs, hardware=hardware, report=report
        )
        started = time.process_time()
        trainer.fit(model)
        spent = {"train_macs": trainer.macs_done, "train_cpu_s": time.process_time() - started}
        write_whole(folder / WEIGHTS, save(model.state_dict()))
        dev = task.evaluate(Predictor(export_onnx(model, task.example_input())), "dev")
        (folder / "dense.json").write_text(json.dumps({"dev": dev, **spent}))

    return cached_folder(task.cache, "dense", {**setting.made_from, "seed": seed}, build)


def train(spec: TrialSpec, folder: TrialFolder, report: Progress) -> None:
    """Job: train and compress; leave the model with what its training cost, for ``audit`` to measure.

    The folder gets the model and ``trained.json``, or ``trial.json`` if there is no model to audit: a mistake of the
    method is a failed trial with its reason; only a machine that fails, such as its disk, is a ``BenchError``.
    """
    started = time.process_time()
    folder.empty()
    record = TrialRecord(method=spec.method, settings=dict(spec.settings), seed=spec.seed, started_at=time.time())
    try:
        _compress(spec, folder, report, record)
    except (Declined, BudgetError) as error:
        record.status, record.reason = "declined", str(error)
    except BenchError as error:
        record.status, record.reason = "failed", str(error)
    except Exception as error:
        require_machine(error)
        trace = folder.write_traceback("".join(traceback.format_exception(error)))
        record.status, record.reason = "failed", f"{type(error).__name__}: {error} (see {trace})"
    record.cpu_s, record.ended_at = time.process_time() - started, time.time()
    record.peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    folder.write(record)


def require_machine(error: Exception) -> None:
    """Raise a ``BenchError`` if a disk or the memory is to blame, not the method."""
    machine = isinstance(error, (OSError, MemoryError, torch.OutOfMemoryError))
    if machine or "DefaultCPUAllocator: can't allocate memory" in str(error):  # which has no exception of its own
        raise BenchError(f"{type(error).__name__}: {error}") from error


def _compress(spec: TrialSpec, folder: TrialFolder, report: Progress, record: TrialRecord) -> None:
    """Train and compress; the record says what that cost, even if no model comes of it."""
    task, plan = spec.setting.build_task(), spec.setting.plan
    method_spec = load_method_spec(spec.method)
    method = method_spec.build(spec.settings)
    model, steps = _beginning(spec, task, method.stage, report, record)
    trainer = Trainer(
        task,
        method_spec.tuned(plan, spec.settings),
        steps=steps,
        seed=spec.seed,
        dense_macs=count_macs(model, task.example_input()),
        width_multiple=spec.setting.width_multiple,
        width_groups=spec.setting.width_groups,
        hardware=spec.setting.hardware,
        report=report,
    )
    seed_everything(stream_seed(spec.seed, "method"))
    record.budget = method.promised_budget
    training_started = time.process_time()
    try:
        with sealed(task, trainer, _held_out(task, spec.setting)):
            result = method.compress(model, trainer)
    finally:
        record.train_steps, record.train_macs = trainer.steps_done, trainer.macs_done
        record.total_steps = trainer.steps_done + (plan.dense_steps if record.start is not None else 0)
        record.train_cpu_s = time.process_time() - training_started
        record.curve, record.notes = trainer.curve, trainer.notes
    _save(result, task, spec.seed, folder)
    record.files = folder.model_digests()


def _beginning(
    spec: TrialSpec, task: Task, stage: Stage, report: Progress, record: TrialRecord
) -> tuple[nn.Module, int]:
    """The model that a method of this stage is given, and the steps it may spend; a dense model enters the record."""
    plan = spec.setting.plan
    if stage == "in_training":
        return fresh_model(task, spec.seed), plan.total_steps
    folder = train_dense(spec.setting, spec.seed, report)
    dense = json.loads((folder / "dense.json").read_text())
    record.start, record.start_train_macs, record.start_cpu_s = dense["dev"], dense["train_macs"], dense["train_cpu_s"]
    model = task.build_model()
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model, plan.finetune_steps


def _held_out(task: Task, setting: Setting) -> list[Path]:
    """Folders that a method may not touch: all results with their caches, and the user's corpora."""
    named = (value for value in task.identity().values() if isinstance(value, str) and value)
    return [Path(setting.cache).parent, *(Path(value) for value in named if Path(value).is_dir())]


def _save(result: object, task: Task, seed: int, folder: TrialFolder) -> None:
    """Leave the model as it will be used, and what it computes now."""
    probe = probe_inputs(task, seed)
    if isinstance(result, nn.Module):
        require_plain(result, task.example_input())
        exported = export_onnx(result, task.example_input())
        save_module(result, task, folder.path)
        with torch.no_grad():
            outputs = result.eval()(probe)
    elif isinstance(result, OnnxModel):
        exported = result
        outputs = Predictor(result)(probe)
    else:
        raise MethodError(f"compress() returned {type(result).__name__}, expected a torch.nn.Module or an OnnxModel")
    write_whole(folder.model_path, exported.data)
    write_whole(folder.outputs_path, save({"outputs": outputs.contiguous()}))


def probe_inputs(task: Task, seed: int) -> Tensor:
    """Eight training examples, or fewer, that the outputs of a model are compared on: (n, ...)."""
    return next(task.batches("train", stream_seed(seed, "calibration"))).inputs[:8]
