"""What a comparison tries of each method: an Optuna study of the budgets, then of its settings."""

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from bench.plugins.method import RATE, MethodSpec, Tunable
from bench.plugins.task import Direction
from bench.runner.journal import open_study

BATCH = 4  # trials proposed before any of them is told, so that the proposals do not depend on the number of processes
#: a power of two: of the trials that tune a method the first so many are drawn, before TPE has enough to learn from
DRAWN_POWER = 3


@dataclass(frozen=True)
class Proposal:
    """Settings to try, with the number that the study gives them."""

    number: int
    settings: Mapping[str, Any]


class MethodStudy:
    """The trials of one method: the budgets first, each with the defaults of everything else, then other settings.

    The first of these are drawn, the same for all methods as far as they share settings, at first the learning rate
    alone: a method must not be better for having come upon the better one. Then TPE proposes. It has two objectives:
    dev error, and compute (non-zero MACs as a fraction of the dense model's). The study is kept in a journal file, so
    that an interrupted search goes on where it was. A method without a tunable setting runs once.

    Args:
        method_spec: the method.
        directions: whether each of the two objectives is to be low or high.
        budgets: fractions of the dense compute to begin with.
        trials: of a method that takes a budget; those beyond one for each budget tune it, and every other method has
            as many beyond its first.
        journal: file of the study.
    """

    def __init__(
        self,
        method_spec: MethodSpec,
        *,
        directions: Sequence[Direction],
        budgets: Sequence[float],
        trials: int,
        journal: Path,
    ) -> None:
        self.method_spec = method_spec
        self.space = {name: _distribution(tunable) for name, tunable in method_spec.space().items()}
        steered = [method_spec.at_compute(budget) for budget in budgets]
        first = steered if method_spec.reaches_compute else [method_spec.defaults()]
        tuned = bool(self.space) and not method_spec.is_front  # whose models are those of one training
        self.trials = len(first) + (max(0, trials - len(budgets)) if tuned else 0)
        self._common = method_spec.serving(budgets)
        self.tunes = self.trials > len(first)  # beyond the defaults
        self._outcomes: dict[int, tuple[float, float] | None] = {}
        self._proposed: list[Proposal] = []
        self._study = open_study(journal, method_spec.name, directions, set(self.space)) if self.space else None
        if self._study is not None:
            known = self._study.get_trials(deepcopy=False)  # from before an interruption
            self._told = {trial.number for trial in known if trial.state.is_finished()}
            self._known = {trial.number: dict(trial.params) for trial in known if trial.params}
            drawn = list(_drawn(method_spec, budgets))[: self.trials - len(first)]
            for settings in [*first, *drawn][len(known) :]:  # none, unless it was interrupted in between
                self._study.enqueue_trial(settings)

    @property
    def finished(self) -> bool:
        return len(self._outcomes) == self.trials

    def proposals(self) -> list[Proposal]:
        """The next trials to run; none until the outcomes of all that were proposed before have been told."""
        if self.finished or len(self._outcomes) < len(self._proposed):
            return []
        if self._study is None:
            batch = [Proposal(0, {})]
        else:
            start = len(self._proposed)
            asked = [self._ask(number) for number in range(start, min(start + BATCH, self.trials))]
            batch = [Proposal(one.number, {**self._common, **one.settings}) for one in asked]
        self._proposed += batch
        return batch

    def tell(self, number: int, objectives: tuple[float, float] | None) -> None:
        """Take the two objectives of a trial, or None for a failed one; of those that it has not proposed, nothing."""
        if number >= self.trials:
            return
        self._outcomes[number] = objectives
        if self._study is None or len(self._outcomes) < len(self._proposed):
            return
        for proposal in self._proposed[-BATCH:]:  # in their order, not in the order in which they finished
            if proposal.number not in self._told:
                values = self._outcomes[proposal.number]
                state = TrialState.FAIL if values is None else TrialState.COMPLETE
                self._study.tell(proposal.number, values, state=state)
                self._told.add(proposal.number)

    def _ask(self, number: int) -> Proposal:
        assert self._study is not None
        if number in self._known:
            return Proposal(number, self._known[number])
        # each trial has its own sampler, so that what it draws does not depend on what this process drew before
        self._study.sampler = optuna.samplers.TPESampler(seed=1000 * number, multivariate=True, constant_liar=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # budgets that the user chose may lie outside the range of the search
            trial = self._study.ask(fixed_distributions=self.space)
        return Proposal(trial.number, dict(trial.params))


def _distribution(tunable: Tunable) -> BaseDistribution:
    if tunable.choices is not None:
        return CategoricalDistribution(tunable.choices)
    assert tunable.low is not None and tunable.high is not None
    if isinstance(tunable.low, int) and isinstance(tunable.high, int):
        return IntDistribution(tunable.low, tunable.high, log=tunable.log)
    return FloatDistribution(tunable.low, tunable.high, log=tunable.log)


def budgets_of(method_spec: MethodSpec, fraction: float) -> dict[str, float]:
    """The settings of a method that say how small, with this fraction of the dense model's compute as the budget."""
    steered = method_spec.at_compute(fraction).items()
    return {name: share for name, share in steered if name.rpartition(".")[2] == "budget"}


def _drawn(method_spec: MethodSpec, budgets: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Settings that spread over the ranges of a method, at one budget after the other from the middle outwards.

    The first half varies the learning rate alone: it is worth more than any other setting, and a good rate that came
    along with bad draws of all the others would be missed, above all by methods that have many. A setting is drawn by
    its name: two methods with a setting in common, a learning rate or the share of the steps before the cut, try the
    same values of it in the same order and at the same budgets.
    """
    space = method_spec.space()
    shares = {name: _spread(name.rpartition(".")[2]) for name in space}
    ordered = sorted(budgets, reverse=True)
    outwards = sorted(ordered, key=lambda budget: (abs(ordered.index(budget) - len(ordered) // 2), budget))
    for number in range(2**DRAWN_POWER):
        budget = outwards[number % len(outwards)]
        varied = [RATE] if RATE in space and number < 2 ** (DRAWN_POWER - 1) else [*space]
        drawn = {name: _value_at(shares[name][number], space[name]) for name in varied}
        yield {**method_spec.at_compute(budget), **drawn, **budgets_of(method_spec, budget)}


def _spread(name: str) -> list[float]:
    """Numbers in [0, 1) that fill it evenly from the first few on: a Sobol sequence, scrambled for this name."""
    from scipy.stats import qmc  # takes a second, and most comparisons tune nothing

    return [float(share) for share in qmc.Sobol(1, rng=zlib.crc32(name.encode())).random_base2(DRAWN_POWER)[:, 0]]


def _value_at(share: float, tunable: Tunable) -> Any:
    """The value that has this share of a range below it."""
    if tunable.choices is not None:
        return tunable.choices[int(share * len(tunable.choices))]
    low, high = tunable.low, tunable.high
    assert low is not None and high is not None
    whole = isinstance(low, int) and isinstance(high, int)
    if tunable.log:
        value = low * (high / low) ** share
        return round(value) if whole else value
    return low + int(share * (high - low + 1)) if whole else low + share * (high - low)
