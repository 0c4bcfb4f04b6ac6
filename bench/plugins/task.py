"""What a task author writes: data, a dense model, a loss and a metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, did_you_mean
from bench.plugins.metrics import CURVES, Curve
from bench.plugins.sounds import SoundScoring

if TYPE_CHECKING:  # a report needs no PyTorch, which takes seconds to import
    from torch import Tensor, nn

    from bench.plugins.recordings import Recording

Split = Literal["train", "dev", "eval"]
#: in the order in which they are used
SPLITS: tuple[Split, ...] = get_args(Split)
Direction = Literal["minimize", "maximize"]
Predict = Callable[["Tensor"], "Tensor"]
Progress = Callable[[float, str], None]
LONGEST_ABBREVIATION = 3  # letters: EER, WER, MSE
_Task = TypeVar("_Task", bound="Task")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Metric:
    """The headline metric: its name, its unit, and whether low or high is good.

    Attributes:
        name: in lower case, such as ``eer``; with the unit it is the key of the headline in ``evaluate``.
        unit: ``percent``, or any other in a word.
        direction: ``minimize`` or ``maximize``.
        guess: what a model scores that has learned nothing, where the unit is percent: there hypervolume ends.
    """

    name: str
    unit: str
    direction: Direction
    guess: float = 50.0

    @property
    def column(self) -> str:
        """The name with its unit, as it stands in tables: ``eer_percent``."""
        return f"{self.name}_{self.unit}"

    @property
    def title(self) -> str:
        """The name as prose writes it: ``EER``, ``PR AUC``, ``word error``."""
        return " ".join(part if len(part) > LONGEST_ABBREVIATION else part.upper() for part in self.name.split("_"))

    @property
    def worst(self) -> float:
        """What a failed trial counts as."""
        return float("inf") if self.direction == "minimize" else float("-inf")


@dataclass(frozen=True)
class Plan:
    """The training effort of one preset. The task owns it, so that no method can give itself more.

    A method that takes a budget has ``trials`` trials: one for each of ``budgets``, and the rest to tune with, of which
    methods without a budget have as many.

    Attributes:
        dense_steps: of the optimiser, for the shared dense model that post-hoc methods start from.
        finetune_steps: further steps of a post-hoc method; an in-training method gets the sum of both.
        batch_size: of training.
        learning_rate: peak rate of the optimiser (AdamW).
        weight_decay: decoupled.
        trials: see above.
        seeds: training runs of each chosen point; the first seed is the one that the search used.
        budgets: fractions of the dense compute that are tried first.
        left_out: methods that take part only if they are asked for.
        also: methods with settings, and chains, that take part beside single methods.
        fields: values of the task's own fields in this preset, such as its model or the size of its data.
    """

    dense_steps: int
    finetune_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 1e-2
    trials: int = 4
    seeds: int = 1
    budgets: tuple[float, ...] = (0.5, 0.25, 0.125, 0.0625)
    left_out: tuple[str, ...] = ()
    also: tuple[str, ...] = ("magnitude_pruning+quantization",)
    fields: Mapping[str, Hashable] = field(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """Steps that every compressed model has been trained for in the end, by any method."""
        return self.dense_steps + self.finetune_steps

    def steps_of(self, share: float) -> int:
        """A share of all steps, in whole steps, of which at least one is left before and after."""
        return min(max(1, round(share * self.total_steps)), self.total_steps - 1)


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of one step, first dimension: examples."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class ItemScores:
    """The score of each item of a split, from which the headline score follows: items can be drawn again.

    Attributes:
        scores: (n,) what each item gets. With labels the headline is read from a curve of these scores (a higher one
            means more likely a target); without, it is their mean, so they are in the unit of the metric.
        labels: (n,) 1 = target, 0 = not; or None.
        units: (n,) integers: items with the same one depend on each other (the frames of one recording) and are
            drawn together.
        weights: (n,) how often each item counts; once each if None. The words of each utterance turn a mean of word
            error rates into the rate over all words; voxels can be counted by unit, score and label.
        curve: what is read with labels: ``equal_error_rate`` or ``average_precision``.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.integer | np.bool_] | None
    units: NDArray[np.integer]
    weights: NDArray[np.number] | None = None
    curve: Curve = "equal_error_rate"

    @property
    def headline(self) -> float:
        """The headline score; raises what ``equal_error_rate`` does."""
        if self.labels is None:
            return float(np.average(np.asarray(self.scores, dtype=np.float64), weights=self.weights))
        return CURVES[self.curve](self.scores, self.labels, self.weights)


def per_split(make: Callable[[_Task, Split], _Made]) -> Callable[[_Task, Split], _Made]:
    """Decorate a method of a task that reads what a split is made of: it does so once, and the task keeps it."""

    @wraps(make)
    def kept(task: _Task, split: Split) -> _Made:
        known = vars(task).setdefault(f"{make.__name__} by split", {})
        if split not in known:
            known[split] = make(task, split)
        made: _Made = known[split]
        return made

    return kept


@dataclass(frozen=True)
class Task(ABC):
    """A problem to solve: subclasses are frozen dataclasses whose fields are hashable and name the caches."""

    metric: ClassVar[Metric]
    presets: ClassVar[Mapping[str, Plan]]
    #: what ``example_input`` is, for the tables: MACs and latency are quoted for it
    work_unit: ClassVar[str] = "example"
    #: axis of ``example_input`` whose entries (mel bands) a method may drop like any other width; None if none
    input_width_axis: ClassVar[int | None] = None

    #: classes of the ``recordings``, of each of which every split needs some; empty if they have none
    recording_labels: ClassVar[tuple[str, ...]] = ()

    #: examples of a training batch; a preset sets it to its plan's
    batch_size: int = field(default=32, kw_only=True)
    #: folder that holds prepared data; it is not part of the task's identity
    cache: Path = field(default=Path("results/cache"), compare=False, repr=False, kw_only=True)

    @classmethod
    def at(cls, preset: str, **chosen: Any) -> Self:
        """The task as a preset sets it up, with the fields that the user chose; a ``BenchError`` for no such preset."""
        if preset not in cls.presets:
            near, known = did_you_mean(preset, cls.presets), ", ".join(cls.presets)
            raise BenchError(f"task {cls.__name__} has no preset {preset!r}{near}; choose one of: {known}")
        plan = cls.presets[preset]
        return replace(cls(), batch_size=plan.batch_size, **{**plan.fields, **chosen})

    def identity(self) -> dict[str, Hashable]:
        """The fields that name what this task computes."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """How far a model's outputs are from a teacher's, shape (): the loss of distillation; squared error by default.

        See ``bench.soft_divergence`` for the logits of classes.
        """
        return (outputs - teacher).square().mean()

    def check(self) -> None:  # noqa: B027  (a hook: most tasks can be used as they are)
        """Raise ``BenchError`` for what the user can correct (a missing folder), before anything is started."""

    def recordings(self, workers: int, progress: Progress) -> Sequence[Recording] | None:
        """The sound files of all splits, for ``bench data check``, made first if need be; None if there are none."""
        return None

    def corpora(self) -> list[Path]:
        """Files and folders that a method may not open while it trains: the folders that fields name."""
        named = (value for value in self.identity().values() if isinstance(value, str) and value)
        return [path for path in map(Path, named) if path.is_dir()]

    def best_possible(self, compute: float) -> float | None:
        """The best headline score that any model of this share of the dense MACs, in (0, 1], can reach, if known."""
        return None

    def prepare(self, workers: int, progress: Progress) -> str:
        """Make or find the data under ``cache``, once, before trials run; returns a digest of the data."""
        return ""

    def disjoint(self, split: Split) -> Mapping[str, Collection[Hashable]]:
        """What no two splits may share, by kind, such as the names of all recordings and of all speakers of this one.

        Shared ones are refused before anything is trained. Nothing is declared by default.
        """
        return {}

    @abstractmethod
    def build_model(self) -> nn.Module:
        """The dense model, freshly initialised from torch's global random state."""

    def adopt(self, model: nn.Module) -> nn.Module:
        """A user's own model as this task trains it: a loss with parameters of its own adds them here."""
        return model

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

    def item_scores(self, predict: Predict, split: Split) -> ItemScores | None:
        """The scores of single items that ``evaluate`` sums up, so that intervals can be drawn over items.

        None for a task without them; one that has them computes ``evaluate`` as the ``summary`` of them.
        """
        return None

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """What ``evaluate`` returns, from the items of a split; a task with breakdowns overrides it."""
        return {self.metric.column: items.headline}

    @abstractmethod
    def example_input(self) -> Tensor:
        """One unit of work, a batch of one: MACs and latency are quoted for it."""

    def timed_inputs(self) -> Mapping[str, Tensor]:
        """Further inputs, batches of one, that latency is quoted for: ``chunk`` (streaming), ``utterance`` (whole)."""
        return {}

    @property
    def streams(self) -> bool:
        """Whether its models give outputs along with their input, whose last axis is time, and are to run in chunks.

        A model whose layers can carry state is then exported in that form, too, and its ``chunk`` is timed so.
        """
        return False

    def duration_s(self, inputs: Tensor) -> float | None:
        """How long a recording these inputs are: their latency is then told as a real-time factor, too."""
        return None

    def sound_scoring(self) -> SoundScoring | None:
        """How models of this task score sound files, for ``bench export``; None for a task of other inputs.

        It is asked for once ``prepare`` has been called, so that the statistics of the train split are there.
        """
        return None
