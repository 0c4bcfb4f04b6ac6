"""The audit: what a finished model is and does, measured by a process that has not trained it, from the files alone.

A trial whose files contradict what its training process said has failed, with a reason that begins with ``audit:``.
"""

import math
import time

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import BenchError, said
from bench.export import STREAM, WEIGHTS
from bench.export.costs import Costs, file_costs
from bench.export.memory import peak_memory_bytes
from bench.export.model import OnnxModel, Predictor, rebuilt_model
from bench.export.streaming import SAME, in_chunks
from bench.plugins.own_model import dense_model
from bench.plugins.task import Predict, Progress, Task
from bench.trial.compress import probe_inputs, require_machine
from bench.trial.evaluate import scores_of
from bench.trial.pricing import cost_measure
from bench.trial.record import MODEL, AuditRecord, TrialFolder, TrialRecord
from bench.trial.setting import TrialSpec
from bench.widths import ALLOWED, IN_WORDS
from bench.widths.cost import count_macs

#: exported and trained model may differ by this share of the largest output: other kernels, other order of sums
TOLERANCE = 1e-3
#: a note beside a result whose structure neither channels kept nor ranks describe
OWN_STRUCTURE = "The structure of this model is its method's own: recipe.json does not rebuild it."


class AuditError(BenchError):
    """The files contradict what the training process said; the message says in what."""


def audit(spec: TrialSpec, folder: TrialFolder, report: Progress) -> TrialRecord:
    """Job: complete the record of a trial that has trained: what was delivered, and how good it is on dev.

    A trial that has a record already, as one whose training failed, is left as it is. A training that has left nothing,
    and a machine that fails, such as its disk, are a ``BenchError``.
    """
    if (record := folder.record()) is not None:
        return record
    if (record := folder.trained()) is None:
        raise BenchError(f"nothing to audit in {folder.path}: the training process left no record that can be read")
    started = time.process_time()
    record.audit = AuditRecord(passed=False)
    try:
        if changed := changed_model(folder, record):  # by whatever: the next comparison trains it again
            record.status, record.reason, record.retry = "failed", changed, True
        else:
            _measure(spec, folder, record)
    except AuditError as error:
        record.status, record.reason = "failed", f"audit: {said(error)}"
    except BaseException as error:  # a file that a method made may break its reader in any way
        require_machine(error)
        record.status, record.reason = "failed", f"audit: the model cannot be measured: {said(error)}"
    spent = time.process_time() - started
    record.audit.cpu_s = spent - (record.evaluation_cpu_s or 0.0)
    record.cpu_s, record.ended_at = (record.cpu_s or 0.0) + spent, time.time()
    folder.write(record)
    return record


def changed_model(folder: TrialFolder, record: TrialRecord) -> str:
    """Why the files of the model are not those that were trained and audited; empty if they are."""
    name = folder.changed_file(record)
    return f"audit: {name} is no longer the file that was audited" if name else ""


def _measure(spec: TrialSpec, folder: TrialFolder, record: TrialRecord) -> None:
    """Enter into the record what the model costs, how good it is, and whether it is within its budget."""
    if strange := folder.strange_files():
        raise AuditError(f"the training process left files that are not its to write: {', '.join(strange)}")
    task = spec.setting.build_task()
    exported = OnnxModel(folder.model_path.read_bytes())
    costs = file_costs(exported, tuple(task.example_input().shape))
    dense_macs = count_macs(dense_model(task), task.example_input())
    # by the kernels that the training process had: those of other runtimes round integers elsewhere
    checked = _same_model(task, spec.seed, folder, Predictor(exported), costs)
    if folder.stream_path.exists():
        _same_stream(task, folder, Predictor(exported))
    predict, started = Predictor(exported, spec.setting.runtime), time.process_time()
    dev = task.evaluate(predict, "dev")
    evaluation_cpu_s = time.process_time() - started
    try:
        dev = scores_of(task, dev)
    except BenchError as error:
        raise AuditError(f"dev: {error}") from error
    record.dev, record.evaluation_cpu_s, record.audit = dev, evaluation_cpu_s, checked
    if (folder.path / WEIGHTS).exists() and not checked.rebuilt:
        record.notes = [*(record.notes or []), OWN_STRUCTURE]
    record.dense_macs, record.macs_ratio = dense_macs, costs.macs / dense_macs
    record.params, record.macs, record.effective_macs = costs.params, costs.macs, costs.effective_macs
    record.bops, record.size_bytes, record.simulated = costs.bops, costs.size_bytes, costs.simulated
    record.memory_bytes = peak_memory_bytes(exported, tuple(task.example_input().shape))
    record.status, record.reason = "complete", ""
    record.cost = cost = spec.setting.cost
    record.cost_ratio = record.macs_ratio if cost == "macs" else cost_measure(spec.setting, task)(exported)
    counted = costs.promised(record.promises or "structure") / dense_macs
    delivered = counted if cost == "macs" else record.cost_ratio
    if record.budget is not None and delivered > record.budget * ALLOWED[cost]:
        record.status = "missed"
        record.reason = f"asked for {record.budget:g} of the dense {IN_WORDS[cost]}, delivered {delivered:.4f}"


def _same_model(task: Task, seed: int, folder: TrialFolder, predict: Predict, costs: Costs) -> AuditRecord:
    """Compare what the trained model computed, what the file computes, and what the module built again computes."""
    inputs, trained = probe_inputs(task, seed), load_file(folder.outputs_path)["outputs"]
    if not torch.isfinite(trained).all():
        raise AuditError("the trained model computes outputs that are NaN or infinite")
    difference = largest_difference(trained, predict(inputs))
    if difference > TOLERANCE:
        raise AuditError(f"the exported file does not compute what the trained model did: {difference:.2g} apart")
    if not (folder.path / WEIGHTS).exists():
        return AuditRecord(passed=True, rebuilt=False, difference=difference)
    module = rebuilt_model(task, folder.path)  # its buffers that are not stored are those of the task's own model
    tensors = load_file(folder.path / WEIGHTS).values() if module is None else (*module.parameters(), *module.buffers())
    stored = sum(tensor.numel() for tensor in tensors)
    if costs.params > stored:
        raise AuditError(
            f"the exported file holds {costs.params:,} weights, the model's parameters and buffers are {stored:,}: "
            f"{costs.params - stored:,} are hidden"
        )
    if module is not None:
        with torch.no_grad():
            difference = max(difference, largest_difference(trained, module(inputs)))
        if difference > TOLERANCE:
            raise AuditError(
                "the model built again from its recipe and its weights does not compute what the trained model did "
                f"(they differ by {difference:.2g}): it depends on something that is neither parameter nor buffer"
            )
        if (counted := count_macs(module, task.example_input())) != costs.macs:
            raise AuditError(f"the exported file has {costs.macs:,} MACs, the model that was trained {counted:,}")
    return AuditRecord(passed=True, rebuilt=module is not None, difference=difference)


def _same_stream(task: Task, folder: TrialFolder, predict: Predict) -> None:
    """Compare what the streaming file gives for chunks of dev's first example with what the model gives for all."""
    inputs = next(task.batches("dev", 0)).inputs[:1]
    whole = predict(inputs)
    found = in_chunks(OnnxModel(folder.stream_path.read_bytes()), inputs, whole)
    if (difference := math.inf if found is None else largest_difference(whole, found)) > SAME:
        raise AuditError(f"{STREAM} does not compute in chunks what {MODEL} does at once: {difference:.2g} apart")


def largest_difference(expected: Tensor, found: Tensor) -> float:
    """The largest difference as a share of the largest output; infinite for other shapes, or outputs not finite."""
    if expected.shape != found.shape:
        return math.inf
    share = float((expected - found).abs().max() / expected.abs().max().clamp(min=1))
    return share if math.isfinite(share) else math.inf
