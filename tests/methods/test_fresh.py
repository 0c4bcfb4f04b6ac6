"""A narrower network is drawn for its sizes by the rules of its author."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench import Method, Trainer, Widths
from bench.widths.cost import count_macs
from methods._fresh import RULES, _alike, redrawn
from methods.given_widths import GivenWidths
from methods.uniform_width import UniformWidth
from tests.models import Points, Temporal, mlp


def halved(model: nn.Module, example: Tensor) -> nn.Module:
    widths = Widths(model, example)
    return redrawn(widths.keep({n: torch.arange(size // 2) for n, size in widths.sizes.items()}), model)


def parameter(model: nn.Module, name: str) -> Tensor:
    return model.get_parameter(name).detach()


class Sequence(nn.Module):
    """Positions that are learned, attention, a recurrence: (B, 20, 4) -> (B, 20, 1)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.project = nn.Linear(4, width)
        self.positions = nn.Parameter(torch.empty(1, 20, width))
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, 1)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(x) + self.positions
        y = y + self.attention(y, y, y, need_weights=False)[0]
        return self.head(self.memory(y)[0])


def test_default_weights_and_biases_follow_the_new_fan_in() -> None:
    torch.manual_seed(0)
    narrow = halved(mlp(hidden=128), torch.zeros(1, 6))
    for own in ("weight", "bias"):
        values, bound = parameter(narrow, f"2.{own}"), 64**-0.5
        assert 0.9 * bound < float(values.abs().max()) <= bound
        assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=0.2)


@pytest.mark.parametrize(
    ("rule", "deviation"),
    [(RULES[0], (2 / 128) ** 0.5), (RULES[1], (2 / 64) ** 0.5), (RULES[2], (2 / 64) ** 0.5),
     *((xavier, (2 / 192) ** 0.5) for xavier in RULES[3:])],
)  # fmt: skip
def test_known_rules_of_authors_follow_the_new_sizes(rule: Callable[[Tensor], Tensor], deviation: float) -> None:
    """From 128 features to 256 outputs, of which half are left."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 2))
    rule(model[2].weight)  # type: ignore[arg-type]
    narrow = halved(model, torch.zeros(1, 6))
    assert float(parameter(narrow, "2.weight").std()) == pytest.approx(deviation, rel=0.05)


def test_what_has_no_regard_to_sizes_keeps_its_numbers() -> None:
    torch.manual_seed(0)
    model = mlp(hidden=128, classes=1)
    nn.init.trunc_normal_(model[2].get_parameter("weight"), std=0.02)
    nn.init.zeros_(model[2].get_parameter("bias"))
    nn.init.constant_(model[4].get_parameter("bias"), -0.5)
    narrow = halved(model, torch.zeros(1, 6))
    assert torch.equal(parameter(narrow, "2.weight"), parameter(model, "2.weight")[:64, :64])
    assert not parameter(narrow, "2.bias").any()
    assert parameter(narrow, "4.bias").tolist() == [-0.5]


def test_a_branch_that_begins_silent_stays_silent() -> None:
    torch.manual_seed(0)
    model = Temporal()
    nn.init.zeros_(model.outer_norm.weight)
    narrow = halved(model, torch.zeros(1, 4, 20))
    assert not parameter(narrow, "outer_norm.weight").any()
    assert parameter(narrow, "inner_norm.weight").tolist() == [1.0] * 5


def test_positions_are_cut_and_attention_and_recurrences_drawn() -> None:
    torch.manual_seed(0)
    model = Sequence()
    narrow = halved(model, torch.zeros(1, 20, 4))
    positions = parameter(model, "positions")
    left = [channel for channel in range(64) if (positions[..., channel, None] == narrow.positions).all(1).any()]
    assert len(left) == narrow.positions.shape[2] == 32
    assert torch.equal(parameter(narrow, "positions"), positions[..., left])
    xavier = (6 / sum(parameter(narrow, "attention.in_proj_weight").shape)) ** 0.5
    assert 0.95 * xavier < float(parameter(narrow, "attention.in_proj_weight").abs().max()) <= xavier
    assert not parameter(narrow, "attention.out_proj.bias").any()
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
        assert 0.9 * 32**-0.5 < float(parameter(narrow, f"memory.{name}").abs().max()) <= 32**-0.5


def test_draws_of_one_rule_are_told_apart_in_one_of_hundreds_of_cases() -> None:
    torch.manual_seed(0)
    draws = [(torch.randn(60), torch.randn(60)) for _ in range(1000)]
    assert 980 <= sum(_alike(*pair) for pair in draws) < 1000


@torch.no_grad()
def test_another_rule_of_the_same_spread_is_seen() -> None:
    """An orthogonal GRU has the spread of PyTorch's own; a gate that begins open has its numbers but a few."""
    torch.manual_seed(0)
    memory, again = nn.GRU(64, 64), nn.GRU(64, 64)
    assert _alike(memory.weight_hh_l0, again.weight_hh_l0) and _alike(memory.bias_hh_l0, again.bias_hh_l0)
    nn.init.orthogonal_(memory.weight_hh_l0)
    memory.bias_hh_l0[64:128] = 1
    assert float(memory.weight_hh_l0.std() / again.weight_hh_l0.std()) == pytest.approx(1, abs=0.01)
    assert not _alike(memory.weight_hh_l0, again.weight_hh_l0) and not _alike(memory.bias_hh_l0, again.bias_hh_l0)


@pytest.mark.parametrize("method", [UniformWidth(budget=0.3), GivenWidths(widths="0=64 2=64")])
def test_controls_begin_as_their_author_begins(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[nn.Module] = []
    monkeypatch.setattr(Trainer, "fit", lambda _, model: trained.append(model))
    torch.manual_seed(0)
    task = Points(hidden=128, batch_size=16)
    model = task.build_model()
    nn.init.zeros_(model.get_parameter("2.bias"))
    trainer = Trainer(task, task.presets["quick"], steps=6, seed=0, dense_macs=count_macs(model, task.example_input()))
    narrow = method.compress(model, trainer)
    assert isinstance(narrow, nn.Module) and trained == [narrow]
    weight = parameter(narrow, "2.weight")
    assert weight.shape[1] < 90
    assert 0.95 < float(weight.abs().max()) * weight.shape[1] ** 0.5 <= 1
    assert not parameter(narrow, "2.bias").any()
