"""What a finished model is and does, found out by a process that has not trained it, from the files alone.

The process that trains says what training cost. Everything else in the record of a trial comes from here: MACs and size
are counted again, dev is scored with the exported file, and the PyTorch module is built again from its recipe. A model
that is not what it was said to be is a failed trial whose reason begins with ``audit:``."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import BenchError
from bench.export.costs import Costs, file_costs
from bench.export.model import WEIGHTS, OnnxModel, Predictor, rebuilt_model
from bench.plugins.task import Progress, Task
from bench.storage.files import file_digest, read_json, write_json
from bench.trial.compress import SHIPPED, TrialSpec, of_the_machine, probe_inputs
from bench.trial.record import MODEL, OUTPUTS, RECORD, TRAINED
from bench.widths.cost import count_macs

#: exported and trained model may differ by this share of the largest output: other kernels, other order of sums
TOLERANCE = 1e-3

EXPECTED = {*SHIPPED, OUTPUTS, TRAINED}


class AuditError(BenchError):
    """A model is not what it was said to be; the message says in what."""


def audit_trial(spec: TrialSpec, folder: Path) -> dict[str, Any]:
    """Complete the record of a trial that has trained: what was delivered, and how good it is on dev.

    Args:
        spec: of the trial.
        folder: what ``run_trial`` has left; ``trial.json`` is written there.

    Returns:
        The record. One that says that the training failed is returned as it is.

    Raises:
        BenchError: the training has left nothing.
    """
    if (record := read_json(folder / RECORD)) is not None:
        return record
    if (record := read_json(folder / TRAINED)) is None:
        raise BenchError(f"nothing to audit in {folder}: the training process left no {TRAINED}")
    started = time.process_time()
    try:
        changed = still_as_audited(folder, record)
        # damaged since it was trained, by whatever: the next run trains it again
        record |= {"status": "failed", "reason": changed, "retry": True} if changed else _measured(spec, folder, record)
    except AuditError as error:
        record |= {"status": "failed", "reason": f"audit: {error}"}
    except Exception as error:  # whatever reading another's model may end in
        if of_the_machine(error):
            raise BenchError(f"{type(error).__name__}: {error}") from error
        record |= {"status": "failed", "reason": f"audit: the model cannot be measured: {error}"}
    spent = time.process_time() - started
    record["audit"] = {**record.get("audit", {"passed": False}), "cpu_s": spent - record.get("evaluation_cpu_s", 0.0)}
    record |= {"cpu_s": record["cpu_s"] + spent, "ended_at": time.time()}
    write_json(folder / RECORD, record)
    return record


def still_as_audited(folder: Path, record: dict[str, Any]) -> str:
    """Why the files of a trial are no longer those that were audited; empty if they are."""
    for name, digest in record.get("files", {}).items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            return f"audit: {name} is no longer the file that was audited"
    return ""


def _measured(spec: TrialSpec, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    for draft in folder.glob(f".{RECORD}.*.draft"):  # of an audit that was killed
        draft.unlink()
    if strange := sorted({path.name for path in folder.iterdir()} - EXPECTED):
        raise AuditError(f"the training process left files that are not its to write: {', '.join(strange)}")
    task = spec.setting.build_task()
    exported = OnnxModel((folder / MODEL).read_bytes())
    costs = file_costs(exported, tuple(task.example_input().shape))
    dense_macs = count_macs(task.build_model(), task.example_input())
    checks = _same_model(task, spec.seed, folder, exported, costs)
    started = time.process_time()
    dev = task.evaluate(Predictor(exported), "dev")
    evaluation_cpu_s = time.process_time() - started
    if not all(math.isfinite(value) for value in dev.values()):
        raise AuditError(f"{spec.method} returned a model whose dev scores are not numbers")
    return {
        "status": "complete",
        "reason": "",
        "dense_macs": dense_macs,
        "macs_ratio": costs.macs / dense_macs,
        "dev": dev,
        "evaluation_cpu_s": evaluation_cpu_s,
        "audit": {"passed": True, **checks},
        **asdict(costs),
        **_verdict(record["budget"], costs.macs / dense_macs),
    }


def _same_model(task: Task, seed: int, folder: Path, exported: OnnxModel, costs: Costs) -> dict[str, Any]:
    """Compare what the trained model computed, what the file computes, and what the module built again computes.

    Raises:
        AuditError: they differ, or the file holds more than the weights that were said to be the model.
    """
    inputs, trained = probe_inputs(task, seed), load_file(folder / OUTPUTS)["outputs"]
    if not torch.isfinite(trained).all():
        raise AuditError("the trained model computes outputs that are NaN or infinite")
    difference = _difference(trained, Predictor(exported)(inputs))
    if difference > TOLERANCE:
        raise AuditError(f"the exported file does not compute what the trained model did: {difference:.2g} apart")
    if not (folder / WEIGHTS).exists():
        return {"rebuilt": False, "difference": difference}
    stored = sum(tensor.numel() for tensor in load_file(folder / WEIGHTS).values())
    if costs.params > stored:
        raise AuditError(
            f"the exported file holds {costs.params:,} weights, the model's parameters and buffers are {stored:,}: "
            f"{costs.params - stored:,} are hidden"
        )
    module = rebuilt_model(task, folder)
    if module is not None:
        difference = max(difference, _rebuilt_difference(module, inputs, trained))
        if difference > TOLERANCE:
            raise AuditError(
                "the model built again from its recipe and its weights does not compute what the trained model did "
                f"(they differ by {difference:.2g}): it depends on something that is neither parameter nor buffer"
            )
        if (counted := count_macs(module, task.example_input())) != costs.macs:
            raise AuditError(f"the exported file has {costs.macs:,} MACs, the model that was trained {counted:,}")
    return {"rebuilt": module is not None, "difference": difference}


def _rebuilt_difference(module: nn.Module, inputs: Tensor, trained: Tensor) -> float:
    with torch.no_grad():
        return _difference(trained, module(inputs))


def _difference(expected: Tensor, found: Tensor) -> float:
    """The largest difference, as a share of the largest output; infinite where there is none."""
    if expected.shape != found.shape:
        return math.inf
    share = float((expected - found).abs().max() / expected.abs().max().clamp(min=1))
    return share if math.isfinite(share) else math.inf


def _verdict(budget: float | None, delivered: float) -> dict[str, str]:
    """Whether a method with a budget delivered it; nothing is rounded in its favour."""
    if budget is not None and delivered > budget:
        return {"status": "missed", "reason": f"asked for {budget:g} of the dense compute, delivered {delivered:.4f}"}
    return {}


def audit(spec: TrialSpec, folder: Path, report: Progress) -> dict[str, Any]:
    """Job: measure and score what a training has left, in a process that has not run the method; the trial's record."""
    return audit_trial(spec, folder)
