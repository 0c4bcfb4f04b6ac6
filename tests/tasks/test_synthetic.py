"""The known optimum is held against eigenvalues, enumeration, water-filling and networks that reach it."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import nn

from bench.errors import BenchError
from bench.plugins.task import Split
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs
from bench.widths.widths import Widths
from tasks.synthetic import Synthetic
from tasks.synthetic.problems import PROBLEMS, Branch, best_front
from tests.conftest import bench

NAMES = tuple(PROBLEMS)


def task(problem: str, scored: int = 2048) -> Synthetic:
    return Synthetic(problem=problem, scored=scored, batch_size=256)


def scored_set(problem: str, split: Split = "eval") -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(task(problem).batches(split, 0))
    return torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches])


def optimal_students(synthetic: Synthetic, widths: tuple[int, ...]) -> nn.Module:
    """The network that theory names: the strongest units of each teacher, read off the teachers' own rotations."""
    model = synthetic.build_model()
    students = [model] if isinstance(model, nn.Sequential) else list(model.students)  # type: ignore[arg-type]
    for student, teacher, kept in zip(students, synthetic._teachers, widths, strict=True):
        assert isinstance(student, nn.Sequential)
        mean, deviation = teacher.branch.moments
        inwards, outwards = (torch.from_numpy(rotation).float() for rotation in teacher._rotations)
        decoder = outwards[:kept].T / deviation
        with torch.no_grad():
            student[0] = nn.Linear(teacher.branch.sources, kept, bias=False)
            student[0].weight.copy_(inwards[:kept])
            student[-1] = nn.Linear(kept, teacher.branch.sources)
            student[-1].weight.copy_(decoder)
            student[-1].bias.copy_(-decoder.sum(1) * mean)
    return model


@pytest.mark.parametrize("slope", [0.1, 0.5, 1.0])
def test_moments_are_those_of_the_integral(slope: float) -> None:
    def moment(power: int) -> float:
        value, _ = integrate.quad(lambda z: max(z, slope * z) ** power * stats.norm.pdf(z), -12, 12, points=[0.0])
        return float(value)

    mean, deviation = Branch(4, 2, 1.0, slope=slope).moments
    assert mean == pytest.approx(moment(1), abs=1e-9)
    assert deviation == pytest.approx(np.sqrt(moment(2) - moment(1) ** 2), abs=1e-9)


@pytest.mark.parametrize("split", ["dev", "eval"])
@pytest.mark.parametrize("problem", NAMES)
def test_the_bound_is_what_principal_components_leave(problem: str, split: Split) -> None:
    targets, at = scored_set(problem, split)[1].double().numpy(), 0
    for branch in PROBLEMS[problem]:
        own = targets[:, at : at + branch.sources]
        at += branch.sources
        assert np.abs(own.mean(0)).max() < 1e-7
        eigenvalues = np.linalg.eigvalsh(np.cov(own.T, bias=True))[::-1]
        left = [eigenvalues[kept:].sum() for kept in range(branch.width + 1)]
        assert branch.errors() == pytest.approx(left, abs=1e-6)
    assert at == targets.shape[1] and sum(branch.power for branch in PROBLEMS[problem]) == pytest.approx(1)


@pytest.mark.parametrize("problem", NAMES)
def test_the_bound_is_reached(problem: str) -> None:
    synthetic = task(problem)
    dense = count_macs(synthetic.build_model(), synthetic.example_input())
    for choice in best_front(PROBLEMS[problem])[::9]:
        if min(choice.widths) == 0:
            continue
        model = optimal_students(synthetic, choice.widths)
        share = count_macs(model, synthetic.example_input()) / dense
        assert share == choice.macs / dense
        for split in ("dev", "eval"):
            with torch.no_grad():
                scores = synthetic.evaluate(model, split)
            assert scores["mse_percent"] == pytest.approx(synthetic.best_possible(share), rel=2e-5)


@given(st.sampled_from(["linear", "nonlinear"]), st.integers(1, 20), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_no_encoder_gets_below_the_bound(problem: str, kept: int, seed: int) -> None:
    """Features that cheat: mixtures of the very targets that are scored, and the best last layer for them."""
    targets = scored_set(problem)[1].double().numpy()
    random = np.random.default_rng(seed)
    strongest = np.linalg.svd(targets, full_matrices=False)[2][:kept].T
    mixture = strongest + random.choice([0.0, 0.01, 1.0]) * random.standard_normal(strongest.shape)
    features = np.column_stack([np.tanh(targets @ mixture) if seed % 2 else targets @ mixture, np.ones(len(targets))])
    left = targets - features @ np.linalg.lstsq(features, targets, rcond=None)[0]
    assert (left**2).sum(1).mean() >= PROBLEMS[problem][0].errors()[kept] * (1 - 1e-5)


branches = st.builds(
    Branch, sources=st.integers(5, 9), width=st.integers(1, 4), decay=st.floats(0.5, 8), power=st.floats(0.05, 1)
)


@given(st.lists(branches, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_front_is_that_of_all_integer_widths(problem: list[Branch]) -> None:
    every = [
        (
            sum(branch.price * kept for branch, kept in zip(problem, widths, strict=True)),
            sum(branch.errors()[kept] for branch, kept in zip(problem, widths, strict=True)),
        )
        for widths in itertools.product(*(range(branch.width + 1) for branch in problem))
    ]
    front = best_front(problem)
    for budget in {macs for macs, _ in every}:
        best = min(error for macs, error in every if macs <= budget)
        assert [choice for choice in front if choice.macs <= budget][-1].error == pytest.approx(best, abs=1e-12)


def test_the_front_holds_what_reverse_water_filling_gives() -> None:
    problem = PROBLEMS["allocation"]
    front = {choice.widths for choice in best_front(problem)}
    levels = sorted({float(p / b.price) for b in problem for p in b.spectrum[: b.width]})
    for level in (levels[5], levels[20], levels[45]):
        assert tuple(int((b.spectrum[: b.width] / b.price > level).sum()) for b in problem) in front


@pytest.mark.parametrize("problem", NAMES)
def test_the_best_possible_is_a_falling_staircase(problem: str) -> None:
    synthetic, front = task(problem), best_front(PROBLEMS[problem])
    dense = count_macs(synthetic.build_model(), synthetic.example_input())
    assert front[-1].macs == dense and synthetic.best_possible(1.0) == 100 * front[-1].error > 0
    assert synthetic.best_possible(0.5 * front[1].macs / dense) == pytest.approx(100)
    for before, after in itertools.pairwise(front):
        assert synthetic.best_possible(after.macs / dense) == 100 * after.error < 100 * before.error
        assert synthetic.best_possible((after.macs - 1) / dense) == 100 * before.error


def test_linear_is_the_sum_of_the_eigenvalues_left() -> None:
    powers = np.exp(-np.arange(64) / 8)
    for kept in (4, 8, 16, 24, 32):
        assert task("linear").best_possible(kept / 32) == pytest.approx(100 * powers[kept:].sum() / powers.sum())


@pytest.mark.parametrize("problem", NAMES)
def test_a_feature_costs_its_price_in_the_width_graph(problem: str) -> None:
    synthetic = task(problem)
    widths = Widths(synthetic.build_model(), synthetic.example_input())
    assert sorted(widths.sizes.values()) == sorted(branch.width for branch in PROBLEMS[problem])
    for (name, size), branch in zip(widths.sizes.items(), PROBLEMS[problem], strict=True):
        assert size == branch.width
        assert widths.macs(widths.sizes) - widths.macs({name: size - 3}) == 3 * branch.price


@pytest.mark.parametrize("problem", NAMES)
def test_training_examples_come_from_the_same_teacher(problem: str) -> None:
    synthetic = task(problem)
    choice = best_front(PROBLEMS[problem])[-4]
    model = optimal_students(synthetic, choice.widths)
    stream = synthetic.batches("train", 5)
    with torch.no_grad():
        losses = [float(synthetic.loss(model, next(stream))) for _ in range(40)]
    assert np.mean(losses) == pytest.approx(choice.error, rel=0.05)


def test_scored_sets_differ_and_follow_the_seed() -> None:
    inputs = [
        next(Synthetic(problem_seed=seed, scored=128).batches(split, 0)).inputs
        for seed, split in ((0, "dev"), (0, "eval"), (1, "dev"), (0, "dev"))
    ]
    assert not torch.equal(inputs[0], inputs[1]) and not torch.equal(inputs[0], inputs[2])
    assert torch.equal(inputs[0], inputs[3])


def test_the_parts_of_the_allocation_add_up() -> None:
    synthetic = task("allocation")
    with torch.no_grad():
        scores = synthetic.evaluate(synthetic.build_model(), "dev")
    parts = [scores[f"mse_percent/branch {n}"] * b.power for n, b in enumerate(PROBLEMS["allocation"], 1)]
    assert sum(parts) == pytest.approx(scores["mse_percent"])


@pytest.mark.parametrize(("problem", "worst"), [("linear", 0.03), ("allocation", 0.05)])
def test_training_comes_close(problem: str, worst: float) -> None:
    synthetic, plan = task(problem), Synthetic.presets["quick"]
    best = best_front(PROBLEMS[problem])
    middle = next(choice for choice in best if choice.macs >= best[-1].macs / 4)
    torch.manual_seed(0)
    model = synthetic.build_model()
    widths = Widths(model, synthetic.example_input())
    small = widths.keep({n: torch.arange(k) for n, k in zip(widths.sizes, middle.widths, strict=True)})
    Trainer(synthetic, plan, steps=800, seed=0, dense_macs=best[-1].macs).fit(small)
    with torch.no_grad():
        score = synthetic.evaluate(small, "eval")["mse_percent"]
    assert 1 <= score / (100 * middle.error) < 1 + worst


def test_a_run_says_how_far_it_is_from_the_optimum(tmp_path: Path) -> None:
    run = bench(*("run", "synthetic", "--preset", "smoke", "--methods", "uniform_width"), *("--results", tmp_path))
    assert run.code == 0, run.output
    assert "above the best possible at the same compute" in run.output
    folder = tmp_path / "synthetic" / "smoke"
    points = pd.read_csv(folder / "points.csv")
    known = Synthetic.at("smoke")
    assert points["best_possible"].tolist() == [known.best_possible(share) for share in points["macs_ratio"]]
    assert len(points) == 2 and (points["eval_mse_percent"] > points["best_possible"]).all()
    assert "best possible" in (folder / "front.svg").read_text()


def test_an_unknown_problem_is_a_mistake_of_the_user() -> None:
    with pytest.raises(BenchError, match="no problem 'quadratic'; there are: linear, allocation, nonlinear"):
        Synthetic(problem="quadratic").check()
    with pytest.raises(BenchError, match="at least 128 scored examples"):
        Synthetic(scored=100).check()
    task("allocation", scored=128).check()
