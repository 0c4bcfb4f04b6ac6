"""What takes part in presets: nothing may be decided by one camp's choice of when to cut."""

from collections.abc import Callable

import pytest

from bench import Plan, full_plan, quick_plan
from bench.plugins.registry import load_method_spec, names


@pytest.mark.parametrize("plan", [quick_plan, full_plan])
def test_the_criterion_cuts_whenever_random_channels_do(plan: Callable[..., Plan]) -> None:
    also = plan(dense_steps=75, finetune_steps=25, batch_size=8, learning_rate=1e-3).also
    shares = {
        name: [spec.partition(":")[2] for spec in also if spec.startswith(f"{name}:")]
        for name in ("magnitude_pruning", "random_pruning")
    }
    assert shares["magnitude_pruning"] == shares["random_pruning"] and len(shares["random_pruning"]) >= 1


def test_full_has_random_channels_for_every_time_at_which_an_in_training_method_may_cut() -> None:
    plan = full_plan(dense_steps=75, finetune_steps=25, batch_size=8, learning_rate=1e-3)
    specs = [load_method_spec(name) for name in [*(set(names("methods")) - set(plan.left_out)), *plan.also]]
    # one whose share is tuned may be at another when it matters
    cut = {spec.fixed.get("dense_share") for spec in specs if spec.chain == "random_pruning"}
    searched = {spec.name: spec.space()["search_share"].choices for spec in specs if "search_share" in spec.space()}
    assert "stochastic_gates" in searched
    for name, shares in searched.items():
        assert set(shares or ()) <= cut, f"the gap cannot be split when {name} cuts at one of {shares}"
