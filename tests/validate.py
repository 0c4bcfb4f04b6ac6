"""`python -m tests.validate`: does feature noise find the best widths of problems where these are known? Minutes.

Runs the classes that ship, prints a table, writes it to results/reference/, and exits with 1 if a figure is missed.
What needs only seconds is in tests/methods/test_feature_noise.py and its neighbours.
"""

import math
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench import Method, Trainer
from bench.storage.provenance import provenance
from bench.widths.cost import count_macs
from methods._width_noise import WidthNoise
from methods.feature_noise import FeatureNoise
from methods.uniform_width import UniformWidth
from tests.linear import Allocation, Source

OUTPUT = Path(__file__).parent.parent / "results" / "reference" / "feature_noise_validation.md"
SEEDS = range(5)
PENALTIES = (0.1, 0.3, 1.0, 2.0)
SIZE, STEPS, WARM, FREEZE = 32, 3000, 300, 2250


class Silent(WidthNoise):
    """The same without noise: features beyond the width only fade."""

    def _amplitudes(self, share: Tensor) -> tuple[Tensor, Tensor]:
        feature, noise = super()._amplitudes(share)
        return feature, 0 * noise


FORMS: dict[str, Callable[[], WidthNoise]] = {
    "sampled": lambda: WidthNoise({"g": SIZE}, 2.0, 0.25, gaussian=False),
    "literal": lambda: WidthNoise({"g": SIZE}, 1.0, 0.0, gaussian=True),
    "without noise": lambda: Silent({"g": SIZE}, 2.0, 0.25, gaussian=False),
}


@dataclass(frozen=True)
class Found:
    """How far above the optimum a run ended, as a share of it, and by how many features its width was off."""

    excess: float
    off: int


@dataclass(frozen=True)
class Figure:
    """One figure of the table."""

    what: str
    measured: float
    asked: str
    holds: bool


def linear_problem(job: tuple[str, float, int]) -> Found:
    """Minimise MSE + penalty x K / N over one width of a linear bottleneck, freeze the width, train on."""
    form, penalty, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    source, noise = Source(SIZE, 6.0, 1.0, seed), FORMS[form]()
    encoder, decoder = nn.Linear(SIZE, SIZE, bias=False), nn.Linear(SIZE, SIZE)
    optimizer = torch.optim.Adam([{"params": [*encoder.parameters(), *decoder.parameters()], "lr": 3e-3}])
    optimizer.add_param_group({"params": noise.parameters, "lr": 5.0 / (FREEZE - WARM)})
    gate, channels, kept = noise.gates()["g"], torch.arange(SIZE), SIZE
    for step in range(STEPS):
        if step == FREEZE:
            kept = round(float(noise.widths()["g"].detach()))
            optimizer.param_groups.pop()
        if step >= FREEZE:
            gone = (step - FREEZE) / (STEPS - FREEZE)
            optimizer.param_groups[0]["lr"] = 3e-3 * (1 + math.cos(math.pi * gone)) / 2
        if WARM <= step < FREEZE:
            noise.draw(64, annealing=1 - (step - WARM) / (FREEZE - WARM))
        inputs = torch.randn(64, SIZE)
        features = encoder(inputs)
        features = gate(features, channels) if step < FREEZE else features * (channels < kept)
        targets = inputs @ source.matrix + 0.05 * torch.randn(64, SIZE) / SIZE**0.5
        loss = (decoder(features) - targets).square().sum(1).mean()
        if WARM <= step < FREEZE:
            loss = loss + penalty * noise.widths()["g"] / SIZE
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        noise.project()
    with torch.no_grad():
        error = (encoder.weight.T * (channels < kept)) @ decoder.weight.T - source.matrix
        reached = float(error.square().sum() + decoder.bias.square().sum()) + penalty * kept / SIZE
    best = source.least_errors() + penalty * torch.arange(SIZE + 1) / SIZE
    return Found(reached / float(best.min()) - 1, abs(kept - int(best.argmin())))


def allocation(job: tuple[Method, float, int]) -> tuple[float, float, list[int]]:
    """Share a budget out over three sources: excess over the optimum, compute over the target, and the widths."""
    method, loss_scale, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task = Allocation(seed=seed, loss_scale=loss_scale, batch_size=64)
    model, plan = task.build_model(), task.presets["quick"]
    dense_macs = count_macs(model, task.example_input())
    trainer = Trainer(task, plan, steps=plan.total_steps, seed=seed, dense_macs=dense_macs)
    small = method.compress(model, trainer)
    assert isinstance(small, nn.Module)
    budget = method.promised_budget
    assert budget is not None
    with torch.no_grad():
        excess = task.evaluate(small, "dev")[task.metric.column] / task.best_possible(budget) - 1
    widths = [len(small.get_submodule(f"branches.{b}.0").weight) for b in range(len(task.kinds))]  # type: ignore[arg-type]
    return excess, count_macs(small, task.example_input()) / dense_macs / budget, widths


def at_most(what: str, measured: float, limit: float) -> Figure:
    return Figure(what, measured, f"<= {limit:g}", measured <= limit)


def at_least(what: str, measured: float, limit: float) -> Figure:
    return Figure(what, measured, f">= {limit:g}", measured >= limit)


def linear_figures(pool: ProcessPoolExecutor) -> list[Figure]:
    """One width under a fixed penalty, and what happens without the ingredients."""
    jobs = [(form, penalty, seed) for form in FORMS for penalty in PENALTIES for seed in SEEDS]
    found: dict[str, list[Found]] = {form: [] for form in FORMS}
    for job, result in zip(jobs, pool.map(linear_problem, jobs), strict=True):
        found[job[0]].append(result)
    excess = {form: [100 * run.excess for run in runs] for form, runs in found.items()}
    return [
        at_most("one width: mean excess over the optimum, %", statistics.mean(excess["sampled"]), 0.5),
        at_most("one width: largest excess, %", max(excess["sampled"]), 2.0),
        at_most("one width: largest distance from the best width", max(run.off for run in found["sampled"]), 2),
        at_least("control, literal form: mean excess, %", statistics.mean(excess["literal"]), 8.0),
        at_least("control, without noise: mean excess, %", statistics.mean(excess["without noise"]), 5.0),
    ]


def allocation_figures(pool: ProcessPoolExecutor) -> list[Figure]:
    """Three widths under one budget, at three scales of the task's loss."""
    free, floored = (
        list(pool.map(allocation, [(FeatureNoise(budget=0.25, **least), 1.0, seed) for seed in SEEDS]))
        for least in ({"kappa": 0.01}, {})
    )
    uniform = list(pool.map(allocation, [(UniformWidth(budget=0.25), 1.0, seed) for seed in SEEDS]))
    scaled = [
        [
            widths
            for _, _, widths in pool.map(
                allocation, [(FeatureNoise(budget=b, kappa=0.01), s, 0) for s in (1.0, 0.01, 100.0)]
            )
        ]
        for b in (0.25, 0.125)
    ]
    moved = max(abs(a - b) for one, *others in scaled for other in others for a, b in zip(one, other, strict=True))
    computes = [compute for _, compute, _ in [*free, *floored]]
    return [
        at_most("a quarter for three widths: mean excess, %", 100 * statistics.mean(e for e, _, _ in free), 1.0),
        at_most("the same with kappa as it is by default", 100 * statistics.mean(e for e, _, _ in floored), 5.0),
        at_least("control, uniform widths: mean excess, %", 100 * statistics.mean(e for e, _, _ in uniform), 10.0),
        at_least("smallest compute over the target", min(computes), 0.98),
        at_most("largest compute over the target", max(computes), 1.0),
        at_most("features that a width moves for a loss x .01 or x 100", moved, 1),
    ]


def written(figures: list[Figure]) -> str:
    """The table as it is kept."""
    source = provenance()
    rows = [f"| {f.what} | {f.measured:.3g} | {f.asked} | {'yes' if f.holds else 'NO'} |" for f in figures]
    return "\n".join(
        [
            "# Feature noise on problems whose optimum is known",
            "",
            f"Written by `python -m tests.validate` on {source['date'][:10]} at commit {source['commit']}, torch "
            f"{source['packages']['torch']}, {len(SEEDS)} seeds.",
            "",
            "| figure | measured | asked | holds |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Run everything, print, write; 1 if a figure is missed."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        figures = linear_figures(pool) + allocation_figures(pool)
    table = Table("figure", "measured", "asked", "holds")
    for figure in figures:
        table.add_row(figure.what, f"{figure.measured:.3g}", figure.asked, "yes" if figure.holds else "NO")
    Console().print(table)
    OUTPUT.write_text(written(figures), encoding="utf-8")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
