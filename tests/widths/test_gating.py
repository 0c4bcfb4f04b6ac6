"""Gates where features are consumed."""

import pytest
import torch
from torch import Tensor, nn

from bench import Widths
from tests.architectures import Encoder, Transformer
from tests.models import Branches, randomise_norms
from tests.widths.test_widths import close, inputs


def test_a_gate_sees_each_channel_where_it_is_consumed() -> None:
    widths = Widths(randomise_norms(Branches()), torch.zeros(1, 2, 8, 6))
    seen: list[tuple[tuple[int, ...], list[int]]] = []

    def gate(features: Tensor, channels: Tensor) -> Tensor:
        seen.append((tuple(features.shape), channels.tolist()))
        assert float(features.min()) >= 0  # behind norm and activation
        return features

    with torch.no_grad(), widths.gate({"right": gate, "mix": gate}):
        widths.model(inputs(widths))
    assert seen == [((3, 7, 8, 6), list(range(7))), ((3, 72), [i // 12 for i in range(72)])]


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def test_gates_are_gone_after_their_context() -> None:
    model = randomise_norms(Branches())
    widths = Widths(model, torch.zeros(1, 2, 8, 6))
    x = inputs(widths)
    with torch.no_grad():
        before = model(x)
        with widths.gate({name: lambda features, channels: features * 0 for name in widths.sizes}):
            assert hooks(model) > 0
            assert not torch.equal(model(x), before)
        assert hooks(model) == 0
        assert torch.equal(model(x), before)
        with pytest.raises(ZeroDivisionError), widths.gate({n: lambda f, c: 1 / 0 for n in widths.sizes}):
            model(x)
        assert hooks(model) == 0
        assert torch.equal(model(x), before)


def test_a_norm_whose_channels_are_all_dead_says_something_finite() -> None:
    model = Transformer().train()
    widths = Widths(model, torch.zeros(1, 10, 20))
    closed = torch.zeros(12, requires_grad=True)

    def gate(features: Tensor, channels: Tensor) -> Tensor:
        return features * closed[channels].view(1, -1, *[1] * (features.dim() - 2))

    with widths.gate({"project": gate}, {"project": lambda channels: closed[channels][None]}):
        outputs = model(torch.randn(2, 10, 20))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(p.grad.isfinite().all() for p in (closed, *model.parameters()) if p.grad is not None)


def test_the_examples_lie_where_they_lie() -> None:
    """Coefficients of one example must not reach another, whichever axis the batch is."""
    torch.manual_seed(0)
    model = Encoder(norm_first=True, batch_first=False).eval()
    widths = Widths(model, torch.zeros(1, 10, 20))
    x = torch.randn(3, 10, 20)
    alive = (torch.rand(3, 12) > 0.5).float()

    def gate(features: Tensor, channels: Tensor) -> Tensor:
        return features * alive[:, channels].view(3, -1, *[1] * (features.dim() - 2))

    with torch.no_grad():
        with widths.gate({"project": gate}, {"project": lambda channels: alive[:, channels]}):
            together = model(x)
        for i in range(3):
            with widths.mask({"project": alive[i].nonzero().flatten()}):
                assert close(together[i : i + 1], model(x[i : i + 1]))
