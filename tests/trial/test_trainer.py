"""The training loop: its budget of steps, its repeatability, and what else a method may ask of it."""

import itertools
import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench import Batch, BenchError, MethodError, Plan, Trainer
from bench.trial.repeatable import Hardware, stream_seed
from bench.trial.schedules import AGAIN
from bench.trial.trainer import Loss
from tests.models import Points, mlp, randomise_norms

PLAN = Points.presets["quick"]


def trainer(steps: int = 40, seed: int = 0, plan: Plan = PLAN, **more: object) -> Trainer:
    return Trainer(Points(batch_size=16), plan, steps=steps, seed=seed, dense_macs=384, **more)


def fresh(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return mlp()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_training_lowers_the_loss() -> None:
    task, model, run = Points(batch_size=16), fresh(), trainer(60)
    before = task.evaluate(model, "dev")["error_percent"]
    run.fit(model)
    assert before > 30
    assert task.evaluate(model, "dev")["error_percent"] < 20
    assert run.curve[-1]["loss"] < run.curve[0]["loss"]


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda model, batch: model(batch.inputs), r"one number, not shape \(16, 2\)"),
        (lambda model, batch: model(batch.inputs).sum().detach(), "has no gradient: it was detached"),
        (lambda model, batch: 0.5, "one number, not float"),
    ],
)
def test_a_loss_that_cannot_be_differentiated_is_refused(loss: Loss, said: str) -> None:
    with pytest.raises(MethodError, match=said):
        trainer().fit(fresh(), 1, loss=loss)


def test_a_penalty_on_the_outputs_needs_no_second_pass() -> None:
    model, run, passes = fresh(), trainer(), []
    model.register_forward_hook(lambda *_: passes.append(1))

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        own, outputs = run.loss_and_outputs(network, batch)
        assert outputs.device == torch.device(run.device)
        return own + 0.1 * run.distance(outputs, torch.zeros_like(outputs))

    before = len(passes)
    run.fit(model, 3, loss=loss)
    assert len(passes) - before == 3


def test_another_optimiser_follows_the_schedule() -> None:
    model, run, made = fresh(), trainer(), []

    def sgd(groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(groups, PLAN.learning_rate, momentum=0.9))
        return made[-1]

    before = weights(model)
    run.fit(model, 20, optimizer=sgd)
    assert len(made) == 1 and not torch.equal(weights(model), before)
    assert run.steps_done == 20 and 0 <= made[0].param_groups[0]["lr"] < 0.01 * PLAN.learning_rate


# --- the budget of steps


def test_steps_are_whole_numbers() -> None:
    with pytest.raises(MethodError, match=r"asked for 2\.5 training steps: expected a whole number"):
        trainer().fit(fresh(), 2.5)  # type: ignore[arg-type]


def test_steps_are_spent_and_overspending_spends_nothing() -> None:
    run, model = trainer(10), fresh()
    run.fit(model, 4)
    assert (run.steps_left, run.steps_done) == (6, 4)
    before = weights(model)
    with pytest.raises(MethodError, match="7 training steps with 6 left"):
        run.fit(model, 7)
    assert (run.steps_left, run.steps_done) == (6, 4)
    assert torch.equal(weights(model), before)
    run.fit(model)
    assert (run.steps_left, run.steps_done) == (0, 10)
    run.fit(model)  # nothing is left to spend, and nothing is spent
    assert run.steps_done == 10


def test_a_negative_number_of_steps_gives_nothing_back() -> None:
    run = trainer(10)
    with pytest.raises(MethodError, match="-1"):
        run.fit(fresh(), -1)
    assert run.steps_left == 10


def test_a_limited_view_spends_the_steps_of_its_parent() -> None:
    run, model = trainer(10), fresh()
    view = run.limited(6)
    inner = view.limited(4)
    inner.fit(model)
    assert (inner.steps_left, view.steps_left, run.steps_left) == (0, 2, 6)
    with pytest.raises(MethodError, match="3 training steps with 2 left"):
        view.fit(model, 3)
    with pytest.raises(MethodError, match="7 training steps with 6 left"):
        run.limited(7)
    assert view.steps_done == run.steps_done == 4
    assert view.curve is run.curve


def test_two_views_together_cannot_spend_more_than_their_parent_has() -> None:
    run, model = trainer(10), fresh()
    first, second = run.limited(6), run.limited(6)
    first.fit(model)
    with pytest.raises(MethodError, match="asked for 6 training steps with 4 left"):
        second.fit(model, 6)
    assert (second.steps_left, run.steps_left, run.steps_done) == (4, 4, 6)


def test_a_parent_that_has_spent_leaves_its_view_less() -> None:
    run, model = trainer(10), fresh()
    view = run.limited(6)
    run.fit(model, 8)
    with pytest.raises(MethodError, match="left"):
        view.fit(model, 6)
    assert run.steps_left == 2


# --- the loop


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error(value: float) -> None:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.inputs).sum() * value

    with pytest.raises(MethodError, match=r"training loss became (nan|-?inf)"):
        trainer().fit(fresh(), loss=loss)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    results = []
    for seed in (0, 0, 1):
        model = fresh()
        trainer(seed=seed).fit(model)
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2])


def test_training_in_parts_sees_the_data_once() -> None:
    seen: list[Tensor] = []

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        seen.append(batch.inputs)
        return trainer().loss(model, batch)

    run, model = trainer(6), fresh()
    run.limited(2).fit(model, loss=loss)
    run.fit(model, 1, loss=loss)
    run.fit(model, loss=loss)
    expected = itertools.islice(Points(batch_size=16).batches("train", stream_seed(0, "order")), 6)
    assert all(torch.equal(got, batch.inputs) for got, batch in zip(seen, expected, strict=True))


def test_calibration_batches_repeat_and_leave_the_order_alone() -> None:
    run = trainer()
    first, again = (next(run.batches()).inputs for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, next(Points(batch_size=16).batches("train", stream_seed(0, "order"))).inputs)
    model, other = fresh(), fresh()
    run.fit(model)
    trainer().fit(other)
    assert torch.equal(weights(model), weights(other))


def test_the_streams_of_a_seed_differ() -> None:
    seeds = {stream_seed(seed, name) for seed in range(20) for name in ("init", "order", "method", "calibration")}
    assert len(seeds) == 80


def test_the_model_trains_in_train_mode_and_is_left_in_eval_mode() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    randomise_norms(model)
    modes: list[bool] = []

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        modes.append(network.training)
        return run.loss(network, batch)

    run = trainer(5)
    before = model[1].running_mean.clone()
    run.fit(model, loss=loss)
    assert modes == [True] * 5
    assert not any(module.training for module in model.modules())
    assert not torch.equal(model[1].running_mean, before)
    model.train()
    run.fit(model)  # no steps are left
    assert not model.training


def test_work_after_each_step_is_told_the_number_of_steps() -> None:
    told: list[int] = []
    changed: list[bool] = []
    run, model = trainer(7), fresh()
    last = [weights(model)]

    def after_step(step: int) -> None:
        told.append(step)
        changed.append(not torch.equal(weights(model), last[0]))
        last[0] = weights(model)

    run.fit(model, 3, after_step=after_step)
    run.fit(model, 4, after_step=after_step)
    assert told == [1, 2, 3, 1, 2, 3, 4]
    assert all(changed)


def rates_of(run: Trainer, schedule: str) -> list[float]:
    """Shares of the plan's learning rate, by point of the curve."""
    run.fit(fresh(), schedule=schedule)
    return [point["learning_rate"] / PLAN.learning_rate for point in run.curve]


def test_a_constant_schedule_is_constant() -> None:
    assert rates_of(trainer(100), "constant") == [1.0] * 50  # a point of the curve for every two steps


def test_a_warm_up_rises_over_a_twentieth_of_the_plan_and_stays() -> None:
    run = trainer(100, plan=replace(PLAN, dense_steps=20, finetune_steps=30))
    rates = rates_of(run, "warm_up")  # as the scheduler leaves them after each step
    assert rates[:5] == pytest.approx([0.8, 1.0, 1.0, 1.0, 1.0]) and set(rates[5:]) == {1.0}


@pytest.mark.parametrize("schedule", ["one_cycle", "decay"])
def test_schedules(schedule: str) -> None:
    run = trainer(100, plan=replace(PLAN, dense_steps=20, finetune_steps=30))  # a point of the curve at every step
    rates = rates_of(run, schedule)
    assert [point["step"] for point in run.curve] == list(range(1, 101))
    assert max(rates) <= 1 + 1e-9
    assert rates[-1] <= 1e-3
    peak = rates.index(max(rates))
    assert max(rates) >= 0.99
    assert peak == {"one_cycle": 19, "decay": 0}[schedule]
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])


def test_a_schedule_in_parts_is_the_schedule_but_for_a_rise_in_each() -> None:
    plan = replace(PLAN, dense_steps=20, finetune_steps=30)
    whole, run, model = rates_of(trainer(100, plan=plan), "one_cycle"), trainer(100, plan=plan), fresh()
    for first, last in ((0.0, 0.25), (0.25, 0.5), (0.5, 1.0)):
        run.fit(model, round(100 * (last - first)), part=(first, last))
    # a point has the rate of the step to come
    rises = {start + step: (step + 2) / AGAIN for start in (25, 50) for step in range(AGAIN - 1)}
    expected = [rate * rises.get(step, 1.0) for step, rate in enumerate(whole)]
    assert [point["learning_rate"] / PLAN.learning_rate for point in run.curve] == pytest.approx(expected)


def test_further_parameters_have_their_own_learning_rate_and_decay() -> None:
    """Adam's first step is as long as the learning rate, whatever the gradient."""
    fast, slow = nn.Parameter(torch.zeros(())), nn.Parameter(torch.full((), 5.0))
    model = fresh()
    before = weights(model)
    plan = replace(PLAN, learning_rate=1e-3, weight_decay=0.0)
    extra = [{"params": [fast], "lr": 0.3}, {"params": [slow], "lr": 0.1, "weight_decay": 0.5}]

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        return network(batch.inputs).square().mean() + fast + 0 * slow

    trainer(plan=plan).fit(model, 1, loss=loss, extra_parameters=extra, schedule="constant")
    assert fast.item() == pytest.approx(-0.3, rel=1e-4)
    assert slow.item() == pytest.approx(5 * (1 - 0.1 * 0.5), rel=1e-5)
    assert float((weights(model) - before).abs().max()) == pytest.approx(1e-3, rel=1e-2)


def test_the_curve_holds_the_mean_loss_between_its_points() -> None:
    losses: list[float] = []

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        value = run.loss(model, batch)
        losses.append(float(value.detach()))
        return value

    run = trainer(7, plan=replace(PLAN, dense_steps=90, finetune_steps=60))  # a point every 3 steps
    run.fit(fresh(), loss=loss)
    assert [point["step"] for point in run.curve] == [3, 6, 7]
    means = [sum(losses[:3]) / 3, sum(losses[3:6]) / 3, losses[6]]
    assert [point["loss"] for point in run.curve] == pytest.approx(means, rel=1e-5)


def test_progress_is_reported_as_the_share_of_the_steps_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 0.7)
    monkeypatch.setattr("bench.trial.ledger.time.monotonic", lambda: next(clock))
    told: list[tuple[float, str]] = []
    run = trainer(9, report=lambda fraction, note: told.append((fraction, note)))
    run.fit(fresh())
    assert told and all(note.startswith("loss 0.") for _, note in told)
    assert [fraction for fraction, _ in told] == sorted({fraction for fraction, _ in told})
    assert told[-1][0] <= 1


# --- what else a method may ask


def test_costs_and_budgets_are_fractions_of_the_dense_model() -> None:
    model = mlp()
    dense = 6 * 16 + 16 * 16 + 16 * 2
    run = trainer()
    assert run.cost(model) == pytest.approx(dense / 384)
    assert run.cost(mlp(hidden=8)) == pytest.approx((6 * 8 + 8 * 8 + 8 * 2) / 384)
    widths = run.widths(mlp(hidden=8))
    assert widths.reference_macs == 384
    assert widths.macs(widths.largest(widths.norms(), 0.25)) <= 96
    coarse = trainer(width_multiple=4).widths(model)
    assert all(size % 4 == 0 for size in coarse.largest(coarse.norms(), 0.5).values())


def test_an_export_scores_like_the_model() -> None:
    from bench.export.model import Predictor

    model = fresh()
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.allclose(Predictor(trainer().export(model))(x), model(x), atol=1e-6)


# --- what training runs on


def test_mixed_precision_trains_in_bfloat16_and_leaves_full_precision() -> None:
    task, model = Points(batch_size=16), fresh()
    run = trainer(60, hardware=Hardware("cpu", "bf16"))
    seen = set()

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        outputs = network(batch.inputs)
        seen.add(outputs.dtype)
        return nn.functional.cross_entropy(outputs.float(), batch.targets)

    run.fit(model, loss=loss)
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert task.evaluate(model, "dev")["error_percent"] < 20


def test_notes_are_kept_once() -> None:
    run = trainer()
    run.limited(3).note("the gate stays open")
    run.note("the gate stays open")
    assert run.notes == ["the gate stays open"]


def test_methods_see_the_chosen_width_groups_only() -> None:
    assert set(trainer(width_groups=["2"]).widths(fresh()).sizes) == {"2"}
    with pytest.raises(BenchError, match="begins with 'nowhere'"):
        trainer(width_groups=["nowhere"]).widths(fresh())


def test_a_gpu_is_asked_to_repeat_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    for switch, value in (("deterministic", False), ("benchmark", True)):
        monkeypatch.setattr(torch.backends.cudnn, switch, value)
    Hardware("cpu").make_repeatable()
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        Hardware("cuda:1").make_repeatable()  # sets switches, and touches no device
        assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
