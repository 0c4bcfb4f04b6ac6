"""What a method author writes: a frozen dataclass with ``compress``."""

import dataclasses
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from bench.errors import BenchError, did_you_mean
from bench.plugins.fields import configure

if TYPE_CHECKING:
    from torch import nn

    from bench.export.model import OnnxModel
    from bench.plugins.task import Plan
    from bench.trial.trainer import Trainer

Stage = Literal["in_training", "post_hoc"]
#: what a method makes smaller: the structure, so that any runtime is faster, for several budgets at once in a front;
#: the number of non-zero weights; their bits
Promise = Literal["structure", "front", "mask", "bits"]

RATE = "learning_rate_factor"  # a setting of every method: of the plan's rate, for all the steps that it takes
DENSE_SHARE = "dense_share"  # a setting of every post-hoc method: of all steps, before it is given the dense model
DENSE_SHARES = (0.25, 0.5, 0.75)
DEFAULT_SHARE = 0.75
EIGHT_BITS = 8 * 8 / (32 * 32)  # bit operations of integers of 8 bits as a share of those of floats


@dataclass(frozen=True)
class Tunable:
    """The range that a hyperparameter is searched in: an interval or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None


def tune(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: Sequence[Any] | None = None,
) -> Any:
    """A dataclass field with a default and the range it is searched in.

    Example:
        ``budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)``
    """
    if (choices is None) == (low is None or high is None):
        raise TypeError("tune() takes either low and high, or choices")
    space = Tunable(low, high, log, tuple(choices) if choices is not None else None)
    return dataclasses.field(default=default, metadata={"tune": space})


@dataclass(frozen=True)
class Method(ABC):
    """One way to compress a network. The fields of a subclass are its hyperparameters.

    ``stage`` says what ``compress`` receives: ``in_training`` a freshly initialised dense model and the whole step
    budget; ``post_hoc`` a copy of the shared trained dense model and the fine-tune steps. A ``terminal`` method
    returns a model in deployment format, after which nothing can follow. An in-training method that ``continues`` can
    take over from another method, too. A ``control`` is run for comparison. One that ``follows`` runs after the search,
    seed by seed, with the fields ``budget`` and ``widths`` of the best in-training model at each budget. What it
    ``promises`` decides which compute its field ``budget`` is held to: all multiply-accumulates, or for a ``mask``
    those with a non-zero weight.
    """

    stage: ClassVar[Stage]
    promises: ClassVar[Promise] = "structure"
    terminal: ClassVar[bool] = False
    continues: ClassVar[bool] = False
    control: ClassVar[bool] = False
    follows: ClassVar[bool] = False

    @abstractmethod
    def compress(self, model: "nn.Module", trainer: "Trainer") -> "nn.Module | OnnxModel":
        """The compressed model. ``trainer`` is all that a method sees of the task."""

    def __post_init__(self) -> None:
        for name, choices in _choices(type(self)).items():
            value = getattr(self, name)
            given = f"{type(self).__name__}: {name} {value!r}"
            if choices is not None and value not in choices:
                hint = did_you_mean(str(value), map(str, choices))
                raise BenchError(f"{given} is not one of {', '.join(map(repr, choices))}{hint}")
            if choices is None and not isinstance(value, (int, float)):
                raise BenchError(f"{given} is not a number")
        budget = getattr(self, "budget", None)
        if budget is not None and not 0 < budget <= 1:
            raise BenchError(
                f"{type(self).__name__}: budget {budget!r} is outside (0, 1]; it is the fraction of the dense model's "
                "compute that the result may cost, for instance 0.25"
            )

    @property
    def promised_budget(self) -> float | None:
        """The fraction of the dense model's compute that the result may cost, if the method promises any."""
        return getattr(self, "budget", None)


@dataclass(frozen=True)
class FrontMethod(Method):
    """A method whose one training serves several budgets: ``compress`` cuts its model from ``trainer.train_once``.

    The trials of a seed divide the cost of that training, but not that of the dense model a post-hoc one begins with.
    They run with the defaults of all other settings: what is tuned at one budget would need a training for itself.
    """

    promises = "front"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    budgets: str = ""  # all that the training serves, such as ``0.25 0.125``; that of this model alone if empty

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(_is_share(text) for text in str(self.budgets).split()):  # a single one is read as a number
            raise BenchError(f"{type(self).__name__}: budgets {self.budgets!r} are not shares in (0, 1], as 0.25 0.125")
        if self.budget not in self.served:
            raise BenchError(
                f"{type(self).__name__}: budget {self.budget:g} is none of those it is trained for, {self.budgets}; "
                "add it to them, or ask for one of them"
            )

    @property
    def served(self) -> tuple[float, ...]:
        """The budgets of all models that the training serves."""
        return tuple(float(text) for text in str(self.budgets).split()) or (self.budget,)


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


@dataclass(frozen=True)
class Chain(Method):
    """Methods applied one after the other, each with its share of the steps; the last one with a budget sets it."""

    links: tuple[Method, ...] = ()

    def __post_init__(self) -> None:
        if problem := chain_problem([type(link) for link in self.links]):
            raise BenchError(problem)

    @property
    def stage(self) -> Stage:  # type: ignore[override]  # a chain begins where its first link begins
        return self.links[0].stage

    @property
    def promised_budget(self) -> float | None:
        return self._steered.promised_budget

    @property
    def promises(self) -> Promise:  # type: ignore[override]
        return self._steered.promises

    @property
    def _steered(self) -> Method:
        """The link that sets the budget; the last one if none does."""
        return next((link for link in reversed(self.links) if link.promised_budget is not None), self.links[-1])

    def compress(self, model: "nn.Module", trainer: "Trainer") -> "nn.Module | OnnxModel":
        result: nn.Module | OnnxModel = model
        for link, steps in zip(self.links, self._shares(trainer), strict=True):
            left = min(steps, trainer.steps_left)  # gradients that a link has computed outside its training cost steps
            result = link.compress(result, trainer.limited(left))  # type: ignore[arg-type]  # chain_problem
        return result

    def _shares(self, trainer: "Trainer") -> list[int]:
        """Steps of each link: none for a terminal one that does not train, unless no other link does.

        After an in-training link the others share the fine-tune steps; otherwise all share equally.
        """
        steps, finetune = trainer.steps_left, trainer.plan.finetune_steps
        trains = [not link.terminal or link.continues for link in self.links]
        training = sum(trains) or 1  # a link that does not train can only be the last
        shares = [steps // training] * training
        if training > 1 and self.stage == "in_training":
            shares = [steps - finetune] + [finetune // (training - 1)] * (training - 1)
        shares[-1] += steps - sum(shares)
        return shares + [0] * (len(self.links) - training)


def chain_problem(links: Sequence[type[Method]]) -> str | None:
    """Why these methods cannot follow one another in this order, or None."""
    for before, after in itertools.pairwise(links):
        one, other = before.__name__, after.__name__
        if before.terminal:
            return f"{one} returns a model in deployment format, so {other} cannot follow it; put {one} last"
        if after.stage == "in_training" and not after.continues:
            return f"{other} compresses while a fresh model trains, so it cannot follow {one}; put {other} first"
    return None if links else "a chain needs at least one method"


def _choices(method: type[Method]) -> dict[str, tuple[Any, ...] | None]:
    """The values that fields may have: of those that are searched, None for a number, and of ``Literal`` ones."""
    literal = {f.name: get_args(f.type) for f in dataclasses.fields(method) if get_origin(f.type) is Literal}
    return {**literal, **{name: space.choices for name, space in search_space(method).items()}}


def search_space(method: type[Method]) -> dict[str, Tunable]:
    """The tunable fields of a method and their ranges."""
    return {f.name: f.metadata["tune"] for f in dataclasses.fields(method) if "tune" in f.metadata}


@dataclass(frozen=True)
class MethodSpec:
    """A method, or a chain of them, by name: what can be searched, and how settings become a ``Method``.

    The settings of the first link keep their names; those of a later link are called ``link.setting``.
    """

    name: str  # as the user wrote it
    chain: str  # the names of the links, joined by ``+``
    classes: tuple[type[Method], ...]
    fixed: Mapping[str, Any]  # settings that the user chose; they are not searched

    def __post_init__(self) -> None:
        if problem := chain_problem(self.classes):
            raise BenchError(f"{self.name}: {problem}")
        self.build(self.defaults())  # refuses a setting that does not exist before anything runs

    @property
    def stage(self) -> Stage:
        return self.classes[0].stage

    @property
    def control(self) -> bool:
        return all(link.control for link in self.classes)

    @property
    def terminal(self) -> str:
        """The name of the last link of a chain, if it makes the file; empty if that is plain export."""
        return self.chain.rpartition("+")[2] if self.classes[-1].terminal and len(self.classes) > 1 else ""

    @property
    def follows(self) -> bool:
        return any(link.follows for link in self.classes) and "widths" not in self.fixed  # a user's own wait for none

    def tuned(self, plan: "Plan", settings: Mapping[str, Any]) -> "Plan":
        """The plan with the learning rate that these settings ask for; the rate of every method is tuned alike."""
        return dataclasses.replace(plan, learning_rate=plan.learning_rate * self._rate(settings))

    def _rate(self, settings: Mapping[str, Any]) -> float:
        factor = {RATE: 1.0, **self.fixed, **settings}[RATE]
        if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
            said = f"{self.name}: {RATE} {factor!r}"
            raise BenchError(f"{said} is not a positive number; 1 keeps the plan's learning rate")
        return factor

    def dense_share(self, settings: Mapping[str, Any]) -> float | None:
        """The share of all steps that trains the dense model it starts from; None for a method that starts afresh."""
        if self.stage == "in_training":
            return None
        share = {DENSE_SHARE: DEFAULT_SHARE, **self.fixed, **settings}[DENSE_SHARE]
        if not isinstance(share, (int, float)) or not 0 < share < 1:
            raise BenchError(
                f"{self.name}: {DENSE_SHARE} {share!r} is outside (0, 1); it is the share of all training steps after "
                "which the method is given the dense model, for instance 0.5"
            )
        return float(share)

    def _links(self) -> list[tuple[str, type[Method]]]:
        """The links, each behind what the names of its settings begin with."""
        return list(zip(["", *(f"{link}." for link in self.chain.split("+")[1:])], self.classes, strict=True))

    def space(self) -> dict[str, Tunable]:
        """The ranges of the settings that can be searched."""
        ranges = {prefix + name: own for prefix, link in self._links() for name, own in search_space(link).items()}
        ranges[RATE] = Tunable(0.1, 3.0, log=True)
        if self.stage == "post_hoc":
            ranges[DENSE_SHARE] = Tunable(choices=DENSE_SHARES)
        return {name: own for name, own in ranges.items() if name not in self.fixed}

    def defaults(self) -> dict[str, Any]:
        """The defaults of the settings that can be searched."""
        values = {prefix + f.name: f.default for prefix, link in self._links() for f in dataclasses.fields(link)}
        values |= {RATE: 1.0, DENSE_SHARE: DEFAULT_SHARE}
        if served := [text for text in str(self.fixed.get("budgets", "")).split() if self.is_front and _is_share(text)]:
            values["budget"] = float(served[0])  # the default may be none of them
        return {name: values[name] for name in self.space()}

    def at_compute(self, fraction: float) -> dict[str, Any]:
        """The defaults, but with this fraction of the dense model's compute as the budget.

        Links of a chain that each have a budget approach it in equal ratios: the square root of it, then all of it.
        Before a link that promises bits they do so from what 8 bits alone reach.
        """
        settings = self.defaults()
        budgets = {f"{prefix}budget": link.promises for prefix, link in self._links() if f"{prefix}budget" in settings}
        of_macs = min(1.0, fraction / EIGHT_BITS) if "bits" in budgets.values() else fraction
        shares = {name: of_macs ** (done / len(budgets)) for done, name in enumerate(budgets, 1)}
        return settings | shares | {name: fraction for name, promises in budgets.items() if promises == "bits"}

    def asked_of_macs(self, fraction: float) -> list[float]:
        """The shares of the dense MACs, not of bit operations, that links ask for with this fraction as the budget."""
        settings, links = self.at_compute(fraction), self._links()
        names = [f"{prefix}budget" for prefix, link in links if link.promises != "bits"]
        return [settings[name] for name in names if name in settings]

    def serving(self, budgets: Sequence[float]) -> dict[str, Any]:
        """The settings that all trials of a comparison with these budgets have."""
        if not self.is_front or "budgets" in self.fixed:
            return {}
        served = dict.fromkeys({**self.at_compute(budget), **self.fixed}["budget"] for budget in budgets)
        return {"budgets": " ".join(map(repr, served))}

    @property
    def is_front(self) -> bool:
        """Whether one training serves all budgets."""
        return issubclass(self.classes[0], FrontMethod)

    @property
    def reaches_compute(self) -> bool:
        """Whether a fraction of the compute can be asked for."""
        return any(name.split(".")[-1] == "budget" for name in self.space())

    def build(self, settings: Mapping[str, Any]) -> Method:
        """The method with these settings."""
        self._rate(settings)
        links = []
        self.dense_share(settings)
        general = (RATE, DENSE_SHARE) if self.stage == "post_hoc" else (RATE,)
        rest = {name: value for name, value in {**self.fixed, **settings}.items() if name not in general}
        for prefix, link in reversed(self._links()):
            own = {n: rest.pop(n) for n in list(rest) if n.startswith(prefix) and (prefix or "." not in n)}
            links.append(configure(link, {n.removeprefix(prefix): value for n, value in own.items()}))
        if rest:
            raise BenchError(f"{self.name} has no setting {sorted(rest)[0]!r}; it has: {', '.join(self.space())}")
        return links[0] if len(links) == 1 else Chain(links=tuple(reversed(links)))
