"""One object for the widths of one model."""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench import BenchError, Widths
from bench.export.model import Predictor, export_onnx
from bench.widths.cost import count_macs
from tasks.antispoof.resnet import LAYOUTS, ResNet
from tests.models import Branches, Temporal, mlp, randomise_norms

EXAMPLES = {
    "branches": (Branches, (1, 2, 8, 6)),
    "temporal": (Temporal, (1, 4, 24)),
    "mlp": (mlp, (1, 6)),
    "resnet": (lambda: ResNet(LAYOUTS["resnet18"], 4), (1, 16, 20)),
}


Built = tuple[nn.Module, Widths]


@pytest.fixture(scope="module", params=EXAMPLES)
def built(request: pytest.FixtureRequest) -> Built:
    """A model in eval mode with the statistics of a trained one, and its widths."""
    torch.manual_seed(3)
    build, shape = EXAMPLES[request.param]
    model = randomise_norms(build())
    return model, Widths(model, torch.randn(shape))


def inputs(widths: Widths, examples: int = 3) -> Tensor:
    return torch.randn(examples, *widths.example_input.shape[1:], generator=torch.Generator().manual_seed(9))


def random_choice(widths: Widths, seed: int) -> dict[str, Tensor]:
    """Some channels of some groups, at least one of each, in no order."""
    generator = torch.Generator().manual_seed(seed)
    chosen = {}
    for name, size in widths.sizes.items():
        if float(torch.rand((), generator=generator)) < 0.85:
            count = int(torch.randint(1, size + 1, (), generator=generator))
            chosen[name] = torch.randperm(size, generator=generator)[:count]
    return chosen


def masks(widths: Widths, indices: dict[str, Tensor]) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def gate(kept: Tensor, size: int) -> Callable[[Tensor, Tensor], Tensor]:
        mask = torch.zeros(size).index_fill(0, kept, 1.0)
        return lambda features, channels: features * mask[channels].view(1, -1, *[1] * (features.dim() - 2))

    return {name: gate(kept, widths.sizes[name]) for name, kept in indices.items()}


def close(left: Tensor, right: Tensor) -> bool:
    return float((left - right).abs().max()) <= 1e-5 * float(right.abs().max())


def test_the_stages_of_the_resnet_can_be_chosen() -> None:
    widths = Widths(ResNet(LAYOUTS["resnet18"], 4), torch.zeros(1, 16, 20))
    second = widths.only(["stages.1"])
    assert set(second.sizes) == {"stages.1.0.conv1", "stages.1.0.conv2", "stages.1.1.conv1"}
    small = second.keep(second.strongest(second.norms(), 0.9))
    assert 0.85 * widths.reference_macs < count_macs(small, widths.example_input) <= 0.9 * widths.reference_macs
    assert small.stages[0][0].conv1.out_channels == 4
    with pytest.raises(BenchError, match=r"'nowhere'.*stages\.1\.0\.conv1"):
        widths.only(["nowhere"])


def test_the_outputs_of_the_model_are_no_group(built: Built) -> None:
    _, widths = built
    assert "head" not in widths.sizes
    assert all(group.consumers and group.producers for group in widths.groups)
    assert len({group.name for group in widths.groups}) == len(widths.groups)


def test_the_full_cost_is_the_counters(built: Built) -> None:
    model, widths = built
    assert widths.macs({}) == widths.macs(widths.sizes) == count_macs(model, widths.example_input)
    assert widths.reference_macs == widths.macs({})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_the_predicted_cost_is_that_of_the_smaller_model_and_both_compute_the_same(built: Built, seed: int) -> None:
    model, widths = built
    indices = random_choice(widths, seed)
    small = widths.keep(indices)
    assert widths.macs({n: len(kept) for n, kept in indices.items()}) == count_macs(small, widths.example_input)
    x = inputs(widths)
    with torch.no_grad(), widths.gate(masks(widths, indices)):
        gated = model(x)
    with torch.no_grad():
        assert close(small(x), gated)


def test_the_gradient_of_the_cost_agrees_with_finite_differences(built: Built) -> None:
    _, widths = built
    generator = torch.Generator().manual_seed(1)
    real = [
        (size * (0.2 + 0.7 * torch.rand((), generator=generator, dtype=torch.float64))).requires_grad_()
        for size in widths.sizes.values()
    ]

    def cost(*sizes: Tensor) -> Tensor:
        return widths.macs(dict(zip(widths.sizes, sizes, strict=True)))

    gradient = torch.autograd.grad(cost(*real), real)
    for i, slope in enumerate(gradient):
        up, down = ([s.detach() + (h if j == i else 0) for j, s in enumerate(real)] for h in (1e-3, -1e-3))
        difference = (cost(*up) - cost(*down)) / 2e-3
        assert float(slope) > 0
        assert float(difference) == pytest.approx(float(slope), rel=1e-6)


def test_the_cost_of_real_sizes_is_exact_at_integers(built: Built) -> None:
    _, widths = built
    sizes = {name: max(1, size // 2) for name, size in widths.sizes.items()}
    real = widths.macs({name: torch.tensor(float(size)) for name, size in sizes.items()})
    assert float(real) == widths.macs(sizes)


def test_all_channels_kept_is_the_same_model(built: Built) -> None:
    model, widths = built
    same = widths.keep({name: torch.arange(size) for name, size in widths.sizes.items()})
    assert same is not model
    assert {n: t.shape for n, t in same.state_dict().items()} == {n: t.shape for n, t in model.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(same(inputs(widths)), model(inputs(widths)))


def test_widths_work_where_no_gradient_is_kept() -> None:
    with torch.no_grad():
        widths = Widths(mlp(), torch.zeros(1, 6))
        small = widths.keep({"0": torch.arange(4)})
        assert widths.macs({"0": 4}) == count_macs(small, torch.zeros(1, 6))


def test_removal_leaves_the_model_itself_alone(built: Built) -> None:
    model, widths = built
    before = copy.deepcopy(model.state_dict())
    small = widths.keep(random_choice(widths, 5))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert widths.macs({}) == count_macs(model, widths.example_input)


def test_the_first_channels_of_a_linear_layer_are_its_first_rows() -> None:
    model = mlp()
    small = Widths(model, torch.zeros(1, 6)).keep({"0": torch.tensor([4, 1, 9])})
    assert torch.equal(small[0].weight, model[0].weight[[1, 4, 9]])
    assert torch.equal(small[2].weight, model[2].weight[:, [1, 4, 9]])


def frozen(model: nn.Module) -> nn.Module:
    """Train mode, but for the statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eval()
    return model


def step(model: nn.Module, x: Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    targets = torch.arange(len(x)) % 2
    nn.functional.cross_entropy(model(x), targets).backward()
    optimizer.step()


def test_a_training_step_behind_gates_is_that_of_the_smaller_model(built: Built) -> None:
    original, _ = built
    model = copy.deepcopy(original)
    widths = Widths(model, built[1].example_input)
    indices = random_choice(widths, 11)
    small = frozen(widths.keep(indices))
    x = inputs(widths, 8)
    with widths.gate(masks(widths, indices)):
        step(frozen(model), x)
    step(small, x)
    model.eval()
    cut = dict(widths.keep(indices).named_parameters())
    moved = 0.0
    for name, parameter in small.named_parameters():
        assert torch.allclose(parameter, cut[name], rtol=1e-4, atol=1e-6), name
    for before, after in zip(original.parameters(), model.parameters(), strict=True):
        moved = max(moved, float((before - after).detach().abs().max()))
    assert moved > 1e-4


def test_the_smaller_model_exports_and_trains_on(built: Built) -> None:
    _, widths = built
    small = widths.keep(widths.strongest(widths.norms(), 0.4))
    x = inputs(widths)
    with torch.no_grad():
        assert torch.allclose(Predictor(export_onnx(small, widths.example_input))(x), small(x), rtol=1e-4, atol=1e-5)
    before = copy.deepcopy(small.state_dict())
    step(small.train(), x)
    assert any(not torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())
    again = Widths(small, widths.example_input, widths.reference_macs)
    assert again.macs(again.sizes) <= 0.4 * widths.reference_macs


@pytest.mark.parametrize("wrong", [[], [99], [0, -1]])
def test_channels_that_do_not_exist_are_refused(built: Built, wrong: list[int]) -> None:
    _, widths = built
    name, size = next(iter(widths.sizes.items()))
    with pytest.raises(BenchError, match=rf"{re.escape(name)}.*0 to {size - 1}.*{re.escape(str(sorted(wrong)))}"):
        widths.keep({name: torch.tensor(wrong, dtype=torch.long)})


def test_an_unknown_group_is_named(built: Built) -> None:
    _, widths = built
    known = next(iter(widths.sizes))
    for call in (
        lambda: widths.keep({"nowhere": torch.tensor([0])}),
        lambda: widths.macs({"nowhere": 1}),
        lambda: widths.gate({"nowhere": lambda f, c: f}).__enter__(),
        lambda: widths.largest({"nowhere": torch.ones(3)}, 0.5),
    ):
        with pytest.raises(BenchError, match=f"'nowhere'.*{re.escape(known)}"):
            call()
