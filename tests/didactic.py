"""`python -m tests.didactic`: the didactic tasks of Budgeted Broadcast (arXiv 2510.01263), from its description.

The exclusive or of two bits among others of unequal on-rates: do units end at the balance, is it still solved? And a
random disjunctive normal form: does a network with few connections get further than the dense one? What is seen is
printed, after minutes, whether or not it is what the paper says; what reliably holds is asserted in
tests/methods/test_broadcast.py.
"""

import itertools
import statistics
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench import Batch, Metric, Plan, Predict, Split, Task, Trainer
from bench.trial.repeatable import seed_everything
from methods.budgeted_broadcast import BudgetedBroadcast

BITS, WIDTHS = 24, (64, 48)
STEPS, SEEDS = 1200, range(5)


@dataclass(frozen=True)
class Formula(Task):
    """A boolean function of 24 independent bits."""

    metric: ClassVar = Metric("error", unit="percent", direction="minimize")
    presets: ClassVar = {"quick": Plan(dense_steps=1200, finetune_steps=0, batch_size=64, learning_rate=3e-3)}

    examples: int = 0  # to train on; 0: always new ones

    @abstractmethod
    def on_rates(self) -> Tensor:
        """How often each bit is on, (24,)."""

    @abstractmethod
    def truth(self, bits: Tensor) -> Tensor:
        """The function's value, (B,), for bits of shape (B, 24)."""

    def build_model(self) -> nn.Module:
        first, second = WIDTHS
        return nn.Sequential(
            nn.Linear(BITS, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 2)
        )

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        fresh = self._fresh(seed if split == "train" else 10**6)
        limited = split == "train" and self.examples
        return itertools.cycle(itertools.islice(fresh, self.examples // self.batch_size)) if limited else fresh

    def _fresh(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            bits = torch.rand(self.batch_size, BITS, generator=generator) < self.on_rates()
            yield Batch(2 * bits.float() - 1, self.truth(bits).long())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch.inputs), batch.targets)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """The mean of the error rates of both classes."""
        batches = [batch for batch, _ in zip(self.batches(split, 0), range(64), strict=False)]
        wrong = torch.cat([predict(batch.inputs).argmax(1) != batch.targets for batch in batches]).float()
        targets = torch.cat([batch.targets for batch in batches])
        return {self.metric.column: 50 * sum(float(wrong[targets == value].mean()) for value in (0, 1))}

    def example_input(self) -> Tensor:
        return torch.zeros(1, BITS)


@dataclass(frozen=True)
class Xor(Formula):
    """The exclusive or of the first two bits; on-rates rise from a tenth to nine tenths behind them."""

    def on_rates(self) -> Tensor:
        return torch.cat([torch.tensor([0.3, 0.6]), torch.linspace(0.1, 0.9, BITS - 2)])

    def truth(self, bits: Tensor) -> Tensor:
        return bits[:, 0] ^ bits[:, 1]


@dataclass(frozen=True)
class Dnf(Formula):
    """A disjunction of terms, each a conjunction of three to five bits or their negations, drawn from a seed."""

    terms: int = 8
    formula: int = 0

    def on_rates(self) -> Tensor:
        return torch.full((BITS,), 0.5)

    def truth(self, bits: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.formula)
        value = torch.zeros(len(bits), dtype=torch.bool)
        for _ in range(self.terms):
            literals = int(torch.randint(3, 6, (), generator=generator))
            chosen = torch.randperm(BITS, generator=generator)[:literals]
            value |= (bits[:, chosen] ^ (torch.rand(literals, generator=generator) < 0.5)).all(1)
        return value


def dense(task: Formula, steps: int, seed: int) -> nn.Module:
    """The whole network after as many steps of the same training."""
    seed_everything(seed)
    model = task.build_model()
    _trainer(task, steps, seed).fit(model)
    return model


def sparse(task: Formula, steps: int, seed: int, budget: float, **settings: float | str) -> nn.Module:
    """The network with connections for this share of the compute."""
    seed_everything(seed)
    method = BudgetedBroadcast(budget=budget, **settings)  # type: ignore[arg-type]
    return method.compress(task.build_model(), _trainer(task, steps, seed))


def _trainer(task: Formula, steps: int, seed: int) -> Trainer:
    macs = BITS * WIDTHS[0] + WIDTHS[0] * WIDTHS[1] + WIDTHS[1] * 2
    return Trainer(task, task.presets["quick"], steps=steps, seed=seed, dense_macs=macs)


@torch.no_grad()
def balance(task: Formula, model: nn.Module) -> float:
    """The correlation of log((1 - a) / a) with the fan-out, over the first layer's units of a finished network."""
    assert isinstance(model, nn.Sequential)
    batches = [batch for batch, _ in zip(task.batches("dev", 0), range(64), strict=False)]
    rates = torch.cat([model[:2](batch.inputs) > 0 for batch in batches]).float().mean(0).clamp(1e-3, 1 - 1e-3)
    fan_outs = model.get_parameter("2.weight").ne(0).float().sum(0)
    related = torch.corrcoef(torch.stack([torch.log((1 - rates) / rates), fan_outs]))[0, 1]
    return float(related.nan_to_num())  # all fan-outs may be alike


def error(task: Formula, model: nn.Module) -> float:
    """Balanced, in percent."""
    return task.evaluate(model, "dev")[task.metric.column]


def spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation over seeds."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main() -> None:
    """Run everything and print; the budgets of XOR leave .26 and .15 of what its hidden units send."""
    table = Table("task", "rule", "budget", "balanced error, %", "correlation", "R2 of the balance")
    xor = Xor(batch_size=64)
    table.add_row("xor", "dense", "1", spread([error(xor, dense(xor, STEPS, seed)) for seed in SEEDS]), "", "")
    for budget, rule in itertools.product((0.5, 0.43), ("balance", "magnitude")):
        models = [sparse(xor, STEPS, seed, budget, rule=rule) for seed in SEEDS]
        fits = [balance(xor, model) for model in models]
        errors = spread([error(xor, model) for model in models])
        table.add_row("xor", rule, f"{budget:g}", errors, spread(fits), spread([fit**2 for fit in fits]))
    for examples in (0, 2048):
        tasks = [Dnf(formula=seed, examples=examples, batch_size=64) for seed in SEEDS]
        name = f"dnf, {examples or 'endless'} examples"
        whole = [error(task, dense(task, STEPS, seed)) for seed, task in enumerate(tasks)]
        table.add_row(name, "dense", "1", spread(whole), "", "")
        for rule in ("balance", "magnitude"):
            models = [sparse(task, STEPS, seed, 0.25, rule=rule, side="both") for seed, task in enumerate(tasks)]
            errors = spread([error(task, model) for task, model in zip(tasks, models, strict=True)])
            table.add_row(name, rule, "0.25", errors, "", "")
    Console().print(table)


if __name__ == "__main__":
    main()
