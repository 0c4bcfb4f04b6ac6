import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods._width_noise import WidthNoise

SHAPES = [(8192, 8), (2048, 8, 4), (512, 8, 4, 4)]


def noise_at(
    centre: float, size: int = 8, window: float = 2.0, spread: float = 0.0, gaussian: bool = False
) -> WidthNoise:
    noise = WidthNoise({"g": size}, window, spread, gaussian)
    with torch.no_grad():
        noise.shares.fill_(centre / (size + (window - 1) / 2))
    return noise


def centre_of(noise: WidthNoise) -> float:
    return float(noise.shares.detach()) * (noise.sizes["g"] + (noise.window - 1) / 2)


def shares_of_noise(centre: float, size: int = 8, window: float = 2.0) -> list[float]:
    """lambda of each feature: 0 before the window, 1 behind it, linear within."""
    return [min(1.0, max(0.0, (i + 0.5 - centre) / window + 0.5)) for i in range(size)]


def through(noise: WidthNoise, features: Tensor, annealing: float = 0.0) -> Tensor:
    noise.draw(len(features), annealing)
    with torch.no_grad():
        return noise.gates()["g"](features, torch.arange(features.shape[1]))


def per_channel(x: Tensor) -> Tensor:
    return x.movedim(1, 0).flatten(1)


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("centre", "window"), [(4.0, 2.0), (4.3, 2.0), (3.7, 1.0), (5.0, 5.0)])
def test_noise_keeps_the_variance_and_takes_its_share_of_the_correlation(
    centre: float, window: float, shape: tuple[int, ...], gaussian: bool
) -> None:
    torch.manual_seed(1)
    scale = torch.linspace(0.5, 4, 8).view(1, 8, *[1] * (len(shape) - 2))
    features = scale * torch.randn(shape) + 3
    out = through(noise_at(centre, window=window, gaussian=gaussian), features)
    shares = torch.tensor([float(share) for share in shares_of_noise(centre, window=window)])
    clean, noisy = per_channel(features), per_channel(out)
    assert torch.equal(clean[shares == 0], noisy[shares == 0])
    assert not noisy[shares == 1].any()
    mixed = [i for i, share in enumerate(shares.tolist()) if 0 < share < 1]
    assert mixed
    for i in mixed:
        assert 0.9 <= float(noisy[i].var() / clean[i].var()) <= 1.1
        expected = 1 - min(0.98, max(0.02, float(shares[i])))
        assert float(torch.corrcoef(torch.stack([clean[i], noisy[i]]))[0, 1]) ** 2 == pytest.approx(expected, abs=0.03)


def test_differences_of_examples_have_no_mean_and_the_spectrum_of_the_features() -> None:
    torch.manual_seed(0)
    walk = torch.randn(4096, 2, 16).cumsum(2) + 10  # a strongly coloured axis
    noise = noise_at(1.5, size=2, window=1.0)  # half of the last feature is noise
    added = (through(noise, walk) - math.sqrt(0.5) * walk)[:, 1:]
    walk = walk[:, 1:]
    assert abs(float(added.mean())) < 0.3
    walk, added = walk[:, 0] - walk[:, 0].mean(0), added[:, 0]
    covariance = walk.T @ walk / 4096
    assert float((2 * added.T @ added / 4096 - covariance).abs().max() / covariance.max()) < 0.1


@pytest.mark.parametrize("examples", [3, 4, 8])
def test_in_small_batches_too_every_draw_makes_noise(examples: int) -> None:
    """Two equal shifts would cancel: a batch without any noise."""
    torch.manual_seed(0)
    noise = noise_at(2.0, size=4)
    features = torch.randn(examples, 4, 50)
    silent = 0
    for _ in range(100):
        added = through(noise, features)[:, 1] - math.sqrt(1 - shares_of_noise(2.0, 4)[1]) * features[:, 1]
        silent += float(added.abs().max()) < 1e-3
    assert silent == 0


@pytest.mark.parametrize("gaussian", [False, True])
def test_a_batch_of_one_or_two_has_noise_all_the_same(gaussian: bool) -> None:
    noise = noise_at(2.0, size=4, gaussian=gaussian)
    for examples in (1, 2):
        features = torch.randn(examples, 4, 50)
        added = through(noise, features)[:, 1] - math.sqrt(1 - shares_of_noise(2.0, 4)[1]) * features[:, 1]
        assert float(added.abs().max()) > 1e-3


def test_a_constant_feature_makes_no_noise_of_its_own() -> None:
    for gaussian in (False, True):
        out = through(noise_at(4.0, gaussian=gaussian), torch.ones(64, 8))
        assert bool(torch.isfinite(out).all())
        assert float(out.std(0).max()) < 1e-3


@pytest.mark.parametrize("window", [1.0, 2.0, 3.0])
def test_every_width_starts_whole_without_noise_and_can_shrink(window: float) -> None:
    sizes = {str(size): size for size in range(1, 200)}
    noise = WidthNoise(sizes, window, 0.0, gaussian=False)
    noise.draw(4, 0.0)
    gates = noise.gates()
    for name, size in sizes.items():
        features = torch.randn(4, size)
        with torch.no_grad():
            noisy = not torch.equal(gates[name](features, torch.arange(size)), features)
        assert not noisy, f"noise at the start, N = {size}"
    widths = noise.widths()
    assert [float(width.detach()) for width in widths.values()] == list(sizes.values())
    sum(widths.values()).backward()  # type: ignore[union-attr]
    assert noise.shares.grad is not None
    assert bool((noise.shares.grad > 0).all())


@settings(max_examples=60)
@given(st.integers(4, 64), st.floats(0.0, 1.0), st.sampled_from([1.0, 2.0, 4.0]))
def test_away_from_the_ends_the_effective_width_is_the_centre(size: int, where: float, window: float) -> None:
    centre = window / 2 + where * (size - window)
    width = float(noise_at(centre, size, window).widths()["g"].detach())
    assert width == pytest.approx(centre, abs=1e-4)
    assert width == pytest.approx(size - sum(shares_of_noise(centre, size, window)), abs=1e-4)


@pytest.mark.parametrize("centre", ["lowest", 1.0, 4.0, 4.5, 8.0, "highest"])
@pytest.mark.parametrize("annealing", [0.0, 1.0])
@pytest.mark.parametrize("gaussian", [False, True])
def test_the_shares_have_a_finite_gradient_everywhere(centre: float | str, annealing: float, gaussian: bool) -> None:
    torch.manual_seed(0)
    value = {"lowest": 1.0, "highest": 8.5}.get(str(centre), centre)
    noise = noise_at(float(value), spread=0.25, gaussian=gaussian)
    features = torch.randn(16, 8, 3, requires_grad=True)
    noise.draw(16, annealing)
    out = noise.gates()["g"](features, torch.arange(8))
    (out.square().sum() + noise.widths()["g"]).backward()
    gradient = noise.shares.grad
    assert gradient is not None
    assert math.isfinite(float(gradient))
    assert float(gradient) != 0
    assert features.grad is not None
    assert bool(torch.isfinite(features.grad).all())


@pytest.mark.parametrize(("size", "window", "lowest", "highest"), [(8, 2, 1, 8.5), (64, 2, 2, 64.5), (64, 1, 2, 64)])
def test_centres_are_projected_into_their_range(size: int, window: float, lowest: float, highest: float) -> None:
    for value, expected in [(-3.0, lowest), (0.0, lowest), (99.0 * size, highest), (size / 2, size / 2)]:
        noise = noise_at(value, size, float(window))
        noise.project()
        assert centre_of(noise) == pytest.approx(expected, rel=1e-5)
        assert noise.shares.requires_grad


def drawn_widths(noise: WidthNoise, examples: int, annealing: float) -> Tensor:
    """How many features of each example are alive and not mostly noise."""
    noise.draw(examples, annealing)
    with torch.no_grad():
        out = noise.gates()["g"](torch.ones(examples, noise.sizes["g"]), torch.arange(noise.sizes["g"]))
    return (out.square() > 0.5).sum(1).double()  # differences of ones are no noise


def test_centres_are_drawn_for_every_example_and_less_widely_later() -> None:
    torch.manual_seed(0)
    noise = noise_at(32.0, size=64, spread=0.1)
    deviations = []
    for annealing in (1.0, 0.5, 0.0):
        drawn = drawn_widths(noise, 4096, annealing)
        assert float(drawn.mean()) == pytest.approx(32, abs=0.5)
        deviations.append(float(drawn.std()))
    assert deviations == pytest.approx([6.4, 3.2, 0.0], abs=0.3)


def test_a_draw_spreads_by_no_more_than_half_the_width() -> None:
    torch.manual_seed(0)
    drawn = drawn_widths(noise_at(16.0, size=256, spread=0.25), 4096, 1.0)  # not 64, but 8
    assert 6 < float(drawn.std()) < 9


def test_a_flattened_map_reads_the_coefficients_of_its_channels() -> None:
    noise = noise_at(2.0, size=4, window=1.0)
    features = torch.randn(5, 12)
    noise.draw(5, 0.0)
    with torch.no_grad():
        out = noise.gates()["g"](features, torch.arange(4).repeat_interleave(3))
    assert torch.equal(out[:, :6], features[:, :6])
    assert torch.equal(out[:, 6:], torch.zeros(5, 6))


def test_gates_pass_features_on_before_the_first_draw() -> None:
    features = torch.randn(5, 8)
    assert torch.equal(noise_at(2.0).gates()["g"](features, torch.arange(8)), features)


def test_features_go_in_the_order_of_their_scores_the_lowest_first() -> None:
    noise = noise_at(3.0, size=6, window=1.0)
    noise.order({"g": torch.tensor([0.1, 5.0, 0.3, 4.0, 0.2, 3.0])})
    out = through(noise, torch.ones(4, 6))
    assert out.any(0).tolist() == [False, True, False, True, False, True]
    assert noise.live()["g"](torch.arange(6))[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert noise.gates()["g"](torch.ones(4, 6), torch.tensor([1, 1, 0, 0, 3, 5])).any(0).tolist() == [
        *(True, True, False, False, True, True)
    ]
