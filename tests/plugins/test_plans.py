"""What takes part in presets: nothing may be decided by one camp's choice of when to cut."""

from collections.abc import Callable

import pytest

from bench import Plan, full_plan, quick_plan


@pytest.mark.parametrize("plan", [quick_plan, full_plan])
def test_the_criterion_cuts_whenever_random_channels_do(plan: Callable[..., Plan]) -> None:
    also = plan(dense_steps=75, finetune_steps=25, batch_size=8, learning_rate=1e-3).also
    shares = {
        name: [spec.partition(":")[2] for spec in also if spec.startswith(f"{name}:")]
        for name in ("magnitude_pruning", "random_pruning")
    }
    assert shares["magnitude_pruning"] == shares["random_pruning"] and len(shares["random_pruning"]) >= 1
