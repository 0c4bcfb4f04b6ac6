"""One network at several widths."""

from itertools import islice

import pytest
import torch
from torch import nn

from bench import Trainer
from bench.check import Probe
from bench.widths.cost import count_macs
from methods.slimmable import Slimmable


def begun() -> tuple[nn.Module, Trainer]:
    torch.manual_seed(0)
    task = Probe()
    model, plan = task.build_model(), task.presets["smoke"]
    dense_macs = count_macs(model, task.example_input())
    return model, Trainer(task, plan, steps=plan.total_steps, seed=0, dense_macs=dense_macs)


def test_each_width_is_the_beginning_of_the_wider_ones() -> None:
    found = {}
    for budget in (0.5, 0.25):
        model, trainer = begun()
        found[budget] = Slimmable(budget=budget, budgets="0.5 0.25").compress(model, trainer)
        assert trainer.steps_left == 0
        assert trainer.cost(found[budget]) == pytest.approx(budget, rel=0.1) and trainer.cost(found[budget]) <= budget
    wide, narrow = (dict(found[budget].named_parameters()) for budget in (0.5, 0.25))
    for name, weight in narrow.items():
        assert torch.equal(weight, wide[name][tuple(map(slice, weight.shape))]), name


def test_statistics_are_those_of_the_cut_network() -> None:
    model, trainer = begun()
    small = Slimmable(budget=0.25, batches=3).compress(model, trainer)
    seen = torch.cat([batch.inputs for batch in islice(trainer.batches(), 3)])
    conv, norm = small.stem[0], small.stem[1]  # type: ignore[index]
    with torch.no_grad():
        features = conv(seen)
    torch.testing.assert_close(norm.running_mean, features.mean((0, 2)))
    assert norm.momentum == nn.BatchNorm1d(1).momentum
