import math

import pytest
import torch
from torch import Tensor, nn

from bench import Trainer
from bench.trial.repeatable import seed_everything
from methods._steering import BudgetSteering, search, warm_up
from methods._width_noise import WidthNoise
from tests.models import Points


def penalties(scale: float, computes: list[float], budget: float = 0.25) -> list[float]:
    steering = BudgetSteering(budget, steps=7)  # the target falls for 4
    return [float(steering.penalty(torch.tensor(c, dtype=torch.float64), torch.tensor(scale))) for c in computes]


def test_the_penalty_by_hand() -> None:
    got = penalties(2.0, [1.0, 1.0, 0.4])
    gaps = [0.0, -math.log(0.25) / 4, math.log(0.4) - math.log(0.25) / 2]
    multipliers = [0.0, 0.1 * gaps[1], max(0.0, 0.1 * (gaps[1] + gaps[2]))]
    expected = [2 * (m * g + 5 * max(0.0, g) ** 2) for m, g in zip(multipliers, gaps, strict=True)]
    assert gaps[2] < 0
    assert got == pytest.approx(expected, rel=1e-6)


def test_the_penalty_has_the_scale_of_the_first_loss() -> None:
    computes = [1.0, 0.9, 0.5, 0.7, 0.2, 0.3, 0.26]
    one = penalties(1.0, computes)
    assert penalties(0.01, computes) == pytest.approx([0.01 * p for p in one], rel=1e-5)
    assert penalties(100.0, computes) == pytest.approx([100 * p for p in one], rel=1e-5)


def test_the_target_falls_geometrically_and_stays() -> None:
    free = [0.25 ** min(1.0, step / 4) for step in range(10)]
    assert penalties(1.0, free) == pytest.approx([0.0] * 10, abs=1e-12)
    assert penalties(1.0, [0.1] * 10) == [0.0] * 10  # below the target there is nothing to pay


def steered(scale: float, budget: float) -> float:
    """Two widths a, b with loss scale x (1/a + .1/b) and compute a b; the compute that is arrived at."""
    widths = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    optimizer = torch.optim.Adam([widths], 0.02)
    steering = BudgetSteering(budget, steps=250)
    for _ in range(250):
        loss = scale * (1 / widths[0] + 0.1 / widths[1])
        optimizer.zero_grad()
        (loss + steering.penalty(widths.prod(), loss)).backward()
        optimizer.step()
        with torch.no_grad():
            widths.clamp_(0.03, 1.0)
    return float(widths.detach().prod())


@pytest.mark.parametrize("budget", [0.5, 0.25, 0.0625])
def test_it_arrives_at_the_budget_whatever_the_scale_of_the_loss(budget: float) -> None:
    arrived = [steered(scale, budget) for scale in (0.01, 1.0, 100.0)]
    assert arrived[1] == pytest.approx(budget, rel=0.05)
    assert arrived == pytest.approx([arrived[1]] * 3, rel=1e-3)


def test_nothing_is_gated_before_the_warm_up_has_passed() -> None:
    seed_everything(0)
    task = Points(hidden=32, batch_size=16)
    model = task.build_model()
    trainer = Trainer(task, task.presets["quick"], steps=100, seed=0, dense_macs=1280)
    widths = trainer.widths(model)
    noise, drawn_at, annealed = WidthNoise(widths.sizes, 2.0, 0.25, False), list[int](), list[float]()

    def draw(examples: int, annealing: float) -> None:
        drawn_at.append(trainer.steps_done)
        annealed.append(annealing)
        WidthNoise.draw(noise, examples, annealing)

    noise.draw = draw  # type: ignore[method-assign]
    steps = warm_up(model, trainer, widths, budget=0.5, shares=(0.75, 0.6))
    search(model, trainer, widths, noise, penalty=BudgetSteering(0.5, steps).penalty, steps=steps, rate=5.0)
    assert drawn_at == list(range(45, 75))
    assert annealed == pytest.approx([1 - step / 30 for step in range(30)])


def test_what_is_minimised_is_the_task_loss_and_the_penalty() -> None:
    seed_everything(0)
    task = Points(hidden=32, batch_size=16)
    model = task.build_model()
    trainer = Trainer(task, task.presets["quick"], steps=40, seed=0, dense_macs=1280)
    widths, sums = trainer.widths(model), list[float]()
    noise = WidthNoise(widths.sizes, 1.0, 0.0, True)

    def penalty(compute: Tensor, task_loss: Tensor) -> Tensor:
        a, b = noise.widths().values()
        torch.testing.assert_close(compute, (6 * a + a * b + 2 * b) / 1280)
        sums.append(float((task_loss + 3 * compute).detach()))
        return 3 * compute

    search(model, trainer, widths, noise, penalty=penalty, steps=40, rate=5.0)
    means = [sum(pair) / 2 for pair in zip(sums[::2], sums[1::2], strict=True)]
    assert [point["loss"] for point in trainer.curve] == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize(("share", "left"), [(0.0, 2), (1.0, 1)])
def test_a_search_has_at_least_one_step(share: float, left: int) -> None:
    task = Points(hidden=32, batch_size=16)
    model = task.build_model()
    trainer = Trainer(task, task.presets["quick"], steps=2, seed=0, dense_macs=1280)
    assert warm_up(model, trainer, trainer.widths(model), budget=0.5, shares=(0.75, share)) == left
    assert trainer.steps_done == 2 - left
