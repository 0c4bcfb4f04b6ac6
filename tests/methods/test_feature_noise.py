import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from bench import Batch, BudgetError, Declined, Metric, Plan, Predict, Split, Task, Trainer
from bench.trial.repeatable import Hardware
from bench.widths.cost import count_macs
from bench.widths.widths import Widths
from methods._steering import Penalty, search
from methods._width_noise import WidthNoise
from methods.feature_noise import FeatureNoise
from tests.architectures import Recurrent, SpeechConformer, Transformer
from tests.models import Branches, Points, Temporal, randomise_norms


def gru() -> nn.Module:
    return Recurrent(nn.GRU)


@pytest.mark.parametrize("budget", [0.5, 0.25])
@pytest.mark.parametrize("form", ["sampled", "literal"])
def test_feature_noise_meets_its_budget_with_a_plain_model(form: str, budget: float) -> None:
    torch.manual_seed(0)
    task = Points(hidden=32, batch_size=16)
    model = task.build_model()
    dense = count_macs(model, task.example_input())
    run = Trainer(task, task.presets["quick"], steps=100, seed=0, dense_macs=dense)
    small = FeatureNoise(budget=budget, form=form).compress(model, run)
    assert 0.9 * budget <= count_macs(small, task.example_input()) / dense <= budget
    assert run.steps_left == 0
    assert not any(module._forward_pre_hooks for root in (model, small) for module in root.modules())
    assert [type(module) for module in small.modules()] == [type(module) for module in model.modules()]
    assert task.evaluate(small, "dev")["error_percent"] < 25


def test_the_literal_form_pays_one_price_for_compute_whatever_the_budget_and_the_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    penalties: list[Penalty] = []

    def spy(*what: Any, penalty: Penalty, **how: Any) -> None:
        penalties.append(penalty)
        search(*what, penalty=penalty, **how)

    monkeypatch.setattr("methods.feature_noise.search", spy)
    for budget in (0.5, 0.125):
        task = Points(hidden=32, batch_size=16)
        trainer = Trainer(task, task.presets["quick"], steps=20, seed=0, dense_macs=1280)
        FeatureNoise(budget=budget, form="literal", complexity=3.0).compress(task.build_model(), trainer)
    compute = torch.tensor(0.7)
    for penalty, loss in itertools.product(penalties, (0.01, 1.0, 100.0)):
        assert [float(penalty(compute, torch.tensor(loss))) for _ in range(3)] == pytest.approx([2.1] * 3)
    assert len(penalties) == 2


def test_the_features_that_matter_come_first() -> None:
    """While centres are drawn, the first features are the ones that are always there; so they learn the most."""
    torch.manual_seed(0)
    task = Points(hidden=32, batch_size=16)
    model = task.build_model()
    run = Trainer(task, task.presets["quick"], steps=200, seed=0, dense_macs=1280)
    widths = run.widths(model)
    noise = WidthNoise(widths.sizes, 2.0, 0.25, gaussian=False)

    def loss(network: nn.Module, batch: object) -> Tensor:
        noise.draw(16, 1.0)
        return run.loss(network, batch)  # type: ignore[arg-type]

    with widths.gate(noise.gates()):
        run.fit(model, loss=loss)
    half = {name: torch.arange(16) for name in widths.sizes}
    last = {name: torch.arange(16, 32) for name in widths.sizes}
    task_loss = [
        sum(float(task.loss(widths.keep(kept), batch).detach()) for batch in task.batches("dev", 0))
        for kept in (half, last)
    ]
    assert task_loss[0] < task_loss[1]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("model", "shape"), [(Branches, (2, 8, 6)), (Temporal, (4, 20)), (Transformer, (10, 20)), (gru, (10, 20))]
)
def test_the_smaller_model_is_the_one_with_the_features_gone(
    model: type[nn.Module], shape: tuple[int, ...], training: bool
) -> None:
    """At a whole width the narrowest window holds no noise: what is left is the model that is delivered."""
    torch.manual_seed(0)
    network = randomise_norms(model())
    widths = Widths(network, torch.zeros(1, *shape))
    widths = widths.without([group.name for group in widths.groups if group.recurrent])
    noise = WidthNoise(widths.sizes, 1.0, 0.0, gaussian=False)
    kept = {name: torch.arange((size + 1) // 2) for name, size in widths.sizes.items()}
    with torch.no_grad():
        noise.shares.copy_(torch.tensor([len(kept[name]) / size for name, size in widths.sizes.items()]))
    small, example = widths.keep(kept).train(training), torch.randn(4, *shape)
    network.train(training)
    noise.draw(4, annealing=0.0)
    with torch.no_grad(), widths.gate(noise.gates(), noise.live()):
        expected = network(example)
    with torch.no_grad():
        assert float((small(example) - expected).abs().max() / expected.abs().max()) < 1e-5


# --- networks of other kinds


@dataclass(frozen=True)
class Frames(Task):
    """Random sequences of ten features; the sum of the first three is to be told from the output's mean."""

    metric: ClassVar = Metric("mse", unit="percent", direction="minimize")
    presets: ClassVar = {"quick": Plan(dense_steps=20, finetune_steps=10, batch_size=8, learning_rate=1e-2)}

    kind: str = "gru"

    def build_model(self) -> nn.Module:
        return {"gru": gru, "transformer": Transformer, "conformer": SpeechConformer, "memory": OnlyMemory}[self.kind]()

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            inputs = torch.randn(self.batch_size, 10, 12, generator=generator)
            yield Batch(inputs, inputs[:, :3].sum((1, 2)) / 6)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return (model(batch.inputs).float().flatten(1).mean(1) - batch.targets).square().mean()

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        batch = next(self.batches(split, 1))
        return {self.metric.column: 100 * float(self.loss(predict, batch))}  # type: ignore[arg-type]

    def example_input(self) -> Tensor:
        return torch.zeros(1, 10, 12)


class OnlyMemory(nn.Module):
    """Whose only width is a hidden state: (B, 10, T) -> (B, T, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.GRU(10, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x.transpose(1, 2))[0])


def compressed(kind: str, budget: float, hardware: Hardware | None = None) -> tuple[nn.Module, float, Trainer]:
    """The smaller model, its compute, and the trainer that made it."""
    torch.manual_seed(0)
    task = Frames(kind=kind, batch_size=8)
    model = task.build_model()
    dense = count_macs(model, task.example_input())
    run = Trainer(task, task.presets["quick"], steps=30, seed=0, dense_macs=dense, hardware=hardware or Hardware())
    small = FeatureNoise(budget=budget).compress(model, run)
    assert isinstance(small, nn.Module)
    return small, count_macs(small, task.example_input()) / dense, run


def test_hidden_states_keep_their_width_and_that_is_said() -> None:
    small, compute, run = compressed("gru", 0.7)
    assert compute <= 0.7
    assert small.get_submodule("memory").hidden_size == 6
    assert small.get_submodule("front").out_channels < 8  # type: ignore[operator]
    assert len(run.notes) == 1
    assert "memory.l0" in run.notes[0]
    assert "front" not in run.notes[0]


def test_what_cannot_be_reached_beside_hidden_states_is_said_before_training() -> None:
    with pytest.raises(BudgetError, match=r"the smallest model it can reach has 0\.\d+ of the dense compute"):
        compressed("gru", 0.1)


def test_a_network_of_nothing_but_hidden_states_is_declined() -> None:
    with pytest.raises(Declined, match="recurrent"):
        compressed("memory", 0.5)


@pytest.mark.parametrize("kind", ["transformer", "conformer"])
def test_heads_and_norms_are_compressed(kind: str) -> None:
    _, compute, run = compressed(kind, 0.5)
    assert 0.4 <= compute <= 0.5
    assert run.notes == []


def test_it_trains_in_half_precision() -> None:
    _, compute, run = compressed("transformer", 0.5, Hardware("cpu", "bf16"))
    assert compute <= 0.5
    assert all(math.isfinite(point["loss"]) for point in run.curve)
