import math
from dataclasses import FrozenInstanceError, dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench import BenchError, Chain, Method, Plan, Trainer, tune
from bench.plugins.fields import configure
from bench.plugins.method import RATE, MethodSpec, Tunable, search_space
from bench.plugins.registry import load_method_spec
from tests.misbehaving import Honest
from tests.models import Points, mlp


@dataclass(frozen=True)
class Search(Honest):
    """In training."""

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    form: str = tune("soft", choices=["soft", "hard"])


@dataclass(frozen=True)
class Cut(Honest):
    """Post hoc."""

    stage = "post_hoc"
    control = True
    budget: float = tune(0.5, low=0.1, high=1.0)
    rounds: int = tune(1, low=1, high=4)
    seed: int = 3


@dataclass(frozen=True)
class Sparse(Honest):
    """Over weights."""

    stage = "post_hoc"
    promises = "mask"
    budget: float = tune(0.25, low=0.1, high=1.0)
    begin: float = tune(0.1, low=0.0, high=0.9)


@dataclass(frozen=True)
class Integer(Honest):
    """Terminal."""

    stage = "post_hoc"
    terminal = True


def method_spec(*classes: type[Method], **fixed: object) -> MethodSpec:
    name = "+".join(c.__name__.lower() for c in classes)
    return MethodSpec(name, name, classes, fixed)


# --- tune and a method's fields


def test_the_fields_of_a_method_are_its_search_space() -> None:
    assert search_space(Search) == {"budget": Tunable(1 / 16, 1.0, log=True), "form": Tunable(choices=("soft", "hard"))}
    assert list(search_space(Cut)) == ["budget", "rounds"]  # a plain field is not searched
    assert search_space(Integer) == {}
    assert (Search().budget, Search().form, Cut().seed) == (0.25, "soft", 3)


@pytest.mark.parametrize("arguments", [{}, {"low": 1}, {"high": 1}, {"low": 0, "high": 1, "choices": (1, 2)}])
def test_a_range_is_an_interval_or_choices(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="low and high, or choices"):
        tune(1, **arguments)


def test_a_range_may_begin_at_nothing() -> None:
    assert search_space(Sparse)["begin"].low == 0


@pytest.mark.parametrize("budget", [0, -0.25, 1.0001, 25, float("nan"), float("inf")])
def test_a_budget_lies_above_nothing_and_not_above_one(budget: float) -> None:
    with pytest.raises(BenchError, match=rf"Search: budget {budget!r} is outside \(0, 1\]"):
        Search(budget=budget)
    with pytest.raises(BenchError, match="outside"):
        method_spec(Search).build({"budget": budget})


def test_the_ends_of_the_range_of_budgets() -> None:
    assert Search(budget=1).promised_budget == 1
    assert Search(budget=1e-9).promised_budget == 1e-9


def test_methods_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Search().budget = 0.5  # type: ignore[misc]


def test_the_compute_that_is_asked_for() -> None:
    assert Cut(budget=0.3).promised_budget == 0.3
    assert Integer().promised_budget is None
    assert Chain(links=(Search(budget=0.3), Integer())).promised_budget == 0.3
    assert Chain(links=(Search(budget=0.3), Cut(budget=0.2))).promised_budget == 0.2
    assert Chain(links=(Integer(),)).promised_budget is None


def test_what_a_chain_promises_is_what_the_link_promises_that_sets_its_budget() -> None:
    assert Chain(links=(Search(), Sparse())).promises == "mask"
    assert Chain(links=(Sparse(), Cut(), Integer())).promises == "structure"


# --- chains


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ((Integer(), Cut()), "Integer returns a model in deployment format, so Cut cannot follow it; put Integer last"),
        ((Integer(), Integer()), "Integer cannot follow it"),
        ((Cut(), Search()), "Search compresses while a fresh model trains, so it cannot follow Cut; put Search first"),
        ((Search(), Search()), "cannot follow Search"),
        ((Search(), Integer(), Cut()), "put Integer last"),
        ((), "at least one method"),
    ],
)
def test_an_impossible_order_has_a_reason(links: tuple[Method, ...], reason: str) -> None:
    with pytest.raises(BenchError, match=reason):
        Chain(links=links)
    if links:
        with pytest.raises(BenchError, match=reason):
            method_spec(*(type(link) for link in links))


def test_a_chain_begins_where_its_first_link_begins() -> None:
    assert Chain(links=(Search(), Integer())).stage == "in_training"
    assert Chain(links=(Cut(), Integer())).stage == "post_hoc"


@pytest.mark.parametrize(
    ("links", "steps", "shares"),
    [
        ((Cut(),), 40, [40]),
        ((Search(),), 100, [100]),
        ((Integer(),), 40, [40]),  # nobody else trains
        ((Cut(), Integer()), 40, [40, 0]),
        ((Search(), Integer()), 100, [100, 0]),
        ((Cut(), Sparse()), 41, [20, 21]),
        ((Cut(), Sparse(), Integer()), 40, [20, 20, 0]),
        ((Search(), Cut()), 100, [60, 40]),  # the fine-tune steps
        ((Search(), Cut(), Integer()), 100, [60, 40, 0]),
        ((Search(), Cut(), Sparse()), 100, [60, 20, 20]),
        ((Search(), Cut(), Sparse(), Cut()), 100, [60, 13, 13, 14]),
        ((Cut(), Sparse()), 1, [0, 1]),
    ],
)
def test_the_links_share_the_steps(links: tuple[Method, ...], steps: int, shares: list[int]) -> None:
    plan = Plan(dense_steps=60, finetune_steps=40, batch_size=8, learning_rate=1e-3)
    trainer = SimpleNamespace(steps_left=steps, plan=plan)
    assert Chain(links=links)._shares(trainer) == shares
    assert sum(shares) == steps


def test_the_same_link_twice_gets_two_shares() -> None:
    cut = Cut()
    trainer = SimpleNamespace(steps_left=40, plan=Points.presets["quick"])
    assert Chain(links=(cut, cut))._shares(trainer) == [20, 20]


def test_the_links_run_in_order_and_spend_all_steps() -> None:
    calls: list[tuple[str, int]] = []

    @dataclass(frozen=True)
    class Noted(Cut):
        name: str = ""

        def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
            calls.append((self.name, trainer.steps_left))
            trainer.fit(model)
            return nn.Sequential(model)

    run = Trainer(Points(), Points.presets["quick"], steps=9, seed=0, dense_macs=384)
    result = Chain(links=(Noted(name="a"), Noted(name="b"))).compress(mlp(), run)
    assert calls == [("a", 4), ("b", 5)]
    assert run.steps_left == 0
    assert result(torch.zeros(2, 6)).shape == (2, 2)
    assert isinstance(result[0], nn.Sequential)  # type: ignore[index]


def test_what_a_link_pays_for_gradients_the_next_one_has_less() -> None:
    @dataclass(frozen=True)
    class Paying(Cut):
        def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
            run.charge()  # as the guard does, which knows only the whole trainer
            trainer.fit(model)
            return model

    run = Trainer(Points(), Points.presets["quick"], steps=9, seed=0, dense_macs=384)
    Chain(links=(Paying(), Paying())).compress(mlp(), run)
    assert (run.steps_left, run.steps_done) == (0, 9)


# --- method specs


def test_the_settings_of_a_later_link_carry_its_name() -> None:
    both = method_spec(Search, Cut, Integer)
    assert list(both.space()) == ["budget", "form", "cut.budget", "cut.rounds", RATE]
    assert both.defaults() == {"budget": 0.25, "form": "soft", "cut.budget": 0.5, "cut.rounds": 1, RATE: 1.0}
    chain = both.build({"form": "hard", "cut.budget": 0.1, "cut.seed": 8})
    assert isinstance(chain, Chain)
    assert chain.links == (Search(form="hard"), Cut(budget=0.1, seed=8), Integer())


def test_a_single_link_is_no_chain() -> None:
    assert method_spec(Cut).build({"rounds": 2}) == Cut(rounds=2)


def test_links_with_a_budget_approach_it_in_equal_ratios() -> None:
    steered = {"budget": 0.25, "form": "soft", "sparse.budget": 0.0625, "sparse.begin": 0.1, RATE: 1.0}
    assert method_spec(Search, Sparse).at_compute(0.0625) == steered
    three = method_spec(Search, Cut, Sparse).at_compute(0.125)
    assert [three[name] for name in ("budget", "cut.budget", "sparse.budget")] == pytest.approx([0.5, 0.25, 0.125])
    assert method_spec(Search, Sparse, budget=0.9).at_compute(0.0625)["sparse.budget"] == 0.0625


def test_links_before_one_that_promises_bits_start_from_what_8_bits_reach() -> None:
    chain = load_method_spec("magnitude_pruning+mixed_precision")
    asked = {share: chain.at_compute(share) for share in (0.5, 1 / 16, 1 / 64)}
    assert [own["budget"] for own in asked.values()] == [1.0, 1.0, 0.5]
    assert [own["mixed_precision.budget"] for own in asked.values()] == [0.5, 1 / 16, 1 / 64]
    assert chain.asked_of_macs(1 / 64) == [0.5]
    assert load_method_spec("mixed_precision").asked_of_macs(1 / 64) == []
    assert load_method_spec("magnitude_pruning").asked_of_macs(1 / 64) == [1 / 64]


def test_what_serves_a_front_is_told_the_budgets_of_its_link() -> None:
    assert load_method_spec("slimmable").serving((0.25, 0.0625)) == {"budgets": "0.25 0.0625"}
    assert load_method_spec("slimmable+magnitude_pruning").serving((0.25, 0.0625)) == {"budgets": "0.5 0.25"}
    assert load_method_spec("slimmable+magnitude_pruning:budget=0.5").serving((0.25, 0.0625)) == {"budgets": "0.5"}
    assert load_method_spec("magnitude_pruning").serving((0.25,)) == {}


def test_a_setting_that_steers_compute_is_known() -> None:
    assert method_spec(Search).reaches_compute
    assert method_spec(Sparse).reaches_compute
    assert not method_spec(Integer).reaches_compute
    assert not method_spec(Search, budget=0.5).reaches_compute


def test_everybodys_learning_rate_is_a_share_of_the_plans() -> None:
    plan = Plan(dense_steps=1, finetune_steps=1, batch_size=1, learning_rate=0.02)
    assert method_spec(Cut).tuned(plan, {"budget": 0.5}) == plan
    assert method_spec(Cut).tuned(plan, {RATE: 0.5}).learning_rate == 0.01
    assert method_spec(Cut, **{RATE: 3.0}).tuned(plan, {}).learning_rate == pytest.approx(0.06)
    assert method_spec(Cut).build({RATE: 0.5}) == Cut()
    for wrong in (0, -1, math.nan, math.inf, "abc"):
        with pytest.raises(BenchError, match=f"learning_rate_factor {wrong!r} is not a positive number"):
            method_spec(Cut, **{RATE: wrong})
        with pytest.raises(BenchError, match=f"learning_rate_factor {wrong!r} is not a positive number"):
            method_spec(Cut).tuned(plan, {RATE: wrong})


def test_fixed_settings_are_not_searched_and_hold() -> None:
    fixed = method_spec(Search, Cut, **{"form": "hard", "cut.rounds": 3})
    assert list(fixed.space()) == ["budget", "cut.budget", RATE]
    assert fixed.build({"budget": 0.1}).links == (Search(0.1, "hard"), Cut(rounds=3))  # type: ignore[attr-defined]


def test_a_method_spec_is_a_control_if_all_its_links_are() -> None:
    assert method_spec(Cut).control
    assert not method_spec(Cut, Integer).control
    assert method_spec(Cut).stage == "post_hoc"


@pytest.mark.parametrize(
    ("classes", "fixed", "message"),
    [
        ((Search,), {"budgte": 0.5}, r"Search has no setting 'budgte' \(did you mean 'budget'\?\)"),
        ((Search, Cut), {"cut.round": 2}, r"Cut has no setting 'round' \(did you mean 'rounds'\?\)"),
        ((Integer,), {"bits": 8}, "Integer has no setting 'bits'"),
        ((Search, Cut), {"cutt.rounds": 2}, "no setting 'cutt.rounds'"),
        ((Search,), {"search.budget": 0.5}, "no setting 'search.budget'"),
        ((Search,), {"budget": 2}, "outside"),
        ((Search,), {"form": "sotf"}, "sotf"),
        ((Search,), {"budget": "much"}, "much"),
    ],
)
def test_a_wrong_setting_is_said_before_anything_runs(
    classes: tuple[type[Method], ...], fixed: dict[str, object], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        method_spec(*classes, **fixed)


def test_configure_takes_what_the_dataclass_takes() -> None:
    assert configure(Cut, {"seed": 1}) == Cut(seed=1)
    with pytest.raises(BenchError, match="it has: budget, rounds, seed"):
        configure(Cut, {"speed": 1})


# --- from the command line's notation to a method spec


def test_a_method_spec_is_read_from_its_name() -> None:
    plain = load_method_spec("magnitude_pruning")
    assert (plain.name, plain.chain, plain.fixed) == ("magnitude_pruning", "magnitude_pruning", {})
    text = "magnitude_pruning+quantization:norm=1,quantization.calibration_batches=2"
    read = load_method_spec(text)
    assert (read.name, read.chain) == (text, "magnitude_pruning+quantization")
    assert read.fixed == {"norm": 1, "quantization.calibration_batches": 2}
    assert "norm" not in read.space()
    chain = read.build({"budget": 0.5})
    assert [link.promised_budget for link in chain.links] == [0.5, None]  # type: ignore[attr-defined]
    assert chain.links[1].calibration_batches == 2  # type: ignore[attr-defined]


def test_words_and_numbers_are_read_as_such() -> None:
    assert load_method_spec("feature_noise:form=literal,budget=0.125").fixed == {"form": "literal", "budget": 0.125}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("magnitude_prunning", r"no method is called 'magnitude_prunning' \(did you mean 'magnitude_pruning'\?\)"),
        ("dense+nothing", "no method is called 'nothing'"),
        ("magnitude_pruning:norm", "'norm' is not a setting; expected name=value"),
        ("magnitude_pruning:nrom=1", r"no setting 'nrom' \(did you mean 'norm'\?\)"),
        ("magnitude_pruning:budget=1.5", "budget 1.5 is outside"),
        ("quantization+magnitude_pruning", "put Quantization last"),
        ("magnitude_pruning+feature_noise", "put FeatureNoise first"),
        ("feature_noise:form=litteral", "litteral"),
    ],
)
def test_a_mistyped_method_spec_is_one_clear_message(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        load_method_spec(text)
