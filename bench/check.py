"""Holds a plugin to the contract: every method and task of this project passes, and so should yours."""

import inspect
import math
import signal
import traceback
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BenchError, MethodError, said
from bench.export.costs import file_costs
from bench.export.model import OnnxModel, Predictor, export_onnx, require_plain
from bench.plugins.method import Method, MethodSpec, search_space
from bench.plugins.metrics import equal_error_rate
from bench.plugins.own_model import dense_model, own_model, with_own_models
from bench.plugins.registry import load_method_spec, load_task, names, source_digest
from bench.plugins.task import Batch, Metric, Plan, Predict, Progress, Split, Task
from bench.storage.cache import cached_folder, content_key
from bench.trial.evaluate import scores_of
from bench.trial.guard import sealed
from bench.trial.repeatable import seed_everything
from bench.trial.trainer import Trainer
from bench.trial.verify import largest_difference
from bench.widths.cost import count_macs


class ProbeNet(nn.Module):
    """A residual convolutional network small enough to train in a second: (B, 8, T) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(8, 12, 3, padding=1), nn.BatchNorm1d(12), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv1d(12, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU())
        self.back = nn.Conv1d(16, 12, 3, padding=1)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = torch.relu(y + self.back(self.inner(y)))
        return self.head(y.mean(2))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Probe(Task):
    """The tiny task that methods are tried on: which of two bands of noise is the louder one?"""

    metric = Metric("eer", unit="percent", direction="minimize")
    presets: ClassVar[dict[str, Plan]] = {
        "smoke": Plan(dense_steps=30, finetune_steps=20, batch_size=16, learning_rate=3e-3)
    }

    def build_model(self) -> nn.Module:
        return ProbeNet()

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        seeds = {"train": seed + 2, "dev": 0, "eval": 1}  # only training depends on the seed
        generator = torch.Generator().manual_seed(seeds[split])
        while True:
            targets = torch.arange(self.batch_size) % 2
            inputs = torch.randn(self.batch_size, 8, 20, generator=generator)
            inputs[targets == 1, :4] *= 1.5
            yield Batch(inputs, targets)
            if split != "train":
                return

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return functional.cross_entropy(model(batch.inputs), batch.targets)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        batch = next(self.batches(split, 0))
        outputs = predict(batch.inputs)
        return {self.metric.column: equal_error_rate((outputs[:, 1] - outputs[:, 0]).numpy(), batch.targets)}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 8, 20)


class ContractError(BenchError):
    """A plugin breaks the contract; the message names the rule."""


class _Hangs(BaseException):
    """Raised in the middle of whatever hangs, which is not to catch it; it says where."""


def check_plugin(name: str, limit_s: float = 300.0) -> Iterator[str]:
    """Check a method or a task by name: a line for each rule that holds, a ``ContractError`` for one that does not.

    What its code raises, ``sys.exit`` included, is such an error, and so is a step that takes longer than ``limit_s``.
    """
    classes: tuple[type, ...]
    if name in names("tasks"):
        classes = (load_task(name),)
        lines = _check_task_of(load_task(name))
    else:
        classes = (method_spec := load_method_spec(name)).classes
        lines = check_method(method_spec)
    files = {inspect.getfile(plugin) for plugin in classes}
    while True:
        try:
            with _limited(limit_s, files):
                line = next(lines, None)
        except (BenchError, OSError):
            raise
        except _Hangs as error:
            raise ContractError(f"{name} hangs: no end after {limit_s:g} s, {error}") from None
        except (Exception, SystemExit) as error:
            place = _place(traceback.extract_tb(error.__traceback__), files)
            raise ContractError(f"{name} fails: {said(error)}; {place}") from error
        if line is None:
            return
        yield line


def _check_task_of(kind: type[Task]) -> Iterator[str]:
    task = kind.at("smoke" if "smoke" in kind.presets else next(iter(kind.presets)))
    task.check()
    task.prepare(1, lambda fraction, note: None)
    yield from check_task(task)


@contextmanager
def _limited(limit_s: float, files: Collection[str]) -> Iterator[None]:
    """Raise ``_Hangs`` in what takes longer than this, again every second: its code may catch everything."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Hangs(_place(traceback.extract_stack(frame), files))

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _place(stack: traceback.StackSummary, files: Collection[str]) -> str:
    """The innermost line of the plugin's own files; ours are nobody's business."""
    own = [frame for frame in stack if frame.filename in files]
    if not own:
        return "not in a line of its own file"
    return f"in {own[-1].name}(), {own[-1].filename}, line {own[-1].lineno}: {own[-1].line}"


def check_method(method_spec: MethodSpec) -> Iterator[str]:
    """Run a method on ``Probe`` and hold its result to the contract, as ``check_plugin`` does."""
    yield from map(_declaration, method_spec.classes)
    method = method_spec.build(method_spec.at_compute(0.5))
    first, trainer = _run(method)
    yield f"stays within its steps ({trainer.steps_done} of {trainer.steps_done + trainer.steps_left})"
    exported = first if isinstance(first, OnnxModel) else _plain_module(first)
    yield "returns a plain model that exports to ONNX"
    yield _delivered(method, exported)
    _same(exported, _file_of(_run(method)[0]))
    yield "gives the same model for the same seed"


def known_to_repeat(method_spec: MethodSpec, cache: Path) -> bool:
    """Whether this code of a method has been found to give the same model twice."""
    return (cache / f"repeats-{content_key(_repeat_identity(method_spec))}").is_dir()


def ensure_repeats(method_spec: MethodSpec, cache: Path, report: Progress) -> None:
    """Job: train on ``Probe`` twice from the same seed, and remember a method that gives the same model twice.

    Another model is a ``ContractError``. A method that cannot be run there passes: its trials will say what is wrong.
    """
    method = method_spec.build(method_spec.at_compute(0.5))
    try:
        first, second = (_file_of(_run(method)[0]) for _ in range(2))
    except BaseException:  # of the plugin, or of the machine: nothing was found out, so nothing is remembered
        return
    _same(first, second)
    cached_folder(cache, "repeats", _repeat_identity(method_spec), lambda folder: None)


def _repeat_identity(method_spec: MethodSpec) -> dict[str, Any]:
    code = source_digest((Probe, *method_spec.classes))
    return {"method": method_spec.name, "code": code, "torch": torch.__version__}


def check_task(task: Task) -> Iterator[str]:
    """Hold a task, with prepared data, to the contract, as ``check_plugin`` does."""
    unhashable = [name for name, value in task.identity().items() if not isinstance(value, Hashable)]
    require(not unhashable, f"the fields of a task are hashable, not so {', '.join(unhashable)}")
    yield "is a frozen dataclass of hashable fields"
    model, example = task.build_model(), task.example_input()
    yield from _check_training(task, model, example)
    yield from _check_scores(task, model, example)


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
    require(len(list(islice(task.batches("train", 0), 500))) == 500, "training batches are endless")
    passes = [[b.inputs for b in task.batches("dev", seed)] for seed in (0, 1)]
    same = len(passes[0]) == len(passes[1]) and all(map(torch.equal, *passes))
    require(same, "dev is one ordered pass, the same for every seed")
    yield "training is endless, dev one ordered pass"


def _check_scores(task: Task, model: nn.Module, example: Tensor) -> Iterator[str]:
    exported = Predictor(export_onnx(model, example))
    with torch.no_grad():
        by_module, by_file = (scores_of(task, task.evaluate(one, "dev")) for one in (model.eval(), exported))
        items = task.item_scores(exported, "dev")
    require(next(iter(by_file)) == task.metric.column, f"evaluate() puts {task.metric.column!r} first")
    require(all(math.isclose(by_module[k], by_file[k], abs_tol=1.0) for k in by_file), "module and file score alike")
    yield "module and exported file score alike"
    if items is not None:
        whole, rule = by_file[task.metric.column], "the headline score of item_scores() is that of evaluate()"
        require(math.isclose(items.headline, whole, abs_tol=1e-6), f"{rule}: {items.headline:g} is not {whole:g}")
        yield "items score as the whole"


def require(holds: bool, rule: str) -> None:
    """Raise ``ContractError`` with the rule unless it holds."""
    if not holds:
        raise ContractError(f"breaks the contract: {rule}")


def _declaration(method: type[Method]) -> str:
    require(bool(inspect.getdoc(method)), f"{method.__name__} has a docstring, with its source")
    parameters = getattr(method, "__dataclass_params__", None)
    require(parameters is not None and parameters.frozen, f"{method.__name__} is a frozen dataclass")
    settings = ", ".join(search_space(method)) or "none"
    return f"{method.__name__}: {method.stage}, documented, frozen; settings that are searched: {settings}"


def _probe_inputs() -> Tensor:
    return next(Probe(batch_size=16).batches("dev", 0)).inputs


def _run(method: Method) -> tuple[nn.Module | OnnxModel, Trainer]:
    task, plan = Probe(batch_size=16), Probe.presets["smoke"]
    seed_everything(0)
    model = task.build_model()
    dense_macs = count_macs(model, task.example_input())
    steps = plan.total_steps if method.stage == "in_training" else plan.finetune_steps
    trainer = Trainer(task, plan, steps=steps, seed=0, dense_macs=dense_macs)
    with sealed(task, trainer, ()):
        result = method.compress(model, trainer)
    if not isinstance(result, (nn.Module, OnnxModel)):
        raise MethodError(f"compress() returned {type(result).__name__}, expected a Module or an OnnxModel")
    return result, trainer


def _plain_module(model: nn.Module) -> OnnxModel:
    try:
        require_plain(model, Probe().example_input())
    except MethodError as error:
        raise ContractError(f"breaks the contract: {error}") from error
    exported = export_onnx(model, Probe().example_input())
    with torch.no_grad():
        difference = largest_difference(model.eval()(_probe_inputs()), Predictor(exported)(_probe_inputs()))
    require(difference < 1e-4, f"the exported file computes what the model does (they differ by {difference:.2g})")
    return exported


def _delivered(method: Method, exported: OnnxModel) -> str:
    dense = count_macs(Probe().build_model(), Probe().example_input())
    costs = file_costs(exported, tuple(Probe().example_input().shape))
    budget, delivered = method.promised_budget, costs.promised(method.promises)
    if budget is not None:
        require(delivered <= budget * dense, f"asked for {budget:g} of the compute, got {delivered / dense:.4f}")
    counted = {"non-zero": costs.effective_macs, "bit operations": costs.promised("bits")}
    shares = ", ".join(f"{number / dense:.3f} {name}" for name, number in counted.items())
    return f"costs {costs.macs / dense:.3f} of the dense MACs ({shares})"


def _file_of(model: nn.Module | OnnxModel) -> OnnxModel:
    return model if isinstance(model, OnnxModel) else export_onnx(model, Probe().example_input())


def _same(*models: OnnxModel) -> None:
    first, second = (Predictor(model)(_probe_inputs()).numpy() for model in models)
    require(
        np.array_equal(first, second, equal_nan=True),
        "the same seed gives the same model, to the bit: draw random numbers from torch's, numpy's or Python's global "
        "generator, which are seeded",
    )


def check_own_model(task: Task) -> None:
    """Hold a model that the user brought to the shapes of the task, before anything is trained.

    Raises:
        BenchError: it cannot be built, its outputs are not shaped like those of the task's default model, or the file
            that it is exported to computes something else.
    """
    if not (name := own_model(task)):
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model, reference = dense_model(task).eval(), with_own_models(task).build_model().eval()
        one = torch.randn_like(task.example_input())
        two = torch.cat([one, torch.randn_like(one)])
        try:
            outputs = model(two)
        except Exception as error:  # of somebody else's code
            given = f"two examples, of shape {tuple(two.shape)}"
            raise BenchError(f"--model {name}: it does not take {given} ({said(error)})") from error
        wanted = _output_shape(reference, two)
        if not isinstance(outputs, Tensor):
            kind = type(outputs).__name__
            raise BenchError(f"--model {name}: it returns a {kind}, expected one tensor of shape {wanted}, alone")
        if [*outputs.shape] != [given or kept for given, kept in zip(wanted, outputs.shape, strict=False)]:
            raise BenchError(
                f"--model {name}: inputs of shape {tuple(two.shape)} give outputs of shape {tuple(outputs.shape)}, "
                f"expected {wanted}, where None is any length"
            )
        exported = Predictor(export_onnx(model, one))
        for inputs in (two, -two, 10 * two, two.abs()):
            expected = model(inputs)
            if float((exported(inputs) - expected).abs().max()) > 1e-3 * float(expected.abs().max()) + 1e-6:
                raise BenchError(
                    f"--model {name}: exported, it computes something else: its control flow depends on values, such "
                    "as `if x.mean() > 0`, or it draws random numbers in eval mode; use torch.where, or no branch"
                )


def _output_shape(reference: nn.Module, inputs: Tensor) -> tuple[int | None, ...]:
    """The shape of the outputs; None for what follows the length of the input, which models may round otherwise."""
    shape, longer = (reference(x).shape for x in (inputs, torch.cat([inputs, inputs], -1)))
    return tuple(size if size == other else None for size, other in zip(shape, longer, strict=True))
