"""What widths cost: fitted to what models cost that were made and measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import Widths
from bench.export.model import export_onnx
from bench.plugins.registry import load_task
from bench.trial import pricing
from bench.trial.pricing import fitted, price_of
from bench.trial.setting import Setting
from bench.trial.trainer import Trainer
from bench.widths.cost import Price, ProductCost

LATENCY = Setting("synthetic", "smoke", cost="latency")
SIZES = {"a": 40, "b": 64}
TERMS = [
    ProductCost("", 1, {"": 1}, {"": 1}),
    *(ProductCost("", 1, {"": 1}, {name: 1}) for name in SIZES),
    ProductCost("w", 1, {"a": 2}, {"b": 1}),
]


def drawn(count: int) -> list[dict[str, int]]:
    rng = np.random.default_rng(0)
    return [{name: int(rng.integers(1, size + 1)) for name, size in SIZES.items()} for _ in range(count)]


@pytest.mark.parametrize("block", [1, 8, 16])
def test_a_fit_finds_the_price_that_made_the_costs(block: int) -> None:
    parts = TERMS[0]._replace(unit=0.1), TERMS[1]._replace(unit=0.002), TERMS[3]._replace(unit=1e-4, block=block)
    true, sizes = Price("latency", parts, 1.0), drawn(60)
    found = fitted(LATENCY, TERMS, sizes, np.array([true.share({"": 1, **own}) for own in sizes]))
    assert found.off < 1e-9 and {term.block for term in found.terms if term.weight} == {block}
    for own in drawn(80)[60:]:
        assert found.share({"": 1, **own}) == pytest.approx(true.share({"": 1, **own}), rel=1e-6)


def test_how_far_a_price_is_off_is_told_by_models_that_it_was_not_fitted_to() -> None:
    sizes = drawn(60)
    noise = np.random.default_rng(1).normal(1, 0.03, 60)
    costs = np.array([0.1 + 1e-4 * 2 * own["a"] * own["b"] for own in sizes]) * noise
    assert 0.01 < fitted(LATENCY, TERMS, sizes, costs).off < 0.05


def test_gradients_pass_between_the_steps_of_a_price() -> None:
    price = Price("latency", (ProductCost("w", 1, {"a": 1}, {"b": 1}, block=16),), 640.0)
    assert price.share({"": 1, "a": 10, "b": 17}) == 10 * 32 / 640
    b = torch.tensor(17.0, requires_grad=True)
    price.share({"": 1, "a": 10, "b": b}).backward()
    assert b.grad == pytest.approx(10 / 640)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting("synthetic", "smoke", cache=str(tmp_path_factory.mktemp("cache")), cost="bytes")


def test_the_bytes_of_a_file_follow_from_its_widths(setting: Setting) -> None:
    price, task = price_of(setting), setting.build_task()
    assert price is not None and price.off < 1e-3
    dense = task.build_model()
    widths = Widths(dense, task.example_input(), price=price)
    whole = len(export_onnx(dense, task.example_input()).data)
    for budget in (0.75, 0.5):
        small = widths.keep(widths.strongest(widths.norms(), budget))
        assert 0.95 * budget <= len(export_onnx(small, task.example_input()).data) / whole <= budget


def test_a_price_is_measured_once_and_belongs_to_the_processor(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(pricing, "_measured", lambda *given: measured.append(given[1]) or Price("bytes", (), 1.0))
    price_of(setting)
    assert not measured
    monkeypatch.setattr(pricing, "processor", lambda: "another one")
    price_of(setting)
    price_of(setting)
    assert measured == [""]


def test_a_price_is_measured_anew_when_the_method_that_makes_the_files_has_changed(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price of an integer file stayed when the method began to leave other layers in floats."""
    measured: list[str] = []
    monkeypatch.setattr(pricing, "_measured", lambda *given: measured.append(given[1]) or Price("bytes", (), 1.0))
    for code in ("before", "after", "after"):
        monkeypatch.setattr(pricing, "source_digest", lambda classes, code=code: code)
        price_of(setting, "weight_only")
        price_of(setting)
    assert measured == ["weight_only", "weight_only"]


def test_macs_have_no_price(tmp_path: Path) -> None:
    assert price_of(Setting("synthetic", "smoke", cache=str(tmp_path))) is None


def test_a_trainer_asks_the_price(setting: Setting) -> None:
    task = load_task("synthetic").at("smoke", cache=Path(setting.cache))
    price = price_of(setting)
    assert price is not None
    model = task.build_model()
    trainer = Trainer(task, setting.plan, steps=0, seed=0, dense_macs=1, price=replace(price, dense=2 * price.dense))
    assert trainer.cost(model) == pytest.approx(0.5, rel=1e-3) == trainer.widths(model).cost()


def test_what_a_fit_is_off_is_made_up_for_by_measuring(setting: Setting) -> None:
    """Even a price that is two thirds of the true one."""
    price, task = pricing.measured_price(setting, ""), setting.build_task()
    assert price is not None and price.measured is not None
    widths = Widths(task.build_model(), task.example_input(), price=replace(price, dense=1.5 * price.dense))
    small = widths.keep(widths.strongest(widths.norms(), 0.6))
    assert 0.95 * 0.6 <= price.measured(small) <= 0.6


def test_the_file_of_a_chain_is_priced_as_its_last_method_makes_it(setting: Setting) -> None:
    task, integers, floats = setting.build_task(), *(pricing.measured_price(setting, n) for n in ("quantization", ""))
    assert integers is not None and integers.measured is not None and floats is not None
    widths = Widths(task.build_model(), task.example_input(), price=integers)
    small = widths.keep(widths.strongest(widths.norms(), 0.8))
    sizes = Widths(small, task.example_input()).sizes
    assert widths.cost(sizes) == pytest.approx(integers.measured(small), rel=0.01)
    assert widths.cost(sizes) != pytest.approx(floats.share({"": 1, **sizes}), rel=0.02)
