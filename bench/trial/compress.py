"""One trial up to the finished model: task -> model -> compress -> export. It is measured by another process."""

import json
import platform
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.errors import BenchError, BudgetError, Declined, MethodError
from bench.export.model import RECIPE, WEIGHTS, OnnxModel, Predictor, export_onnx, require_plain, save_module
from bench.plugins.registry import load_method_spec, load_task, source_digest
from bench.plugins.task import Plan, Progress, Task
from bench.storage.cache import cached_folder, content_key
from bench.storage.files import file_digest, write_json, write_whole
from bench.trial.guard import sealed
from bench.trial.record import MODEL, OUTPUTS, RECORD, TRAINED
from bench.trial.trainer import CPU, Hardware, Trainer, seed_everything, stream_seed
from bench.widths.cost import count_macs

SHIPPED = (MODEL, WEIGHTS, RECIPE)


@dataclass(frozen=True)
class Setting:
    """What all trials of a comparison have in common.

    Attributes:
        task: name of the task.
        preset: name of its preset.
        fields: fields of the task that the user chose.
        cache: folder of prepared data and dense models.
        data_digest: what names the prepared data.
        width_multiple: widths are multiples of this.
        width_groups: beginnings of the names of the width groups that methods may change; empty for all.
        hardware: what training runs on.
    """

    task: str
    preset: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    cache: str = "results/cache"
    data_digest: str = ""
    width_multiple: int = 1
    width_groups: tuple[str, ...] = ()
    hardware: Hardware = CPU

    def build_task(self) -> Task:
        """The task of this setting."""
        return load_task(self.task).at(self.preset, cache=Path(self.cache), **self.fields)

    @property
    def plan(self) -> Plan:
        """The training effort."""
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
    """One training run: a method (or chain) with settings, and a seed."""

    setting: Setting
    method: str
    settings: Mapping[str, Any]
    seed: int

    @cached_property
    def key(self) -> str:
        """Names the trial by everything that decides its result."""
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


def dense_checkpoint(
    task: Task,
    plan: Plan,
    seed: int,
    made_from: dict[str, object],
    *,
    on_progress: Callable[[int, float], None],
    hardware: Hardware = CPU,
) -> Path:
    """The folder with the weights and the dev scores of the dense model, trained for ``plan.dense_steps``.

    Args:
        task: what it is trained on.
        plan: the effort.
        seed: initialisation and order of the data.
        made_from: whatever else decides the weights (digests of data and code); it names the folder.
        on_progress: called with steps done and the loss.
        hardware: what it is trained on.
    """

    def build(folder: Path) -> None:
        model = fresh_model(task, seed)
        macs = count_macs(model, task.example_input())
        trainer = Trainer(
            task, plan, steps=plan.dense_steps, seed=seed, dense_macs=macs, hardware=hardware, on_progress=on_progress
        )
        started = time.process_time()
        trainer.fit(model)
        spent = {"train_macs": trainer.macs_done, "train_cpu_s": time.process_time() - started}
        write_whole(folder / "model.safetensors", save(model.state_dict()))
        dev = task.evaluate(Predictor(export_onnx(model, task.example_input())), "dev")
        (folder / "dense.json").write_text(json.dumps({"dev": dev, "curve": trainer.curve, "macs": macs, **spent}))

    return cached_folder(task.cache, "dense", {**made_from, "seed": seed}, build)


def load_dense(task: Task, folder: Path) -> nn.Module:
    """A copy of the trained dense model."""
    model = task.build_model()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


Report = Callable[[int, int, float], None]


def run_trial(spec: TrialSpec, folder: Path, report: Report) -> None:
    """Train and compress, and leave a model in ``folder`` with what its training cost; nothing is scored here.

    A mistake of the method is a failed trial with its reason, not an exception.

    Args:
        spec: what to run.
        folder: where ``trained.json``, ``model.onnx``, ``model.safetensors`` and its method_spec go, and ``trial.json``
            if there is nothing to audit.
        report: called with steps done, steps in all, and the loss.
    """
    started, started_at = time.process_time(), time.time()
    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"method": spec.method, "settings": dict(spec.settings), "seed": spec.seed}
    try:
        _compress(spec, folder, report, record)
    except (Declined, BudgetError) as error:
        record |= {"status": "declined", "reason": str(error)}
    except BenchError as error:
        record |= {"status": "failed", "reason": str(error)}
    except Exception as error:
        if of_the_machine(error):
            raise BenchError(f"{type(error).__name__}: {error}") from error
        trace = "".join(traceback.format_exception(error))
        write_whole(folder / "traceback.txt", trace)
        record |= {"status": "failed", "reason": f"{type(error).__name__}: {error} (see {folder / 'traceback.txt'})"}
    record |= {"cpu_s": time.process_time() - started, "started_at": started_at, "ended_at": time.time()}
    record["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(folder / (RECORD if "status" in record else TRAINED), record)


def of_the_machine(error: Exception) -> bool:
    """Whether a disk or the memory is to blame, not the method; PyTorch has no exception of its own for the memory."""
    machine = isinstance(error, (OSError, MemoryError, torch.OutOfMemoryError))
    return machine or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _compress(spec: TrialSpec, folder: Path, report: Report, record: dict[str, Any]) -> None:
    """Train and compress; the record says what that cost, also if it comes to nothing."""
    task, plan = spec.setting.build_task(), spec.setting.plan
    method_spec = load_method_spec(spec.method)
    method = method_spec.build(spec.settings)
    if method.stage == "in_training":
        model, steps, start = fresh_model(task, spec.seed), plan.total_steps, None
    else:
        made_from, hardware = spec.setting.made_from, spec.setting.hardware
        progress = _training(report, plan)
        start = dense_checkpoint(task, plan, spec.seed, made_from, on_progress=progress, hardware=hardware)
        model, steps = load_dense(task, start), plan.finetune_steps
    trainer = Trainer(
        task,
        method_spec.tuned(plan, spec.settings),
        steps=steps,
        seed=spec.seed,
        dense_macs=count_macs(model, task.example_input()),
        width_multiple=spec.setting.width_multiple,
        width_groups=spec.setting.width_groups,
        hardware=spec.setting.hardware,
        on_progress=lambda done, loss: report(done, steps, loss),
    )
    seed_everything(stream_seed(spec.seed, "method"))
    begun = json.loads((start / "dense.json").read_text()) if start else None
    record |= {
        "asked_compute": method.asked_compute,
        "budget": method.promised_budget,
        "start": begun and begun["dev"],
        "start_train_macs": begun and begun["train_macs"],
        "start_cpu_s": begun and begun["train_cpu_s"],
    }
    training_started = time.process_time()
    try:
        with sealed(task, trainer, _held_out(spec)):
            result = method.compress(model, trainer)
    finally:
        record |= {
            "train_steps": trainer.steps_done,
            "total_steps": trainer.steps_done + (plan.dense_steps if start else 0),
            "train_macs": trainer.macs_done,
            "train_cpu_s": time.process_time() - training_started,
            "curve": trainer.curve,
            "notes": trainer.notes,
        }
    record["files"] = _save(result, task, spec.seed, folder)


def _held_out(spec: TrialSpec) -> list[Path]:
    """Folders that a method has no business in: all results with their caches, and those of the user's corpora."""
    named = (value for value in spec.setting.build_task().identity().values() if isinstance(value, str) and value)
    return [Path(spec.setting.cache).parent, *(Path(value) for value in named if Path(value).is_dir())]


def _save(result: object, task: Task, seed: int, folder: Path) -> dict[str, str]:
    """Leave the model as it will be used, and what it computes now; the SHA-256 digests of its files.

    Raises:
        MethodError: it is no model, or not a plain one.
    """
    probe = probe_inputs(task, seed)
    if isinstance(result, nn.Module):
        require_plain(result, task.example_input())
        exported = export_onnx(result, task.example_input())
        save_module(result, task, folder)
        with torch.no_grad():
            outputs = result.eval()(probe)
    elif isinstance(result, OnnxModel):
        exported = result
        outputs = Predictor(result)(probe)
    else:
        raise MethodError(f"compress() returned {type(result).__name__}, expected a torch.nn.Module or an OnnxModel")
    write_whole(folder / MODEL, exported.data)
    write_whole(folder / OUTPUTS, save({"outputs": outputs.contiguous()}))
    return {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.name in SHIPPED}


def probe_inputs(task: Task, seed: int) -> Tensor:
    """Eight training examples, or fewer, that the outputs of a model are compared on: (n, ...)."""
    return next(task.batches("train", stream_seed(seed, "calibration"))).inputs[:8]


def _training(report: Report, plan: Plan) -> Callable[[int, float], None]:
    return lambda done, loss: report(done, plan.dense_steps, loss)


def train_dense(setting: Setting, seed: int, report: Progress) -> None:
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


def train(spec: TrialSpec, folder: Path, report: Progress) -> None:
    """Job: train and compress; what is left in the folder is for ``audit`` to measure."""
    shutil.rmtree(folder, ignore_errors=True)
    run_trial(spec, folder, lambda done, steps, loss: report(done / max(1, steps), f"loss {loss:.3f}"))
