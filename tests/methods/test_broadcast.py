import math

import pytest
import torch
from torch import Tensor, nn

from bench import Trainer, Widths, count_macs
from methods._broadcast import Broadcast, Rule
from methods.budgeted_broadcast import BudgetedBroadcast
from methods.budgeted_broadcast_units import BudgetedBroadcastUnits
from tests.didactic import Xor, balance, error, sparse
from tests.models import Branches, Points, mlp, randomise_norms


def on_mlp(rates: Tensor | None = None, **how: object) -> tuple[nn.Sequential, Broadcast]:
    """6 -> 64 -> 48 -> 2; the first hidden layer has these on-rates."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 2))
    broadcast = Broadcast(Widths(model, torch.zeros(1, 6)), **how)  # type: ignore[arg-type]
    broadcast.on_rates["0"].copy_(torch.linspace(0.05, 0.95, 64) if rates is None else rates)
    return model, broadcast


def alive(broadcast: Broadcast, layer: str = "2") -> Tensor:
    return broadcast.masks.alive()[f"{layer}.weight"]


# --- the balance


def test_fan_outs_are_the_published_balance() -> None:
    beta = 16.0
    _, broadcast = on_mlp(beta=beta)
    broadcast.refresh(0.5)
    rates = broadcast.on_rates["0"]
    offset = alive(broadcast).float().mean(0) - torch.log((1 - rates) / rates) / beta
    assert float(offset.max() - offset.min()) <= 1.01 / 48  # one connection
    assert bool((alive(broadcast).sum(0).diff() <= 0).all())  # busier units keep fewer


def test_one_offset_serves_layers_of_different_size() -> None:
    _, broadcast = on_mlp(rates=torch.full((64,), 0.3))
    broadcast.on_rates["2"].fill_(0.3)
    broadcast.refresh(0.6)
    assert torch.allclose(alive(broadcast).float().mean(0), torch.tensor(0.6), atol=0.03)


def test_each_unit_keeps_its_strongest_connections() -> None:
    model, broadcast = on_mlp()
    strength = model[2].weight.detach().abs()  # type: ignore[operator]
    broadcast.refresh(0.4)
    for unit, kept in enumerate(alive(broadcast).T):
        assert int(kept.sum()) >= 3  # a sixteenth
        assert min(strength[kept, unit].tolist()) >= max(strength[~kept, unit].tolist(), default=0)


@pytest.mark.parametrize("rule", ["balance", "threshold", "magnitude"])
@pytest.mark.parametrize("density", [0.25, 0.0625])
def test_no_layer_goes_without_where_the_budget_pays_for_few(rule: Rule, density: float) -> None:
    """Four connections a unit were more than a quarter of narrow layers have: the last layer by name got none."""
    torch.manual_seed(0)
    model = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(12, 12), nn.ReLU())), nn.Linear(12, 1))
    broadcast = Broadcast(Widths(model, torch.zeros(1, 12)), rule=rule)
    for rates in broadcast.on_rates.values():
        rates.copy_(torch.linspace(0.05, 0.95, 12))
    broadcast.refresh(density)
    assert all(int(own.sum()) >= 5 for own in broadcast.masks.alive().values())


def test_incoming_connections_balance_the_units_that_receive() -> None:
    _, broadcast = on_mlp(side="in", rates=torch.full((64,), 0.5))
    broadcast.on_rates["2"].copy_(torch.linspace(0.05, 0.95, 48))
    broadcast.refresh(0.5)
    fan_in = alive(broadcast).sum(1)
    assert bool((fan_in.diff() <= 0).all()) and fan_in[0] > fan_in[-1]
    assert set(broadcast.masks.alive()) == {"0.weight", "2.weight"}  # outputs are no units


def test_both_ends_must_grant_a_connection() -> None:
    _, broadcast = on_mlp(side="both")
    broadcast.on_rates["2"].copy_(torch.linspace(0.05, 0.95, 48))
    broadcast.refresh(0.5)
    kept = alive(broadcast).float()
    assert kept[:, :16].mean() > kept[:, -16:].mean() + 0.05  # fewer from busy units
    assert kept[:16].mean() > kept[-16:].mean() + 0.05  # and fewer to them
    assert set(broadcast.masks.alive()) == {"0.weight", "2.weight", "4.weight"}


# --- its controls, and the other controller


def kept_by(rule: Rule) -> Tensor:
    _, broadcast = on_mlp(rule=rule)
    broadcast.refresh(0.5)
    return alive(broadcast).sum(0)


def test_without_regard_to_activity_all_units_keep_the_same_share() -> None:
    fan_out = kept_by("magnitude")
    assert int(fan_out.max() - fan_out.min()) <= 1


def test_activity_alone_keeps_all_of_the_quiet_and_the_least_of_the_busy() -> None:
    fan_out = kept_by("activity")
    assert bool((fan_out[:20] == 48).all()) and bool((fan_out[-20:] == 3).all())


def test_shuffled_activity_gives_as_many_connections_to_other_units() -> None:
    own, shuffled = kept_by("balance"), kept_by("shuffled")
    assert shuffled.sort().values.tolist() == pytest.approx(own.sort().values.tolist(), abs=1)
    assert bool((shuffled.diff() > 0).any())


def test_beyond_the_thresholds_units_lose_first_and_nothing_comes_back() -> None:
    _, broadcast = on_mlp(rule="threshold")
    rates = broadcast.on_rates["0"]
    outside = (rates < 0.3) | (rates > 0.9)
    broadcast.refresh(0.8)
    first = alive(broadcast)
    assert bool((first.sum(0)[~outside] == 48).all()) and bool((first.sum(0)[outside] < 48).all())
    with torch.no_grad():
        broadcast.masks.full()["2.weight"][~first] *= 1000
    rates.fill_(0.5)
    broadcast.refresh(0.7)
    assert not bool((alive(broadcast) & ~first).any())


def test_otherwise_connections_can_come_back() -> None:
    _, broadcast = on_mlp()
    broadcast.refresh(0.5)
    first = alive(broadcast)
    with torch.no_grad():
        broadcast.masks.full()["2.weight"][~first] *= 1000
    broadcast.refresh(0.5)
    assert int((alive(broadcast) & ~first).sum()) >= 0.4 * int((~first).sum())


@pytest.mark.parametrize(("by_fan_out", "correlated"), [(True, True), (False, False)])
def test_units_are_ranked_by_fan_out_or_by_what_they_say(by_fan_out: bool, correlated: bool) -> None:
    _, broadcast = on_mlp(rescale=True)
    broadcast.refresh(0.5)
    scores, fan_out = broadcast.unit_scores(by_fan_out=by_fan_out)["0"], broadcast.fan_outs()["0"]
    together = torch.stack([own.argsort().argsort().float() for own in (scores, fan_out)])
    assert (float(torch.corrcoef(together)[0, 1]) >= 0.4) == correlated


# --- on-rates


def test_on_rates_converge_to_the_share_of_positive_features() -> None:
    torch.manual_seed(0)
    model = randomise_norms(Branches())
    widths = Widths(model, torch.zeros(1, 2, 8, 6))
    broadcast = Broadcast(widths)
    x = torch.randn(16, 2, 8, 6)
    with torch.no_grad(), widths.gate(broadcast.observers()):
        for _ in range(700):
            model(x)
        left = model.left_norm(model.left(x)).relu()
        right = model.right(x).relu()
        y = model.depthwise_norm(model.depthwise(torch.cat([left, right], 1))).relu()
        flat = nn.functional.max_pool2d(model.mix_norm(model.mix(y)).relu(), 2)
        hidden = model.hidden(flat.flatten(1)).relu()
    expected = {
        "left": (y[:, :5] > 0).float().mean((0, 2, 3)),  # where they are consumed: behind the depthwise convolution
        "right": (y[:, 5:] > 0).float().mean((0, 2, 3)),
        "mix": (flat > 0).float().mean((0, 2, 3)),
        "hidden": (hidden > 0).float().mean(0),
    }
    for name, rate in expected.items():
        assert torch.allclose(broadcast.on_rates[name], rate, atol=1e-4), name
    spread = torch.cat(list(expected.values()))
    assert float(spread.max() - spread.min()) > 0.2


def test_one_observation_moves_the_average_by_a_twentieth() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    widths = Widths(model, torch.zeros(1, 3))
    broadcast = Broadcast(widths)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([1.0, 1.0, -1.0, -1.0]))
        with widths.gate(broadcast.observers()):
            model(torch.zeros(5, 3))
    assert broadcast.on_rates["0"].tolist() == pytest.approx([0.525, 0.525, 0.475, 0.475])


def test_observers_change_nothing() -> None:
    model = randomise_norms(Branches())
    widths = Widths(model, torch.zeros(1, 2, 8, 6))
    broadcast = Broadcast(widths)
    x = torch.randn(3, 2, 8, 6)
    with torch.no_grad():
        before = model(x)
        with widths.gate(broadcast.observers()):
            assert torch.equal(model(x), before)


def test_training_with_observers_in_attention_has_a_known_cost() -> None:
    """They lie in parametrizations there, which run when the model is counted; they count on-rates, free of MACs."""
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    widths, x = Widths(model, torch.zeros(1, 5, 8)), torch.randn(1, 5, 8)
    with widths.gate(Broadcast(widths).observers()):
        assert count_macs(model, x) == widths.macs({})


def test_on_rates_of_calibration_data_are_their_mean() -> None:
    task = Points(hidden=24, batch_size=16)
    torch.manual_seed(0)
    model = task.build_model()
    broadcast = Broadcast(Widths(model, task.example_input()))
    batches = [batch for batch, _ in zip(task.batches("train", 0), range(5), strict=False)]
    broadcast.observe(batches)
    with torch.no_grad():
        seen = torch.cat([model[:2](batch.inputs) > 0 for batch in batches])  # type: ignore[index]
    assert torch.allclose(broadcast.on_rates["0"], seen.float().mean(0), atol=1e-5)


def test_masks_are_renewed_from_the_burn_in_to_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    widths = Widths(model, torch.zeros(1, 6))
    broadcast = Broadcast(widths)
    after_step = broadcast.renewing(0.5, burn_in=4, interval=3, last=12)
    at: list[int] = []
    rates: list[Tensor] = []
    monkeypatch.setattr(broadcast, "refresh", lambda density: at.append(step))
    with torch.no_grad(), widths.gate(broadcast.observers()):
        for step in range(1, 20):
            model(torch.randn(8, 6))
            after_step(step)
            rates.append(broadcast.on_rates["0"].clone())
    assert at == [4, 7, 10]
    # looked at in every fourth step, for as long as masks are renewed
    assert [step for step in range(1, 19) if not torch.equal(rates[step - 1], rates[step])] == [4, 8]


# --- the methods


def trainer(task: Points, steps: int = 60) -> Trainer:
    dense = 6 * task.hidden + task.hidden**2 + 2 * task.hidden
    return Trainer(task, task.presets["quick"], steps=steps, seed=0, dense_macs=dense)


@pytest.mark.parametrize("how", [{}, {"side": "in"}, {"side": "both"}, {"rule": "threshold"}, {"rule": "shuffled"}])
@pytest.mark.parametrize("budget", [1.0, 0.5, 0.3])
def test_budgeted_broadcast_delivers_its_budget(budget: float, how: dict[str, str]) -> None:
    torch.manual_seed(0)
    task = Points(hidden=24, batch_size=16)
    model = BudgetedBroadcast(budget=budget, **how).compress(task.build_model(), trainer(task))  # type: ignore[arg-type]
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    assert sum(int((w != 0).sum()) for w in weights) == math.floor(budget * sum(w.numel() for w in weights))
    assert not any(hasattr(module, "parametrizations") for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("budget", [0.5, 0.125])
def test_budgeted_broadcast_over_units_meets_its_budget(budget: float) -> None:
    torch.manual_seed(0)
    task = Points(hidden=32, batch_size=16)
    run = trainer(task)
    small = BudgetedBroadcastUnits(budget=budget).compress(task.build_model(), run)
    assert 0.85 * budget <= run.cost(small) <= budget
    assert run.steps_left == 0
    assert not any(hasattr(module, "parametrizations") for module in small.modules())


@pytest.mark.parametrize(("rule", "least", "most"), [("balance", 0.9, 1.0), ("magnitude", -0.4, 0.4)])
def test_units_end_at_the_balance_and_solve_xor(rule: str, least: float, most: float) -> None:
    """Of what hidden units send .26 is left; on-rates are those of the finished network."""
    task = Xor(batch_size=64)
    model = sparse(task, 400, 0, 0.5, rule=rule)
    assert least < balance(task, model) <= most
    assert error(task, model) < 2
