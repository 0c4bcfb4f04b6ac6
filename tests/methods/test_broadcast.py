import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench import Trainer, Widths
from methods._broadcast import Broadcast, balanced_fan_out
from methods.budgeted_broadcast import BudgetedBroadcast
from methods.budgeted_broadcast_units import BudgetedBroadcastUnits
from tests.models import Branches, Points, mlp, randomise_norms

UNITS = st.lists(st.tuples(st.floats(0.001, 0.999), st.integers(1, 200)), min_size=1, max_size=30)


def tensors(units: list[tuple[float, int]]) -> tuple[Tensor, Tensor]:
    return torch.tensor([rate for rate, _ in units], dtype=torch.float64), torch.tensor([fan for _, fan in units])


# --- the balance


@settings(max_examples=200)
@given(UNITS, st.floats(0, 1), st.sampled_from([0.5, 16.0, 128.0, math.inf]))
def test_the_density_is_met_exactly_within_the_bounds(
    units: list[tuple[float, int]], density: float, beta: float
) -> None:
    rates, fans = tensors(units)
    kept = balanced_fan_out(rates, fans, density, beta)
    fewest = fans.clamp(max=4)
    assert kept.sum() == max(round(density * int(fans.sum())), int(fewest.sum()))
    assert bool((kept >= fewest).all())
    assert bool((kept <= fans).all())
    assert torch.equal(kept, kept.round())


@settings(max_examples=100)
@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=30), st.integers(4, 300), st.floats(0.05, 1))
def test_busier_units_keep_fewer_weights(rates: list[float], fan: int, density: float) -> None:
    busy_first = torch.tensor(sorted(rates, reverse=True), dtype=torch.float64)
    kept = balanced_fan_out(busy_first, torch.full((len(rates),), fan), density, 16.0)
    distinct = busy_first.diff() < 0
    assert bool((kept.diff()[distinct] >= 0).all())


@settings(max_examples=100)
@given(UNITS, st.floats(0, 1))
def test_without_regard_to_activity_all_units_keep_the_same_share(
    units: list[tuple[float, int]], density: float
) -> None:
    rates, fans = tensors(units)
    kept = balanced_fan_out(rates, fans, density, math.inf)
    assert torch.equal(kept, balanced_fan_out(1 - rates, fans, density, math.inf))
    free = kept > fans.clamp(max=4)
    # one share of which every count is at most one weight away
    lowest, highest = ((kept - 1) / fans)[free].tolist(), ((kept + 1) / fans)[free].tolist()
    assert max(lowest, default=0) <= min(highest, default=1) + 1e-9
    equal = balanced_fan_out(rates, torch.full_like(fans, 50), density, math.inf)
    assert float(equal.max() - equal.min()) <= 1


def test_inside_the_bounds_it_is_the_published_balance() -> None:
    rates = torch.linspace(0.2, 0.8, 9, dtype=torch.float64)
    beta, fan, density = 16.0, 1000, 0.5
    kept = balanced_fan_out(rates, torch.full((9,), fan), density, beta)
    lean = torch.log((1 - rates) / rates)
    offset = density - float(lean.mean()) / beta
    residual = lean - beta * (kept / fan - offset)
    assert float(residual.abs().max()) <= beta / fan
    assert kept[4] == 500
    assert kept[0] == round(fan * (density + math.log(4) / beta))


def test_one_offset_serves_layers_of_different_size() -> None:
    rates, fans = torch.tensor([0.3, 0.3, 0.3]), torch.tensor([100, 1000, 10_000])
    kept = balanced_fan_out(rates, fans, 0.4, 16.0)
    assert (kept / fans).tolist() == pytest.approx([0.4] * 3, abs=0.01)


# --- on a network


def broadcast_on(
    model: nn.Module, example: Tensor, density: float = 0.5, beta: float = 16.0
) -> tuple[Broadcast, Widths]:
    widths = Widths(model, example)
    return Broadcast(widths, density, beta, burn_in=4, interval=3, last=12), widths


def factors(model: nn.Module, layer: str) -> Tensor:
    return model.get_submodule(layer).parametrizations.weight[0].factor  # type: ignore[union-attr,index,no-any-return]


def full(model: nn.Module, layer: str) -> Tensor:
    return model.get_submodule(layer).parametrizations.weight.original  # type: ignore[union-attr,no-any-return]


def test_each_unit_keeps_its_largest_weights_scaled_to_their_variance() -> None:
    torch.manual_seed(0)
    model = mlp(6, 32, 16)
    broadcast, _ = broadcast_on(model, torch.zeros(1, 6))
    broadcast.on_rates["0"].copy_(torch.linspace(0.1, 0.9, 32))
    broadcast.refresh()
    total = 0
    for layer in ("2", "4"):
        factor, weight = factors(model, layer), full(model, layer).detach().abs()
        for unit in range(32):
            alive = factor[:, unit] > 0
            kept = int(alive.sum())
            total += kept
            assert kept >= 4
            assert min(weight[alive, unit].tolist()) >= max(weight[~alive, unit].tolist(), default=0)
            assert torch.allclose(factor[alive, unit], torch.tensor((len(alive) / kept) ** 0.5))
    assert total == round(0.5 * (32 * 32 + 32 * 16))
    fan_out = (factors(model, "2") > 0).sum(0)
    assert fan_out[0] > fan_out[16] > fan_out[31]


def test_the_masks_act_on_what_the_layer_computes() -> None:
    torch.manual_seed(0)
    model = mlp(6, 32, 16)
    broadcast, _ = broadcast_on(model, torch.zeros(1, 6))
    broadcast.refresh()
    assert torch.equal(model[2].weight, full(model, "2") * factors(model, "2"))
    assert float((model[2].weight == 0).float().mean()) > 0.3


def test_weights_can_come_back() -> None:
    torch.manual_seed(0)
    model = mlp(6, 32, 16)
    broadcast, _ = broadcast_on(model, torch.zeros(1, 6))
    broadcast.refresh()
    dead = factors(model, "2") == 0
    with torch.no_grad():
        assert bool((full(model, "2")[dead] != 0).all())  # the full weights live on
        full(model, "2")[dead] *= 1000
    broadcast.refresh()
    back = (factors(model, "2") > 0) & dead
    assert int(back.sum()) >= 0.4 * int(dead.sum())


def test_the_full_weights_of_dead_connections_get_no_gradient_but_decay_with_the_rest() -> None:
    torch.manual_seed(0)
    model = mlp(6, 32, 16)
    broadcast, _ = broadcast_on(model, torch.zeros(1, 6))
    broadcast.refresh()
    model(torch.randn(8, 6)).square().sum().backward()
    gradient = full(model, "2").grad
    assert gradient is not None
    assert torch.equal(gradient[factors(model, "2") == 0], torch.zeros(int((factors(model, "2") == 0).sum())))
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("density", [0.25, 0.4, 1.0])
def test_folding_leaves_a_plain_model_of_that_density_with_the_same_output(density: float) -> None:
    torch.manual_seed(0)
    model = randomise_norms(Branches())
    names = set(model.state_dict())
    x = torch.randn(3, 2, 8, 6)
    with torch.no_grad():
        untouched = model(x)
    broadcast, widths = broadcast_on(model, torch.zeros(1, 2, 8, 6), density)
    with torch.no_grad():
        assert torch.equal(model(x), untouched)  # nothing is masked before the first refresh
    broadcast.refresh()
    with torch.no_grad():
        masked = model(x)
    broadcast.fold()
    assert set(model.state_dict()) == names
    assert not any(hasattr(module, "parametrizations") for module in model.modules())
    assert all(isinstance(module.weight, nn.Parameter) for module in (model.mix, model.hidden, model.head))
    with torch.no_grad():
        assert torch.allclose(model(x), masked, atol=1e-6)
        assert torch.equal(masked, untouched) == (density == 1.0)
    consumers = [model.get_submodule(m.layer).weight for g in widths.groups for m in g.consumers]
    unique = {id(weight): weight for weight in consumers}.values()
    assert sum(int((w != 0).sum()) for w in unique) == round(density * sum(w.numel() for w in unique))
    assert bool((model.depthwise.weight != 0).all())  # it hands channels on, it does not broadcast them


def test_on_rates_converge_to_the_share_of_positive_features() -> None:
    torch.manual_seed(0)
    model = randomise_norms(Branches())
    broadcast, widths = broadcast_on(model, torch.zeros(1, 2, 8, 6))
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
    broadcast, widths = broadcast_on(model, torch.zeros(1, 3))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([1.0, 1.0, -1.0, -1.0]))
        with widths.gate(broadcast.observers()):
            model(torch.zeros(5, 3))
    assert broadcast.on_rates["0"].tolist() == pytest.approx([0.525, 0.525, 0.475, 0.475])


def test_observers_change_nothing() -> None:
    model = randomise_norms(Branches())
    broadcast, widths = broadcast_on(model, torch.zeros(1, 2, 8, 6))
    x = torch.randn(3, 2, 8, 6)
    with torch.no_grad():
        before = model(x)
        with widths.gate(broadcast.observers()):
            assert torch.equal(model(x), before)


def test_masks_are_renewed_from_the_burn_in_to_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    broadcast, widths = broadcast_on(model, torch.zeros(1, 6))
    at: list[int] = []
    rates: list[Tensor] = []
    monkeypatch.setattr(broadcast, "refresh", lambda: at.append(step))
    with torch.no_grad(), widths.gate(broadcast.observers()):
        for step in range(1, 20):
            model(torch.randn(8, 6))
            broadcast.after_step(step)
            rates.append(broadcast.on_rates["0"].clone())
    assert at == [4, 7, 10]
    # looked at in every fourth step, for as long as masks are renewed
    assert [step for step in range(1, 19) if not torch.equal(rates[step - 1], rates[step])] == [4, 8]


# --- the methods


def trainer(task: Points, steps: int = 60) -> Trainer:
    dense = 6 * task.hidden + task.hidden**2 + 2 * task.hidden
    return Trainer(task, task.presets["quick"], steps=steps, seed=0, dense_macs=dense)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.75])
def test_budgeted_broadcast_delivers_its_sparsity(sparsity: float) -> None:
    torch.manual_seed(0)
    task = Points(hidden=24, batch_size=16)
    model = BudgetedBroadcast(sparsity=sparsity).compress(task.build_model(), trainer(task))
    broadcasting = [model[2].weight, model[4].weight]  # type: ignore[index]
    fewest = 24 * 4 + 24 * 2
    total = sum(w.numel() for w in broadcasting)  # type: ignore[union-attr,misc]
    expected = max(round((1 - sparsity) * total), fewest)
    assert sum(int((w != 0).sum()) for w in broadcasting) == expected  # type: ignore[union-attr,operator]
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
