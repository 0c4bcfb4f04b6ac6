import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from bench import BudgetError, Trainer
from bench.widths.cost import count_macs
from bench.widths.widths import Widths
from methods._gates import ChannelGates
from methods.stochastic_gates import StochasticGates
from tests.models import Branches, Points, Temporal, randomise_norms

FORMS = ["stg", "hard_concrete"]


def gates_at(locations: list[float], form: str) -> ChannelGates:
    gates = ChannelGates({"g": len(locations)}, form, 0.0)
    with torch.no_grad():
        gates.locations.copy_(torch.tensor(locations))
    return gates


@pytest.mark.parametrize("form", FORMS)
def test_the_chance_of_an_open_gate_is_that_of_many_draws(form: str) -> None:
    torch.manual_seed(0)
    gates = gates_at([location for location in (-1.0, -0.3, 0.0, 0.4, 1.2) for _ in range(20_000)], form)
    gates.draw()
    with torch.no_grad():
        drawn = gates.gates()["g"](torch.ones(1, 100_000), torch.arange(100_000)).view(5, -1)
    assert float(drawn.min()) == 0
    assert float(drawn.max()) == 1
    chances = gates.chances()["g"].detach().view(5, -1)
    torch.testing.assert_close((drawn > 0).float().mean(1), chances[:, 0], atol=0.015, rtol=0)
    assert float(gates.widths()["g"].detach()) == pytest.approx(float(chances.sum()))


def test_the_closed_forms_by_hand() -> None:
    locations = torch.tensor([-0.7, 0.1, 0.9])
    normal = gates_at(locations.tolist(), "stg")
    torch.testing.assert_close(normal.chances()["g"], Normal(0.0, 1.0).cdf(locations / 0.5))
    assert normal.values()["g"].tolist() == pytest.approx([0.0, 0.1, 0.9])
    concrete = gates_at([-4.0, 0.0, 1.0, 4.0], "hard_concrete")
    raised = [math.exp(a + 2 / 3 * math.log(11)) for a in (-4.0, 0.0, 1.0, 4.0)]
    assert concrete.chances()["g"].tolist() == pytest.approx([r / (1 + r) for r in raised], rel=1e-5)
    middle = 1.2 / (1 + math.exp(-1.0)) - 0.1
    assert concrete.values()["g"].tolist() == pytest.approx([0.0, 0.5, middle, 1.0], rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_one_draw_serves_all_examples_and_lets_the_gradient_through(form: str) -> None:
    torch.manual_seed(0)
    gates = gates_at([0.3, 0.4, 0.5], form)
    features, channels = torch.ones(4, 6, 2), torch.tensor([0, 1, 2, 2, 1, 0])
    gate, live = gates.gates()["g"], gates.live()["g"]
    assert torch.equal(gate(features, channels), features)  # nothing drawn yet
    assert torch.equal(live(channels), torch.ones(1, 6))
    gates.draw()
    out = gate(features, channels)
    assert torch.equal(out, out[:1, :, :1].expand(4, 6, 2))
    assert torch.equal(out[:, :3], out[:, 3:].flip(1))
    assert torch.equal(live(channels), (out[:1, :, 0] > 0).float())
    gates.locations.grad = None
    drawn = torch.zeros(3)
    for _ in range(50):
        gates.draw()
        gate(features, channels).sum().backward()
        assert gates.locations.grad is not None
        drawn = torch.maximum(drawn, gates.locations.grad)
    assert bool((drawn > 0).all())
    gates.locations.grad = None
    gates.widths()["g"].backward()
    assert gates.locations.grad is not None
    assert bool((gates.locations.grad > 0).all())


def test_a_closed_channel_does_not_count_as_alive() -> None:
    torch.manual_seed(0)
    gates = gates_at([-9.0, 9.0], "stg")
    gates.draw()
    assert gates.live()["g"](torch.tensor([1, 0, 1])).tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", [Branches, Temporal])
def test_the_folded_smaller_model_is_the_gated_one(model: type[nn.Module], form: str) -> None:
    torch.manual_seed(0)
    network = randomise_norms(model())
    example = torch.randn(3, *((2, 8, 6) if model is Branches else (4, 20)))
    widths = Widths(network, example[:1])
    gates = ChannelGates(widths.sizes, form, 0.0)
    with torch.no_grad():
        gates.locations.copy_(torch.rand(len(gates.locations)))
    kept = {name: torch.arange(0, size, 2) for name, size in widths.sizes.items()}
    values = {n: v * torch.zeros_like(v).index_fill(0, kept[n], 1.0) for n, v in gates.values().items()}

    def gate(value: Tensor, features: Tensor, channels: Tensor) -> Tensor:
        return features * value[channels].view(1, -1, *[1] * (features.dim() - 2))

    with torch.no_grad(), widths.gate({n: lambda f, c, v=v: gate(v, f, c) for n, v in values.items()}):
        expected = network(example)
    widths.scale(gates.values())
    small = widths.keep(kept).eval()
    with torch.no_grad():
        difference = float((small(example) - expected).abs().max() / expected.abs().max())
    assert difference < 1e-5


def compressed(budget: float, form: str, seed: int = 0) -> tuple[nn.Module, float, float]:
    """The result on points, its compute, and its error in percent."""
    torch.manual_seed(seed)
    task = Points(hidden=32, batch_size=16)
    model = task.build_model()
    dense = count_macs(model, task.example_input())
    run = Trainer(task, task.presets["quick"], steps=100, seed=seed, dense_macs=dense)
    small = StochasticGates(budget=budget, form=form).compress(model, run)
    assert run.steps_left == 0
    return small, count_macs(small, task.example_input()) / dense, task.evaluate(small, "dev")["error_percent"]


@pytest.mark.parametrize("budget", [0.5, 0.25])
@pytest.mark.parametrize("form", FORMS)
def test_the_budget_is_met_with_a_plain_model(form: str, budget: float) -> None:
    small, compute, error = compressed(budget, form)
    assert 0.85 * budget <= compute <= budget
    assert {type(module) for module in small.modules()} == {nn.Sequential, nn.Linear, nn.ReLU}
    assert not any(module._forward_pre_hooks for module in small.modules())
    assert error < 25


def test_a_budget_out_of_reach_is_said_before_training() -> None:
    with pytest.raises(BudgetError, match="smallest that can be reached"):
        compressed(1e-4, "stg")


def test_gates_learn_which_features_matter() -> None:
    """Of eight inputs' copies only those that carry the target stay open."""
    torch.manual_seed(0)
    gates = ChannelGates({"g": 8}, "stg", 0.5)
    weight = torch.tensor([1.0, 0, 1.0, 0, 0, 1.0, 0, 0])
    optimizer = torch.optim.Adam(gates.parameters, 0.03)
    gate, channels = gates.gates()["g"], torch.arange(8)
    for _ in range(300):
        features = torch.randn(64, 8)
        gates.draw()
        error = (gate(features, channels) @ weight - features @ weight).square().mean()
        optimizer.zero_grad()
        (error + 0.05 * gates.widths()["g"]).backward()
        optimizer.step()
    chances = gates.chances()["g"].detach()
    assert float(chances[weight > 0].min()) > 0.9
    assert float(chances[weight == 0].max()) < 0.1
