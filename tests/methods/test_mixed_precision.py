"""Bits for each layer: the grids in the file, the choice against all others, what is delivered, what cannot be."""

import itertools

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from bench import BenchError, BudgetError, Chain, OnnxModel, Trainer, count_macs
from bench.check import check_method
from bench.export.costs import file_costs, node_macs
from bench.export.model import Predictor, export_onnx
from bench.plugins.registry import load_method_spec
from methods._bits import Operands, feature_grid, weight_grid
from methods._knapsack import best_choices
from methods._sensitivity import Choices, added_losses
from methods.magnitude_pruning import MagnitudePruning
from methods.mixed_precision import MixedPrecision
from tests.methods.test_methods_on_architectures import begun
from tests.methods.test_quantization import MODELS, batches
from tests.models import Points


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_no_grid_of_a_weight_is_closer_than_the_one_that_ends_at_its_largest(bits: int) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    integers, steps = weight_grid(values, (0,), bits)
    top = 2 ** (bits - 1) - 1
    assert integers.shape == values.shape and steps.shape == (6, 1, 1) and np.abs(integers).max() <= top
    largest = np.abs(values).max((1, 2), keepdims=True) / top
    plain = np.clip(np.rint(values / largest), -top, top) * largest
    errors = [np.square(grid - values).sum((1, 2)) for grid in (integers * steps, plain)]
    assert (errors[0] <= errors[1] * (1 + 1e-6)).all()
    assert not weight_grid(np.zeros((2, 3), np.float32), (0,), bits)[0].any()


def test_zero_is_on_the_grid_of_features() -> None:
    values = np.linspace(-1, 3, 101)
    for bits in (2, 4, 8):
        step, zero = feature_grid(values, bits)
        assert 0 < zero < 2**bits and 0.3 * 4 <= step * (2**bits - 1) <= 4.001
    assert feature_grid(np.abs(values), 4)[1] == 0
    assert np.isfinite(feature_grid(np.zeros(5), 4)[0])


def on_grids(name: str, bits: int) -> tuple[OnnxModel, OnnxModel, int]:
    """A model in floats and with all operands in so many bits, and the number of its inputs' features."""
    torch.manual_seed(0)
    build, features = MODELS[name]
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # equal ones, as of layers before training, would be stored once
            parameter.add_(0.01 * torch.randn(parameter.shape))
    exported = export_onnx(model, torch.zeros(1, features, 30))
    operands = Operands(exported, node_macs(exported, (1, features, 30)), batches(features))
    return exported, operands.file({o: bits for both in operands.of.values() for o in both}), features


@pytest.mark.parametrize("name", MODELS)
def test_the_file_says_how_many_bits_each_operand_has(name: str) -> None:
    exported, rounded, features = on_grids(name, 6)
    shape = (1, features, 40)
    dense, costs = file_costs(exported, shape), file_costs(rounded, shape)
    states = sum(sum(more) for _, *more in node_macs(exported, shape).values())  # which are never integers
    assert (costs.macs, costs.params) == (dense.macs, dense.params)
    assert costs.bops == (dense.macs - states) * 36 + states * 32 * 6
    assert costs.simulated and not dense.simulated
    x = torch.randn(3, features, 37, generator=torch.Generator().manual_seed(2))
    expected, found = Predictor(exported)(x), Predictor(rounded)(x)
    assert 1e-4 < float((found - expected).norm() / expected.norm()) < 0.25


def test_operands_lie_on_grids_of_so_many_numbers() -> None:
    _, rounded, features = on_grids("encoder", 3)
    loaded = onnx.load_from_string(rounded.data)
    names = [node.output[0] for node in loaded.graph.node if node.output[0].endswith("_rounded")]
    loaded.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = OnnxModel(loaded.SerializeToString()).session()
    x = 10 * torch.randn(2, features, 30, generator=torch.Generator().manual_seed(2)).numpy()  # beyond what was seen
    weights = {node.output[0] for node in loaded.graph.node if node.op_type == "Mul"}
    for name, values in zip(names, session.run(names, {"input": x}), strict=True):
        columns = values.reshape(-1, values.shape[-1]).T if name in weights else [values.ravel()]
        assert all(len(np.unique(column)) <= 8 for column in columns)
    assert len(names) == 2 * sum(node.op_type in ("MatMul", "Gemm") for node in loaded.graph.node)


def test_bits_are_read_from_the_file_and_not_believed() -> None:
    """Wider bounds are more bits, whatever a method says, and without bounds they are as many as are stored."""
    _, rounded, features = on_grids("convolutions", 4)
    loaded, shape = onnx.load_from_string(rounded.data), (1, features, 30)
    costs = file_costs(rounded, shape)
    assert costs.bops == 16 * costs.macs
    for tensor in loaded.graph.initializer:
        if tensor.name.endswith("_high") and tensor.data_type == onnx.TensorProto.UINT8:
            tensor.CopyFrom(numpy_helper.from_array(np.uint8(16), tensor.name))
    assert file_costs(OnnxModel(loaded.SerializeToString()), shape).bops == 20 * costs.macs
    for node in loaded.graph.node:
        if node.op_type == "Clip":
            node.op_type = "Identity"
            del node.input[1:]
    free = file_costs(OnnxModel(loaded.SerializeToString()), shape)
    assert (free.bops, free.simulated) == (64 * costs.macs, False)


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    draw = np.random.default_rng(seed)
    costs = [sorted(map(int, draw.integers(1, 100, 5))) for _ in range(4)]
    losses = [sorted(draw.random(5), reverse=True) for _ in range(4)]
    every = [
        (sum(c[p] for c, p in zip(costs, ways, strict=True)), sum(own[p] for own, p in zip(losses, ways, strict=True)))
        for ways in itertools.product(range(5), repeat=4)
    ]
    for limit in (120, 180, 250):
        for least in (0, 0.9 * limit):
            places = best_choices(costs, losses, limit, least)
            allowed = [lost for cost, lost in every if least <= cost <= limit]
            if allowed:
                cost, lost = (sum(own[p] for own, p in zip(each, places, strict=True)) for each in (costs, losses))
                assert lost == pytest.approx(min(allowed), abs=1e-6) and least <= cost <= limit
    assert best_choices(costs, losses, 1.0) == [0, 0, 0, 0]


def test_fewer_bits_never_seem_to_help() -> None:
    torch.manual_seed(0)
    exported = export_onnx(MODELS["convolutions"][0]().eval(), torch.zeros(1, 4, 30))
    operands = Operands(exported, node_macs(exported, (1, 4, 30)), batches(4))
    said = iter([1.0, *([0.5, 1.2, 1.1] * 4)])
    added = added_losses(operands, [8, 4, 2], nn.Module(), lambda model: next(said))
    assert [added[operand, bits] for operand, bits in added] == pytest.approx([0.0, 0.2, 0.2] * 4)


def test_a_loss_may_read_what_the_file_has_not() -> None:
    """Such as the class centres of a margin loss, which are parameters of the model that no output needs."""
    model = MODELS["convolutions"][0]().eval()
    model.centres = nn.Parameter(torch.zeros(3))
    exported = export_onnx(model, torch.zeros(1, 4, 30))
    read: list[nn.Parameter] = []

    def loss(own: nn.Module) -> float:
        read.append(own.get_parameter("centres"))
        return 0.0

    added_losses(Operands(exported, node_macs(exported, (1, 4, 30)), batches(4)), [8], model, loss)
    assert read and all(own is model.centres for own in read)


def test_the_most_sensitive_operand_gets_the_most_bits() -> None:
    torch.manual_seed(0)
    exported = export_onnx(MODELS["convolutions"][0]().eval(), torch.zeros(1, 4, 30))
    macs = node_macs(exported, (1, 4, 30))
    operands = Operands(exported, macs, batches(4))
    known = [o for both in operands.of.values() for o in both]
    added = {(o, bits): (8 - bits) * (10 if o is known[2] else 1) for o in known for bits in (8, 4, 2)}
    chosen = Choices(macs, [8, 4, 2]).least_added(operands, added, 16 * sum(map(sum, macs.values())))
    assert chosen[known[2]] == 8 and min(chosen.values()) < 8


@pytest.mark.parametrize("architecture", ["gru", "grouped"])
def test_it_delivers_what_was_asked_for(architecture: str) -> None:
    task, model, trainer, dense_macs = begun(architecture)
    budget = 0.1 if architecture == "gru" else 0.035
    exported = MixedPrecision(budget=budget, calibration_batches=2, sensitivity_batches=1).compress(model, trainer)
    costs = file_costs(exported, tuple(task.example_input().shape))
    assert costs.macs == dense_macs and trainer.steps_left == 0
    assert 0.95 * budget <= costs.promised("bits") / dense_macs <= budget
    assert costs.simulated and "simulated" in trainer.notes[0]


def trained() -> tuple[nn.Module, Trainer]:
    torch.manual_seed(0)
    task = Points(batch_size=16)
    model = task.build_model()
    macs = count_macs(model, task.example_input())
    return model, Trainer(task, task.presets["quick"], steps=20, seed=0, dense_macs=macs)


def test_behind_structured_pruning_the_budget_is_of_both() -> None:
    model, trainer = trained()
    chain = Chain(links=(MagnitudePruning(budget=0.5), MixedPrecision(budget=0.02)))
    assert (chain.promises, chain.promised_budget) == ("bits", 0.02)
    costs = file_costs(chain.compress(model, trainer), (1, 6))  # type: ignore[arg-type]
    assert costs.macs <= 0.5 * trainer.dense_macs
    assert 0.019 <= costs.promised("bits") / trainer.dense_macs <= 0.02


def test_one_number_of_bits_is_that_of_all_layers() -> None:
    model, trainer = trained()
    costs = file_costs(MixedPrecision(budget=0.04, bits=6).compress(model, trainer), (1, 6))  # type: ignore[arg-type]
    assert costs.bops == 36 * costs.macs


@pytest.mark.parametrize("bits", ["5", "8 7", "", 16, "eight"])
def test_other_bits_are_refused(bits: str) -> None:
    with pytest.raises(BenchError, match=rf"MixedPrecision: bits '?{bits}'? are not some of 8 6 4 3 2"):
        MixedPrecision(bits=bits)


def test_a_budget_out_of_reach_names_the_smallest() -> None:
    model, trainer = trained()
    with pytest.raises(BudgetError, match=r"budget 0.01 .* with 8 6 bits: the smallest that it can reach is 0\.03516"):
        MixedPrecision(budget=0.01, bits="8 6").compress(model, trainer)


def test_it_keeps_the_contract() -> None:
    lines = [*check_method(load_method_spec("mixed_precision:budget=0.03"))]
    assert any("same model for the same seed" in line for line in lines)
    assert any("of the dense MACs" in line and "0.029 bit operations" in line for line in lines)
