"""Holds a task to the contract: its splits, its batches, its loss and its scores."""

import math
from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import combinations, islice

import torch
from torch import Tensor, nn

from bench.check.probe import smallest
from bench.check.rules import ContractError, require
from bench.errors import BenchError
from bench.export.model import Predictor, export_onnx
from bench.plugins.own_model import dense_model
from bench.plugins.task import SPLITS, Task
from bench.trial.evaluate import scores_of
from bench.trial.repeatable import seed_everything
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs

ENOUGH = 500  # training batches that are as good as endlessly many
FEW = 0.01  # share of the inputs of a split that may be in the training data, too, as some corpora have duplicates
LEARNED = 0.8  # share of its loss that a model has left when it has learned something
UNKNOWN = "no_such_model"
WORSE = 0.1  # share of its score that it may lose then


def check_task(task: Task) -> Iterator[str]:
    """Hold a task, with prepared data, to the contract, as ``check_plugin`` does."""
    unhashable = [name for name, value in task.identity().items() if not isinstance(value, Hashable)]
    require(not unhashable, f"the fields of a task are hashable, not so {', '.join(unhashable)}")
    yield "is a frozen dataclass of hashable fields"
    if hasattr(task, "model"):
        yield _check_models(task)
    seed_everything(0)
    model, example = dense_model(task), task.example_input()
    yield from _check_training(task, model, example)
    yield from _check_splits(task)
    yield from _check_scores(task, model, example)
    yield _check_direction(task, model)


def _check_models(task: Task) -> str:
    """A name that is misspelt is refused, or a comparison of the default model is taken for one of another."""
    try:
        replace(task, model=UNKNOWN).check()  # type: ignore[call-arg]
    except BenchError as refusal:
        return f"refuses a model that it does not have: {refusal}"
    raise ContractError(f"breaks the contract: check() refuses a model that there is not, such as {UNKNOWN!r}")


def require_disjoint(task: Task) -> list[str]:
    """What of ``task.disjoint`` no two splits share, by kind; a ``ContractError`` names what they do share."""
    found = {split: task.disjoint(split) for split in SPLITS}
    for one, other in combinations(found, 2):
        for kind in found[one]:
            shared = {*found[one][kind]} & {*found[other].get(kind, ())}
            named = f"{kind} {min(map(str, shared))!r}{' and others' * (len(shared) > 1)}" if shared else ""
            require(not shared, f"no two splits share what must differ; {named} of {one} is in {other}, too")
    return list(found["train"])


def _check_training(task: Task, model: nn.Module, example: Tensor) -> Iterator[str]:
    require(isinstance(example, Tensor), f"example_input() is a tensor, not {type(example).__name__}")
    require(len(example) == 1, f"example_input() is one unit of work: first dimension 1, not {len(example)}")
    require(count_macs(model, example) > 0, "the model costs something")
    first, again, other = (next(task.batches("train", seed)) for seed in (1, 1, 2))
    kinds = {type(tensor).__name__ for batch in (first, again, other) for tensor in (batch.inputs, batch.targets)}
    require(kinds == {"Tensor"}, f"batches hold tensors, not {', '.join(kinds - {'Tensor'})}")
    require(torch.equal(first.inputs, again.inputs), "the same seed gives the same training batches")
    require(not torch.equal(first.inputs, other.inputs), "another seed gives other training batches")
    yield "batches follow the seed"
    loss = task.loss(model, first)
    require(isinstance(loss, Tensor), f"loss() is a tensor of shape (), not {type(loss).__name__}")
    require(loss.shape == () and bool(torch.isfinite(loss)), f"loss() is one finite number, not {loss}")
    loss.backward()  # type: ignore[no-untyped-call]
    yield "the loss is a number that can be differentiated"


def _check_splits(task: Task) -> Iterator[str]:
    train = list(islice(task.batches("train", 0), ENOUGH))
    require(len(train) == ENOUGH, "training batches are endless")
    seen: set[bytes] | None = None
    for split in SPLITS[1:]:
        passes = [[b.inputs for b in islice(task.batches(split, seed), 100 * ENOUGH)] for seed in (0, 1)]
        require(len(passes[0]) < 100 * ENOUGH, f"{split} is one pass, which ends")
        same = len(passes[0]) == len(passes[1]) and all(map(torch.equal, *passes))
        require(same, f"{split} is one ordered pass, the same for every seed")
        if passes[0] and passes[0][0].shape[1:] == train[0].inputs.shape[1:]:
            seen = seen if seen is not None else {key for batch in train for key in _keys(batch.inputs)}
            known = [key in seen for inputs in passes[0] for key in _keys(inputs)]
            require(
                sum(known) <= FEW * len(known),
                f"what is trained on is not scored: {sum(known)} of the {len(known)} inputs of {split} are in train",
            )
    yield "training is endless, dev and eval one ordered pass, of other inputs"
    if kinds := require_disjoint(task):
        yield f"no two splits share what they must not: {', '.join(kinds)}"


def _keys(inputs: Tensor) -> Iterator[bytes]:
    return (row.numpy().tobytes() for row in inputs.contiguous())


def _check_scores(task: Task, model: nn.Module, example: Tensor) -> Iterator[str]:
    exported = Predictor(export_onnx(model, example))
    with torch.no_grad():
        by_module, by_file = (scores_of(task, task.evaluate(one, "dev")) for one in (model.eval(), exported))
        items = task.item_scores(exported, "dev")
    require(next(iter(by_file)) == task.metric.column, f"evaluate() puts {task.metric.column!r} first")
    require(by_module.keys() == by_file.keys(), "evaluate() gives the same scores by name for any model")
    require(all(math.isclose(by_module[k], by_file[k], abs_tol=1.0) for k in by_file), "module and file score alike")
    yield "module and exported file score alike"
    if items is not None:
        whole, rule = by_file[task.metric.column], "the headline score of item_scores() is that of evaluate()"
        require(math.isclose(items.headline, whole, abs_tol=1e-6), f"{rule}: {items.headline:g} is not {whole:g}")
        yield "items score as the whole"


def _check_direction(task: Task, model: nn.Module) -> str:
    """Whoever has a much smaller loss on dev has no worse score there, or what is called better is worse."""
    metric, plan = task.metric, task.presets[smallest(type(task))]

    def measured() -> tuple[float, float]:
        model.eval()
        with torch.no_grad():
            losses = [float(task.loss(model, batch)) for batch in task.batches("dev", 0)]
            return sum(losses) / len(losses), scores_of(task, task.evaluate(model, "dev"))[metric.column]

    (loss, before), macs = measured(), count_macs(model, task.example_input())
    Trainer(task, plan, steps=plan.total_steps, seed=0, dense_macs=macs).fit(model)
    less, after = measured()
    line = f"{plan.total_steps} steps of training take the loss on dev from {loss:.4g} to {less:.4g}"
    line += f", {metric.column} from {before:.4g} to {after:.4g}"
    worse = (after - before) * (1 if metric.direction == "minimize" else -1) > WORSE * abs(before)
    rule = f"the score follows the loss, but {line}: is direction {metric.direction!r} of the metric right?"
    require(not worse or less > LEARNED * loss, rule)
    return line + (" (too little to see whether its direction is right)" if less > LEARNED * loss else "")
