"""One trial, from top to bottom: task -> model -> compress -> export -> measure -> record."""

import json
import math
import platform
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from bench.cache import content_key
from bench.dense import dense_checkpoint, fresh_model, load_dense
from bench.errors import BenchError, BudgetError, Declined, MethodError
from bench.measure import OnnxModel, Predictor, count_macs, export_onnx, file_costs
from bench.method import Chain, Method
from bench.registry import load_recipe, load_task, source_digest
from bench.task import Plan, Task
from bench.train import CPU, Hardware, Trainer, stream_seed

RECORD = "trial.json"
MODEL = "model.onnx"
WEIGHTS = "model.safetensors"


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
        recipe = load_recipe(self.method)
        return content_key(
            {
                **self.setting.made_from,
                "method": recipe.chain,
                "settings": {**recipe.fixed, **self.settings},
                "seed": self.seed,
                "width_multiple": self.setting.width_multiple,
                "width_groups": self.setting.width_groups,
                "method_code": source_digest(recipe.classes),
            }
        )


Report = Callable[[int, int, float], None]


def run_trial(spec: TrialSpec, folder: Path, report: Report) -> dict[str, Any]:
    """Run one trial and leave its record and its model in ``folder``.

    A mistake of the method is a failed trial with its reason, not an exception.

    Args:
        spec: what to run.
        folder: where ``trial.json``, ``model.onnx`` and ``model.safetensors`` go.
        report: called with steps done, steps in all, and the loss.

    Returns:
        The record: what was asked, what was delivered, dev scores, costs.
    """
    started = time.process_time()
    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"method": spec.method, "settings": dict(spec.settings), "seed": spec.seed}
    try:
        record |= {"status": "complete", "reason": "", **_compress(spec, folder, report)}
    except (Declined, BudgetError) as error:
        record |= {"status": "declined", "reason": str(error)}
    except BenchError as error:
        record |= {"status": "failed", "reason": str(error)}
    except (OSError, MemoryError) as error:  # of the machine, not of the method
        raise BenchError(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        (folder / "traceback.txt").write_text(trace)
        record |= {"status": "failed", "reason": f"{type(error).__name__}: {error} (see {folder / 'traceback.txt'})"}
    record["cpu_s"] = time.process_time() - started
    record["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(folder / RECORD, record)
    return record


def _compress(spec: TrialSpec, folder: Path, report: Report) -> dict[str, Any]:
    task, plan = spec.setting.build_task(), spec.setting.plan
    recipe = load_recipe(spec.method)
    method = recipe.build(spec.settings)
    if method.stage == "in_training":
        model, steps, start = fresh_model(task, spec.seed), plan.total_steps, None
    else:
        made_from, hardware = spec.setting.made_from, spec.setting.hardware
        progress = _training(report, plan)
        start = dense_checkpoint(task, plan, spec.seed, made_from, on_progress=progress, hardware=hardware)
        model, steps = load_dense(task, start), plan.finetune_steps
    dense_macs = count_macs(model, task.example_input())
    trainer = Trainer(
        task,
        plan,
        steps=steps,
        seed=spec.seed,
        dense_macs=dense_macs,
        width_multiple=spec.setting.width_multiple,
        width_groups=spec.setting.width_groups,
        hardware=spec.setting.hardware,
        on_progress=lambda done, loss: report(done, steps, loss),
    )
    torch.manual_seed(stream_seed(spec.seed, "method"))
    result = method.compress(model, trainer)
    exported = _exported(result, task, folder)
    dev = task.evaluate(Predictor(exported), "dev")
    if not all(math.isfinite(value) for value in dev.values()):
        raise MethodError(f"{spec.method} returned a model whose dev scores are not numbers")
    costs = file_costs(exported, tuple(task.example_input().shape))
    return {
        "asked_compute": method.asked_compute,
        "dense_macs": dense_macs,
        "macs_ratio": costs.macs / dense_macs,
        "train_steps": trainer.steps_done,
        "total_steps": trainer.steps_done + (plan.dense_steps if start else 0),
        "start": json.loads((start / "dense.json").read_text())["dev"] if start else None,
        "dev": dev,
        **asdict(costs),
        "curve": trainer.curve,
        "notes": trainer.notes,
        **_verdict(method, costs.macs / dense_macs),
    }


def _exported(result: object, task: Task, folder: Path) -> OnnxModel:
    """The model as the ONNX file that is scored; the weights of a module beside it."""
    if isinstance(result, nn.Module):
        exported = export_onnx(result, task.example_input())
        save_file({name: t.contiguous() for name, t in result.state_dict().items()}, folder / WEIGHTS)
        counted = count_macs(result, task.example_input())
        in_file = file_costs(exported, tuple(task.example_input().shape)).macs
        if counted != in_file:
            raise MethodError(f"the exported file has {in_file:,} MACs, the model that was trained {counted:,}")
    elif isinstance(result, OnnxModel):
        exported = result
    else:
        raise MethodError(f"compress() returned {type(result).__name__}, expected a torch.nn.Module or an OnnxModel")
    (folder / MODEL).write_bytes(exported.data)
    return exported


def _verdict(method: Method, delivered: float) -> dict[str, str]:
    """Whether a method with a budget delivered it; nothing is rounded in its favour."""
    links = method.links if isinstance(method, Chain) else (method,)
    budget = next((link.budget for link in reversed(links) if hasattr(link, "budget")), None)
    if budget is not None and delivered > budget:
        return {"status": "missed", "reason": f"asked for {budget:g} of the dense compute, delivered {delivered:.4f}"}
    return {}


def _training(report: Report, plan: Plan) -> Callable[[int, float], None]:
    return lambda done, loss: report(done, plan.dense_steps, loss)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file so that it is there whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    draft.replace(path)
