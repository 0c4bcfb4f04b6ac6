"""The output of feature noise, and its gradients, against the equations written out for every feature."""

import math

import pytest
import torch
from torch import Tensor

from methods._width_noise import WidthNoise
from methods._windowed import Windowed
from tests.methods.test_width_noise import noise_at


def written_out(noise: WidthNoise, name: str, features: Tensor, centres: Tensor, shifts: list[int]) -> Tensor:
    """The output for features (B, N, ...) under centres (B, 1)."""
    size = noise.sizes[name]
    share = ((torch.arange(size) + 0.5 - centres) / noise.window + 0.5).clamp(0, 1)
    inside = share.clamp(0.02, 0.98)
    feature = torch.where(share <= 0, 1.0, (1 - inside).sqrt()) * (share < 1)
    part = torch.where(share <= 0, 0.0, inside.sqrt()) * (share < 1)
    shape = (*share.shape, *[1] * (features.dim() - 2))
    difference = (features.roll(shifts[0], 0) - features.roll(shifts[1], 0)) / math.sqrt(2)
    return feature.view(shape) * features + part.view(shape) * difference


def same_draw(noise: WidthNoise, examples: int, annealing: float) -> tuple[Tensor, list[int]]:
    """Centres (groups, B) and shifts that the noise draws next; the random state is left where it was."""
    state = torch.get_rng_state()
    shifts = (torch.randperm(examples - 1)[:2] + 1).tolist()
    normal = torch.randn(len(noise.sizes), examples)
    torch.set_rng_state(state)
    sizes = torch.tensor(list(noise.sizes.values()))
    widths = torch.stack(list(noise.widths().values())).detach()
    spread = torch.minimum(annealing * noise.spread * sizes, widths / 2)
    highest = sizes + (noise.window - 1) / 2
    centres = (noise.shares * highest)[:, None] + spread[:, None] * normal
    return torch.minimum(torch.maximum(centres, (sizes / 32).clamp(min=1)[:, None]), highest[:, None]), shifts


@pytest.mark.parametrize("window", [1.0, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("annealing", [0.0, 1.0])
@pytest.mark.parametrize("tail", [(), (5,), (3, 4)])
def test_output_and_gradients_are_those_of_the_equations(
    window: float, annealing: float, tail: tuple[int, ...]
) -> None:
    torch.manual_seed(2)
    noise = WidthNoise({"one": 1, "two": 2, "many": 40}, window, 0.25, gaussian=False)
    with torch.no_grad():
        noise.shares.copy_(torch.tensor([0.9, 0.8, 0.63]))
    centres, shifts = same_draw(noise, 7, annealing)
    noise.draw(7, annealing)
    for row, (name, size) in enumerate(noise.sizes.items()):
        features = torch.randn(7, size, *tail, requires_grad=True)
        weights = torch.randn(7, size, *tail)
        out = noise.gates()[name](features, torch.arange(size))
        expected = written_out(noise, name, features, centres[row][:, None], shifts)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
        asked = (features, noise.shares)
        got = torch.autograd.grad((out * weights).sum(), asked, retain_graph=True)
        wanted = torch.autograd.grad((expected * weights).sum(), asked, retain_graph=True)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given_noise", [False, True])
def test_the_few_passes_have_the_right_gradient(given_noise: bool) -> None:
    torch.manual_seed(0)
    x, own = torch.randn(6, 3, dtype=torch.float64), torch.tensor([1, 4])
    keep = torch.ones(6, 1, dtype=torch.float64).index_fill(0, torch.tensor([1, 2, 4]), 0.0)
    feature, noise, other = (torch.randn(2, n, dtype=torch.float64) for n in (1, 1, 3))
    places = torch.stack([own, torch.tensor([3, 0]), torch.tensor([4, 1])])  # rows feed one another
    inputs = [t.requires_grad_() for t in (x, feature, noise, other)]

    def function(x: Tensor, feature: Tensor, noise: Tensor, other: Tensor) -> Tensor:
        return Windowed.apply(x, keep, feature, noise, places, other if given_noise else None)

    assert torch.autograd.gradcheck(function, inputs)


def test_the_order_of_axes_in_memory_does_not_matter() -> None:
    torch.manual_seed(0)
    noise = noise_at(4.3, spread=0.25)
    noise.draw(6, 1.0)
    gate, features = noise.gates()["g"], torch.randn(6, 8, 5)
    weights = torch.randn(6, 8, 5)
    gradients = []
    for layout in (features, features.permute(2, 0, 1).contiguous().permute(1, 2, 0)):
        leaf = layout.detach().requires_grad_()
        out = gate(leaf, torch.arange(8))
        (out * weights).sum().backward(retain_graph=True)
        gradients.append((out.detach(), leaf.grad))
    assert not layout.is_contiguous()
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


@pytest.mark.parametrize("channels", [[2, 0, 3, 1], [0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3]])
def test_channels_may_come_in_any_order_and_several_times(channels: list[int]) -> None:
    torch.manual_seed(0)
    noise = noise_at(2.2, size=4, spread=0.25)
    noise.draw(9, 1.0)
    gate, order = noise.gates()["g"], torch.tensor(channels)
    features = torch.randn(9, 4, 3)
    out = gate(features, torch.arange(4))
    torch.testing.assert_close(gate(features[:, order], order), out[:, order], rtol=0, atol=0)


def test_layers_that_read_the_same_features_see_the_same_noise() -> None:
    noise = WidthNoise({"g": 6}, 1.0, 0.0, gaussian=True)
    with torch.no_grad():
        noise.shares.fill_(0.58)  # between two features, so that one of them is noisy
    noise.draw(8, annealing=0.0)
    features, gate = torch.randn(8, 6, 5), noise.gates()["g"]
    first = gate(features, torch.arange(6))
    assert torch.equal(first, gate(features, torch.arange(6)))
    noise.draw(8, annealing=0.0)
    assert not torch.equal(first, gate(features, torch.arange(6)))


def test_several_linear_layers_read_the_same_noise_through_views_of_their_own() -> None:
    torch.manual_seed(0)
    noise = noise_at(3.5, size=6, window=1.0, gaussian=True)
    noise.draw(8, annealing=0.0)
    features, gate = torch.randn(8, 5, 6), noise.gates()["g"]
    first = gate(features.movedim(-1, 1), torch.arange(6))
    assert torch.equal(first, gate(features.movedim(-1, 1), torch.arange(6)))
    features.mul_(2)  # no longer what was seen
    assert not torch.equal(first, gate(features.movedim(-1, 1), torch.arange(6)))


def test_a_feature_is_alive_until_it_is_all_noise() -> None:
    torch.manual_seed(0)
    noise = noise_at(4.3, spread=0.25)
    live, channels = noise.live()["g"], torch.tensor([0, 3, 4, 5, 7, 7])
    assert torch.equal(live(channels), torch.ones(1, 6))
    centres, _ = same_draw(noise, 50, 1.0)
    noise.draw(50, 1.0)
    share = ((torch.arange(8) + 0.5 - centres[0][:, None].detach()) / 2 + 0.5).clamp(0, 1)
    assert torch.equal(live(channels), (share < 1).float()[:, channels])
