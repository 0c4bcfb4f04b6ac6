"""What widths cost in bytes or in latency: models of many widths are made and measured, and a price is fitted.

Whole models are measured, not layers alone: what a runtime fuses, copies or finds in its caches depends on the layers
around, and an integer file has other kernels altogether.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import nnls
from torch import Tensor, nn

from bench.errors import BenchError
from bench.export.latency import CALM, Compared, Effort, Loaded, compare_times
from bench.export.memory import peak_memory_bytes
from bench.export.model import OnnxModel, export_onnx
from bench.plugins.own_model import dense_model
from bench.plugins.registry import load_method_spec, source_digest
from bench.plugins.task import Progress, Task
from bench.storage.cache import cached_folder
from bench.storage.files import write_whole
from bench.storage.provenance import processor, version_of
from bench.trial.repeatable import seed_everything
from bench.trial.setting import Setting
from bench.trial.trainer import Trainer
from bench.widths.cost import Price, ProductCost, Sizes, count_macs
from bench.widths.widths import Widths

FITTED = "price.json"
TIMING = Effort(repeats=3, most=20, repeat_ms=15.0)
#: a file is loaded and timed anew so many times, as a bad place in memory lasts as long as it is loaded; those that a
#: price is fitted to once, as what one of them is off by the others make good
TIMES, FITTED_TIMES = 3, 1
#: and so many times at most, while fewer were calm: somebody at work on the same core may stay for a while
MOST_TIMES, PAUSE_S, SETTLING = 9, 0.2, 12
#: outputs that a kernel may compute at once
BLOCKS = (1, 8, 16)
MOST_MODELS = 80
#: parts of the models, each of which tells how far a price is off that is fitted to the others
PARTS = 4

Make = Callable[[nn.Module], OnnxModel]


def price_of(setting: Setting, terminal: str = "", report: Progress = lambda fraction, note: None) -> Price | None:
    """Job: what budgets are shares of in these trials; None for MACs, which every model is counted for.

    Measured when it is first asked for, then kept: by processor and runtime, for they decide what a kernel takes.

    Args:
        setting: of the trials.
        terminal: the method that makes the files, such as quantization at the end of a chain; none for plain export.
        report: called with the share of models that have been measured.
    """
    if setting.cost == "macs":
        return None

    def measure(folder: Path) -> None:
        write_whole(folder / FITTED, json.dumps(asdict(_measured(setting, terminal, report))) + "\n")

    named = {
        **setting.made_from,
        "cost": setting.cost,
        "terminal": {terminal: source_digest(load_method_spec(terminal).classes)} if terminal else "",
        "machine": [processor(), onnxruntime.__version__],
    }
    if setting.cost == "latency":
        named["timed"] = [setting.runtime, version_of(setting.runtime), setting.threads]
    folder = cached_folder(Path(setting.cache), "price", named, measure)
    try:
        return TypeAdapter(Price).validate_json((folder / FITTED).read_bytes())
    except ValidationError as error:
        raise BenchError(f"{folder / FITTED} holds no price; delete the folder, and it is measured again") from error


def measured_price(setting: Setting, terminal: str) -> Price | None:
    """The same for a training: it can measure a model, too, as where the fit is off."""
    if (price := price_of(setting, terminal)) is None:
        return None
    task = setting.build_task()
    make, measure = _maker(setting, task, terminal), cost_measure(setting, task)
    return replace(price, measured=lambda model: measure(make(model)))


def cost_measure(setting: Setting, task: Task) -> "Share":
    """What tells the cost of a file as a share of the dense model's, on an axis that files are measured for."""
    measure, price = _new_measure(setting, task), price_of(setting)
    if price is not None and price.dense_ms is not None:
        measure.dense_ms = price.dense_ms
    return measure


def _new_measure(setting: Setting, task: Task, times: int = TIMES) -> "Share":
    example = task.example_input()
    dense = export_onnx(dense_model(task), example)
    if setting.cost == "bytes":
        return _CountedShare(lambda file: len(file.data), dense)
    if setting.cost == "memory":
        return _CountedShare(lambda file: peak_memory_bytes(file, tuple(example.shape)), dense)
    return _LatencyShare(dense, example, setting, times)


class Share(ABC):
    """Tells the cost of a file as a share of the dense model's.

    Attributes:
        dense_ms: what the dense model takes in calm moments of the machine; None where nothing is timed.
    """

    dense_ms: float | None = None

    def settle(self) -> None:  # noqa: B027  (what is counted is certain)
        """Wait until the cost of the dense model is certain."""

    @abstractmethod
    def __call__(self, file: OnnxModel) -> float:
        """The share."""


class _CountedShare(Share):
    def __init__(self, cost_of: Callable[[OnnxModel], float], dense: OnnxModel) -> None:
        self._cost_of, self._dense_cost = cost_of, cost_of(dense)

    def __call__(self, file: OnnxModel) -> float:
        return self._cost_of(file) / self._dense_cost


class _LatencyShare(Share):
    """Tells the latency of a file as a share of the dense model's, both in calm moments of the machine."""

    def __init__(self, dense: OnnxModel, example: Tensor, setting: Setting, times: int) -> None:
        self._example, self._times = example, times
        self._load = partial(Loaded, runtime=setting.runtime, threads=setting.threads)
        self._dense = self._load(dense).reference(example)

    @property
    def dense_ms(self) -> float:
        return self._dense.fastest_ms

    @dense_ms.setter
    def dense_ms(self, known: float) -> None:
        self._dense.fastest_ms = known

    def settle(self) -> None:
        """See how fast the dense model is in calm moments: some of a few seconds will be calm."""
        for _ in range(SETTLING):
            compare_times(self._dense.calls, self._dense, TIMING)
            time.sleep(PAUSE_S)

    def __call__(self, file: OnnxModel) -> float:
        found: list[Compared] = []
        for _ in range(MOST_TIMES):
            found.append(compare_times(self._load(file).calls(self._example), self._dense, TIMING))
            if sum(map(self._calm, found)) >= self._times:
                break
            if not self._calm(found[-1]):
                time.sleep(PAUSE_S)
        calm = list(filter(self._calm, found)) or [min(found, key=lambda compared: compared.reference_ms)]
        return median(compared.ratio for compared in calm)

    def _calm(self, compared: Compared) -> bool:
        return compared.reference_ms <= CALM * self._dense.fastest_ms


def _measured(setting: Setting, terminal: str, report: Progress) -> Price:
    """Make models of random widths, measure and fit."""
    torch.set_num_threads(1)
    seed_everything(0)
    task = setting.build_task()
    example = task.example_input()
    widths = Widths(dense_model(task), example, input_axis=task.input_width_axis)
    terms = _terms(widths)
    count = min(MOST_MODELS, 20 + 2 * len(terms))
    make, measure = _maker(setting, task, terminal), _new_measure(setting, task, FITTED_TIMES)
    measure.settle()
    rng, drawn, costs = np.random.default_rng(0), [], []
    for number in range(count):
        sizes = _random_sizes(widths, rng) if number else widths.sizes
        drawn.append(sizes)
        costs.append(measure(make(widths.keep({name: torch.arange(size) for name, size in sizes.items()}))))
        report((number + 1) / count, "")
    price = fitted(setting, terms, drawn, np.array(costs))
    return replace(price, dense_ms=measure.dense_ms)


def _maker(setting: Setting, task: Task, terminal: str) -> Make:
    """What makes the file of a model: plain export, or the method that does it at the end of a chain."""
    if not terminal:
        return lambda model: export_onnx(model, task.example_input())
    method = load_method_spec(terminal).build({})
    macs = count_macs(dense_model(task), task.example_input())

    def make(model: nn.Module) -> OnnxModel:
        made = method.compress(model, Trainer(task, setting.plan, steps=0, seed=0, dense_macs=macs))
        if not isinstance(made, OnnxModel):
            raise BenchError(f"{terminal} returned no file, so what it costs in {setting.cost} cannot be measured")
        return made

    return make


def _terms(widths: Widths) -> list[ProductCost]:
    """What a cost may be made of: a constant, so much a channel, so much a pair that is multiplied and a result."""
    one = {"": 1}
    channels = [ProductCost("", 1, one, {name: 1}) for name in widths.sizes]
    results = [product._replace(unit=1, inputs=one) for product in widths.products if product.inputs != one]
    return [ProductCost("", 1, one, one), *channels, *widths.products, *results]


def _random_sizes(widths: Widths, rng: np.random.Generator) -> Sizes:
    """Widths around a common share of the dense ones."""
    share = rng.uniform(0.05, 1)
    drawn = {name: round(size * share * rng.uniform(0.5, 1.5)) for name, size in widths.sizes.items()}
    return {name: int(np.clip(drawn[name], widths.least[name], size)) for name, size in widths.sizes.items()}


def fitted(setting: Setting, terms: Sequence[ProductCost], sizes: Sequence[Sizes], costs: NDArray[np.float64]) -> Price:
    """The price that is closest to what models of these sizes cost, in relative terms and with no negative part.

    Products get the blocks, one product after the other, with which models are told best that it was not fitted to.
    """
    chosen = list(terms)

    def off(own: Sequence[ProductCost]) -> float:
        return float(np.mean(np.abs(_told(own, sizes, costs) / costs - 1)))

    for place, term in enumerate(terms):
        for block in BLOCKS[1:] if term.weight else ():
            tried = [*chosen[:place], term._replace(block=block), *chosen[place + 1 :]]
            if off(tried) < off(chosen):
                chosen = tried
    units = _fit(_rows(chosen, sizes), costs)
    kept = [term._replace(unit=term.unit * float(unit)) for term, unit in zip(chosen, units, strict=True) if unit]
    told = zip(_told(chosen, sizes, costs).tolist(), costs.tolist(), strict=True)
    return Price(setting.cost, tuple(kept), dense=1.0, told=tuple(told))


def _told(terms: Sequence[ProductCost], sizes: Sequence[Sizes], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each part of the models is told to cost, by a price that is fitted to the other parts."""
    rows, parts = _rows(terms, sizes), np.arange(len(costs)) % PARTS
    told = np.empty(len(costs))
    for part in range(PARTS):
        own = parts == part
        told[own] = rows[own] @ _fit(rows[~own], costs[~own])
    return told


def _rows(terms: Sequence[ProductCost], sizes: Sequence[Mapping[str, int]]) -> NDArray[np.float64]:
    return np.array([[term.at({"": 1, **own}) for term in terms] for own in sizes], float)


def _fit(rows: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The units of the terms, none negative, by least squares of the relative errors."""
    scale = rows.max(0)
    units, _ = nnls(rows / scale / costs[:, None], np.ones(len(costs)))
    return np.asarray(units / scale)
