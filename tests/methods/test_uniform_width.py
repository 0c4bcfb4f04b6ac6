"""A narrower network from scratch."""

import pytest
import torch
from torch import nn

from bench import Trainer
from bench.widths.cost import count_macs
from bench.widths.flexible import FlexibleAttention
from methods.uniform_width import UniformWidth
from tests.architectures import Transformer
from tests.methods.test_methods_on_architectures import Noise


@pytest.mark.parametrize("budget", [1.0, 0.5])
def test_the_narrow_network_begins_as_a_fresh_one_does(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the whole width from the very same numbers."""
    monkeypatch.setattr(Trainer, "fit", lambda *_: None)
    task = Noise(architecture="transformer", batch_size=4)
    dense = task.build_model()
    trainer = Trainer(task, task.presets["smoke"], steps=6, seed=0, dense_macs=count_macs(dense, task.example_input()))
    torch.manual_seed(0)
    narrow = UniformWidth(budget=budget).compress(dense, trainer)
    assert isinstance(narrow, nn.Module)
    attention = [m for m in narrow.modules() if isinstance(m, FlexibleAttention)]
    assert len(attention) == 2 and not any(m.out_proj.bias.any() for m in attention)
    torch.manual_seed(0)
    fresh = Transformer().state_dict()
    same = [torch.equal(values, fresh[name]) for name, values in narrow.state_dict().items()]
    assert all(same) == (budget == 1)
