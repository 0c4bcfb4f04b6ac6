"""What a task author writes: data, a dense model, a loss and a metric."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from bench.errors import BenchError
from bench.suggest import did_you_mean

Split = Literal["train", "dev", "eval"]
Predict = Callable[[Tensor], Tensor]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Metric:
    """The headline metric: its name, its unit, and whether small or large is good."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]

    @property
    def column(self) -> str:
        """The name with its unit, as it stands in tables: ``eer_percent``."""
        return f"{self.name}_{self.unit}"

    @property
    def worst(self) -> float:
        """What a failed trial counts as."""
        return float("inf") if self.direction == "minimize" else float("-inf")


@dataclass(frozen=True)
class Plan:
    """The training effort of one preset. The task owns it, so that no method can give itself more.

    Attributes:
        dense_steps: optimiser steps of the shared dense model that post-hoc methods start from.
        finetune_steps: further steps of a post-hoc method; an in-training method gets the sum of both.
        batch_size: examples a step.
        learning_rate: peak rate of the optimiser (AdamW).
        weight_decay: decoupled weight decay.
        trials: trials a study runs for every method that has something to tune.
        seeds: training runs of each chosen point; the first seed is the one that the search used.
        budgets: fractions of the dense model's compute that every study tries first.
        fields: values of the task's own fields under this preset (model, size of the corpus).
    """

    dense_steps: int
    finetune_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 1e-2
    trials: int = 4
    seeds: int = 1
    budgets: tuple[float, ...] = (0.5, 0.25, 0.125, 0.0625)
    fields: Mapping[str, Hashable] = field(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """Steps that every compressed model has seen in the end, whatever the method."""
        return self.dense_steps + self.finetune_steps


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of one step, first dimension: examples."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Task(ABC):
    """A problem to solve: subclasses are frozen dataclasses whose fields are hashable and name the caches.

    Attributes:
        batch_size: examples of a training batch; a preset sets it to its plan's.
        cache: folder that holds prepared data; where it lies is no part of what the task is.
    """

    metric: ClassVar[Metric]
    presets: ClassVar[Mapping[str, Plan]]
    #: what ``example_input`` is, for the tables: MACs and latency are quoted for it
    work_unit: ClassVar[str] = "example"
    #: axis of ``example_input`` whose entries (mel bands) a method may drop like any other width; None if none
    input_width_axis: ClassVar[int | None] = None

    batch_size: int = field(default=32, kw_only=True)
    cache: Path = field(default=Path("results/cache"), compare=False, repr=False, kw_only=True)

    @classmethod
    def at(cls, preset: str, **chosen: Any) -> Self:
        """The task as a preset sets it up, with the user's own choice of fields on top."""
        if preset not in cls.presets:
            raise BenchError(
                f"task {cls.__name__} has no preset {preset!r}{did_you_mean(preset, cls.presets)}; "
                f"choose one of: {', '.join(cls.presets)}"
            )
        plan = cls.presets[preset]
        return replace(cls(), batch_size=plan.batch_size, **{**plan.fields, **chosen})

    def identity(self) -> dict[str, Hashable]:
        """The fields that name what this task computes."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}

    def check(self) -> None:  # noqa: B027  (a hook: most tasks can be used as they are)
        """Raise ``BenchError`` for what the user can mend (a missing folder), before anything is started."""

    def best_possible(self, compute: float) -> float | None:
        """The best headline score that any model of this share of the dense compute can reach, where theory knows it.

        Args:
            compute: fraction of the dense model's MACs, in (0, 1].
        """
        return None

    def prepare(self, workers: int, progress: Progress) -> str:
        """Make or find the data under ``cache``, once, before trials run; returns a digest of the data."""
        return ""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """The dense model, freshly initialised from torch's global random state."""

    @abstractmethod
    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Endless shuffled batches of ``train``; one ordered pass over ``dev`` or ``eval``."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The training loss, shape ()."""

    @abstractmethod
    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """The headline metric first, under ``metric.column``, then its breakdowns.

        ``predict`` maps a batch of inputs to a batch of outputs: a torch module or an ONNX Runtime session.
        """

    @abstractmethod
    def example_input(self) -> Tensor:
        """One unit of work, a batch of one: MACs and latency are quoted for it."""
