"""How the learning rate goes over a training."""

import math
from collections.abc import Callable
from typing import Literal

from bench.plugins.task import Plan

Schedule = Literal["one_cycle", "constant", "warm_up", "decay"]

#: steps over which a training that goes on comes back to its rate: Adam knows nothing yet of the gradients it will see
AGAIN = 10


def factor(name: Schedule, steps: int, plan: Plan, part: tuple[float, float]) -> Callable[[int], float]:
    """The factor on the learning rate by the steps done in a call of ``Trainer.fit`` for this part of a schedule.

    A later part rises to where the schedule is, since each call has an optimiser of its own.
    """
    whole = round(steps / (part[1] - part[0])) if steps else 0
    done = round(part[0] * whole)
    rise = max(1, whole // 5)

    def one_cycle(step: int) -> float:
        if step < rise:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2
        return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (step - rise) / max(1, whole - rise))) / 2

    factors: dict[Schedule, Callable[[int], float]] = {
        "one_cycle": one_cycle,
        "constant": lambda step: 1.0,
        "warm_up": lambda step: min(1.0, (step + 1) * 20 / plan.total_steps),
        "decay": lambda step: 1 - step / max(1, whole),
    }
    rises = AGAIN if done else 1
    return lambda step: factors[name](done + step) * min(1.0, (step + 1) / rises)
