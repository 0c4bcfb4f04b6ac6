"""A trial up to the finished model: task -> model -> compress -> export. ``verify.py`` measures it."""

import resource
import time
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from bench.errors import BenchError, BudgetError, Declined, MethodError, said
from bench.export.model import OnnxModel, Predictor, export_onnx, require_plain, save_module
from bench.export.streaming import export_stream
from bench.plugins.method import Chain, FrontMethod, Method
from bench.plugins.registry import load_method_spec, source_digest
from bench.plugins.task import Plan, Progress, Task
from bench.storage.files import write_whole
from bench.trial.beginning import Shared
from bench.trial.dense import DECAY, fresh_model, start_at
from bench.trial.guard import sealed
from bench.trial.pricing import measured_price
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.repeatable import seed_everything, stream_seed
from bench.trial.setting import Setting, TrialSpec
from bench.trial.teacher import Teacher
from bench.trial.trainer import Trainer
from bench.widths.cost import Price, count_macs


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
        record.status, record.reason = "declined", said(error)
    except BenchError as error:
        record.status, record.reason = "failed", said(error)
    except BaseException as error:  # of the method, sys.exit included
        require_machine(error)
        trace = folder.write_traceback("".join(traceback.format_exception(error)))
        record.status, record.reason = "failed", f"{said(error)} (see {trace})"
    record.cpu_s, record.ended_at = time.process_time() - started, time.time()
    record.peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    folder.write(record)


def require_machine(error: BaseException) -> None:
    """Raise a ``BenchError`` if a disk or the memory is to blame, not the method."""
    machine = isinstance(error, (OSError, MemoryError, torch.OutOfMemoryError))
    if machine or "DefaultCPUAllocator: can't allocate memory" in said(error):  # which has no exception of its own
        raise BenchError(said(error)) from error


def _compress(spec: TrialSpec, folder: TrialFolder, report: Progress, record: TrialRecord) -> None:
    """Train and compress; the record says what that cost, even if no model comes of it."""
    task, plan = spec.setting.build_task(), spec.setting.plan
    method_spec = load_method_spec(spec.method)
    method = method_spec.build(spec.settings)
    model, steps = _given(spec, task, method_spec.dense_share(spec.settings), report, record)
    tuned = method_spec.tuned(plan, spec.settings)
    teacher = _teacher(spec, task, report, record) if spec.setting.distill and spec.method != "dense" else None
    trainer = Trainer(
        task,
        tuned,
        steps=steps,
        seed=spec.seed,
        dense_macs=count_macs(model, task.example_input()),
        width_multiple=spec.setting.width_multiple,
        width_groups=spec.setting.width_groups,
        hardware=spec.setting.hardware,
        effort=spec.setting.effort,
        price=_price(spec, method_spec.terminal, method),
        teacher=teacher,
        beginning=_beginning(spec, task, tuned) if method_spec.stage == "in_training" else None,
        front=_front(spec, task, tuned, method),
        report=report,
    )
    seed_everything(stream_seed(spec.seed, "method"))
    record.budget, record.promises = method.promised_budget, method.promises
    training_started = time.process_time()
    try:
        with sealed(task, trainer, _held_out(task, spec.setting)):
            result = method.compress(model, trainer)
    finally:
        record.train_steps, record.train_macs = trainer.steps_done, trainer.macs_done
        record.total_steps = trainer.steps_done + plan.total_steps - steps  # those of the dense model it started from
        record.train_cpu_s = time.process_time() - training_started + trainer.shared_cpu_s
        record.curve, record.notes, record.logged = trainer.curve, trainer.notes, trainer.logged or None
    _save(result, task, spec.seed, folder)
    if task.streams and (why := _save_stream(result, task, folder)):
        record.notes = [*record.notes, f"No stream.onnx: {why}"]
    record.files = folder.model_digests()


def _given(
    spec: TrialSpec, task: Task, share: float | None, report: Progress, record: TrialRecord
) -> tuple[nn.Module, int]:
    """The model that a method is given, fresh or after a share of all steps, and the steps that it may spend."""
    plan = spec.setting.plan
    if share is None:
        return fresh_model(task, spec.seed), plan.total_steps
    start = start_at(spec.setting, spec.seed, share, report)
    record.dense_share, record.start = share, start.dev
    record.start_train_macs, record.start_cpu_s = start.train_macs, start.train_cpu_s
    return start.model, plan.total_steps - start.steps


def _teacher(spec: TrialSpec, task: Task, report: Progress, record: TrialRecord) -> Teacher:
    """The dense model of the seed after all steps; a method that starts from one has paid for the trunk they share."""
    found = start_at(spec.setting, spec.seed, 1.0, report)
    shared_macs, shared_cpu_s = ((1 - DECAY) * (own or 0) for own in (record.start_train_macs, record.start_cpu_s))
    record.teacher_cpu_s = max(0.0, found.train_cpu_s - shared_cpu_s)
    if found.train_macs is not None:
        record.teacher_train_macs = max(0, round(found.train_macs - shared_macs))
    return Teacher(task, found.model)


def _price(spec: TrialSpec, terminal: str, method: Method) -> Price | None:
    """What the budget is a share of: zeros and bits cost less in theory alone, so theirs can be no other."""
    if spec.setting.cost != "macs" and method.promises in ("mask", "bits") and method.promised_budget is not None:
        raise Declined(
            f"its budget counts zeros or bits, which cost a runtime no less {spec.setting.cost}; compare it with "
            "--cost macs"
        )
    return measured_price(spec.setting, terminal) if method.promised_budget is not None else None


def _beginning(spec: TrialSpec, task: Task, tuned: Plan) -> Shared:
    """The beginnings of all trials that train the dense model with this seed and learning rate."""
    named = {**spec.setting.made_from, "seed": spec.seed, "learning_rate": tuned.learning_rate}
    return Shared(Path(spec.setting.cache), "beginning", named, partial(fresh_model, task, spec.seed))


def _front(spec: TrialSpec, task: Task, tuned: Plan, method: Method) -> Shared | None:
    """The trainings of all trials that differ from this one by their budget alone, if one training serves them."""
    first = method.links[0] if isinstance(method, Chain) else method
    if not isinstance(first, FrontMethod):
        return None
    settings = {name: value for name, value in vars(first).items() if name != "budget"}
    widths = {
        "multiple": spec.setting.width_multiple,
        "groups": spec.setting.width_groups,
        "price": [spec.setting.cost, spec.setting.prices.get("", "")],
    }
    front = {"method": type(first).__name__, "settings": settings, "code": source_digest((type(first),)), **widths}
    beginning = _beginning(spec, task, tuned)
    return replace(beginning, kind="front", named={**beginning.named, "front": front})


def _held_out(task: Task, setting: Setting) -> list[Path]:
    """Folders that a method may not touch: all results with their caches, and the user's corpora."""
    return [Path(setting.cache).parent, *task.corpora()]


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


def _save_stream(result: object, task: Task, folder: TrialFolder) -> str:
    """Leave the form of the model that runs chunk by chunk, or say why it has none."""
    if not isinstance(result, nn.Module):
        return "the method gives an ONNX file, and states are carried by the layers of a module"
    try:
        write_whole(folder.stream_path, export_stream(result, task.example_input()).data)
    except BenchError as error:
        return said(error)
    return ""


def probe_inputs(task: Task, seed: int) -> Tensor:
    """Eight training examples, or fewer, that the outputs of a model are compared on: (n, ...)."""
    return next(task.batches("train", stream_seed(seed, "calibration"))).inputs[:8]
