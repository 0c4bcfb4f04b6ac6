from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from bench import Method, Trainer, tune
from bench.plugins.method import DEFAULT_SHARE, DENSE_SHARE, RATE, MethodSpec, Tunable
from bench.plugins.registry import load_method_spec
from bench.runner.study import BATCH, DRAWN_POWER, MethodStudy, Proposal, _value_at

BUDGETS = (0.5, 0.25, 0.125, 0.0625)


@dataclass(frozen=True)
class Tuned(Method):
    """Three kinds of range."""

    stage = "post_hoc"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    rounds: int = tune(2, low=1, high=8)
    norm: str = tune("l2", choices=("l1", "l2"))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        return model


@dataclass(frozen=True)
class Fixed(Method):
    """Nothing to tune."""

    stage = "post_hoc"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        return model


@dataclass(frozen=True)
class Rate(Method):
    """Something to tune, but no compute target."""

    stage = "post_hoc"
    rate: float = tune(0.1, low=0.0, high=1.0)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        return model


def method_spec(method: type[Method] = Tuned, **fixed: object) -> MethodSpec:
    general = {RATE: 1.0, DENSE_SHARE: DEFAULT_SHARE}  # the settings that every post-hoc method has
    return MethodSpec("tuned", "tuned", (method,), {**general, **fixed})


def study(folder: Path, trials: int = 18, budgets: tuple[float, ...] = BUDGETS) -> MethodStudy:
    return MethodStudy(
        method_spec(),
        directions=("minimize", "minimize"),
        budgets=budgets,
        trials=trials,
        journal=folder / "studies" / "tuned.journal",
    )


def outcome(settings: Mapping[str, Any]) -> tuple[float, float] | None:
    if settings["rounds"] == 8:
        return None  # this one fails
    return 10 / settings["budget"] ** 0.3 + abs(settings["rounds"] - 3) + (settings["norm"] == "l1"), settings["budget"]


Order = Callable[[list[Proposal]], list[Proposal]]


def run(search: MethodStudy, order: Order = list, stop_after: int | None = None) -> list[Proposal]:
    """Run a study, or the first few of its trials; the proposals in the order of their numbers."""
    told: list[Proposal] = []
    while not search.finished:
        batch = search.proposals()
        assert batch
        assert search.proposals() == []  # not before this batch is told
        for proposal in order(batch):
            if len(told) == stop_after:
                return told
            search.tell(proposal.number, outcome(proposal.settings))
            told.append(proposal)
    return sorted(told, key=lambda proposal: proposal.number)


def settings_of(proposals: list[Proposal]) -> list[dict[str, Any]]:
    return [dict(proposal.settings) for proposal in proposals]


def test_the_budgets_come_first_with_the_defaults_then_the_sampler(tmp_path: Path) -> None:
    proposals = run(study(tmp_path))
    assert [p.number for p in proposals] == list(range(18))
    assert settings_of(proposals[:4]) == [{"budget": b, "rounds": 2, "norm": "l2"} for b in BUDGETS]
    rest = settings_of(proposals[4:])
    assert len({tuple(s.items()) for s in rest}) == 14
    for settings in rest:
        assert set(settings) == {"budget", "rounds", "norm"}
        assert 1 / 16 <= settings["budget"] <= 1
        assert isinstance(settings["rounds"], int)
        assert 1 <= settings["rounds"] <= 8
        assert settings["norm"] in ("l1", "l2")
        assert Tuned(**settings)


def test_tuning_begins_at_the_budgets_that_are_asked_for_from_the_middle_outwards(tmp_path: Path) -> None:
    asked = [settings["budget"] for settings in settings_of(run(study(tmp_path, trials=4 + 2**DRAWN_POWER)))]
    assert asked[4:] == [0.125, 0.0625, 0.25, 0.5] * 2


@pytest.mark.parametrize("name", ["magnitude_pruning", "stochastic_gates", "feature_noise+quantization"])
def test_the_learning_rate_is_tuned_first_and_alone(tmp_path: Path, name: str) -> None:
    """Drawn with everything else, a rate that nearly halves an error was tried, and lost by what came with it."""
    spec, both = load_method_spec(name), ("minimize", "minimize")
    search = MethodStudy(spec, directions=both, budgets=BUDGETS, trials=8, journal=tmp_path / name)  # type: ignore[arg-type]
    found = settings_of(run_blind(search))
    at = {settings["budget"]: settings for settings in found[:4]}
    assert len({settings[RATE] for settings in found[4:]}) == 4
    for settings in found[4:]:
        assert settings == {**at[settings["budget"]], RATE: settings[RATE]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("magnitude_pruning", "random_pruning"),
        ("magnitude_pruning", "uniform_width"),
        ("stochastic_gates", "group_norm"),
        ("stochastic_gates", "dense"),
        ("stochastic_gates+magnitude_pruning", "magnitude_pruning"),
        ("stochastic_gates+magnitude_pruning", "feature_noise"),
    ],
)
def test_methods_try_the_same_values_of_settings_that_they_share(tmp_path: Path, one: str, other: str) -> None:
    def tuned(name: str) -> list[dict[str, Any]]:
        spec, both = load_method_spec(name), ("minimize", "minimize")
        search = MethodStudy(spec, directions=both, budgets=BUDGETS, trials=12, journal=tmp_path / name)  # type: ignore[arg-type]
        found = [proposal.settings for proposal in run_blind(search)[-4:]]
        return [{setting.rpartition(".")[2]: value for setting, value in own.items()} for own in found]

    for mine, theirs in zip(tuned(one), tuned(other), strict=True):
        shared = (mine.keys() & theirs.keys()) - {"rate", "form"}  # the same names for what is not the same
        assert RATE in shared and {name: mine[name] for name in shared} == {name: theirs[name] for name in shared}


def run_blind(search: MethodStudy) -> list[Proposal]:
    told = []
    while batch := search.proposals():
        told += batch
        for proposal in batch:
            search.tell(proposal.number, (1.0, 1.0))
    return told


def test_the_first_values_of_a_setting_spread_over_its_range(tmp_path: Path) -> None:
    spec = MethodSpec("rate", "rate", (Rate,), {RATE: 1.0, DENSE_SHARE: DEFAULT_SHARE})
    search = MethodStudy(
        spec, directions=("minimize", "minimize"), budgets=BUDGETS, trials=4 + 8, journal=tmp_path / "journal"
    )
    values = [proposal.settings["rate"] for proposal in run_blind(search)[1:]]
    assert sorted(int(4 * value) for value in values[:4]) == [0, 1, 2, 3]  # each quarter of it
    assert sorted(int(8 * value) for value in values) == list(range(8))


@pytest.mark.parametrize(
    ("tunable", "expected"),
    [
        (Tunable(0.5, 8.0, log=True), (0.5, 2.0)),
        (Tunable(0.0, 8.0), (0.0, 4.0)),
        (Tunable(1, 8), (1, 5)),
        (Tunable(1, 64, log=True), (1, 8)),
        (Tunable(choices=("a", "b")), ("a", "b")),
    ],
)
def test_a_share_of_a_range_is_a_value_of_its_type(tunable: Tunable, expected: tuple[Any, Any]) -> None:
    values = [_value_at(0.0, tunable), _value_at(0.5, tunable)]
    assert values == list(expected) and [type(value) for value in values] == [type(value) for value in expected]


def test_trials_come_in_batches_of_the_same_size_whatever_is_told_when(tmp_path: Path) -> None:
    search = study(tmp_path, trials=6)
    first = search.proposals()
    assert len(first) == BATCH
    for proposal in first[:-1]:
        search.tell(proposal.number, (1.0, 1.0))
        assert search.proposals() == []
    search.tell(first[-1].number, None)
    assert [p.number for p in search.proposals()] == [4, 5]
    assert not search.finished
    search.tell(4, (1.0, 1.0))
    search.tell(5, (1.0, 1.0))
    assert search.finished
    assert search.proposals() == []


def test_the_order_in_which_trials_finish_does_not_matter(tmp_path: Path) -> None:
    expected = settings_of(run(study(tmp_path / "a")))
    assert settings_of(run(study(tmp_path / "b"), order=lambda batch: batch[::-1])) == expected
    assert settings_of(run(study(tmp_path / "c"), order=lambda batch: [*batch[2:], *batch[:2]])) == expected


@pytest.mark.parametrize("stop_after", [0, 1, 4, 6, 13, 15])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(tmp_path: Path, stop_after: int) -> None:
    expected = settings_of(run(study(tmp_path / "whole")))
    run(study(tmp_path / "cut"), stop_after=stop_after)
    assert settings_of(run(study(tmp_path / "cut"))) == expected
    assert settings_of(run(study(tmp_path / "cut"))) == expected  # and a finished one says what it did


def test_a_search_can_be_made_longer(tmp_path: Path) -> None:
    short = settings_of(run(study(tmp_path, trials=8)))
    long = settings_of(run(study(tmp_path, trials=12)))
    assert len(long) == 12
    assert long[:8] == short


def test_a_line_that_was_being_written_is_mended(tmp_path: Path) -> None:
    expected = settings_of(run(study(tmp_path / "whole", trials=8)))
    run(study(tmp_path / "torn", trials=8), stop_after=5)
    journal = tmp_path / "torn" / "studies" / "tuned.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 6, "worker_i')
    assert settings_of(run(study(tmp_path / "torn", trials=8))) == expected
    assert b"worker_i{" not in journal.read_bytes()


def test_a_journal_with_nothing_but_a_torn_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tuned.journal").write_bytes(b'{"op_co')
    assert settings_of(run(study(tmp_path, trials=4)))[0]["budget"] == 0.5


def test_killed_at_any_moment_a_search_can_go_on_with_whole_settings(tmp_path: Path) -> None:
    """The journal cut behind each of its lines, as a process that is killed leaves it."""
    expected = settings_of(run(study(tmp_path / "whole", trials=10)))
    lines = (tmp_path / "whole" / "studies" / "tuned.journal").read_bytes().splitlines(keepends=True)
    assert len(lines) > 30
    for count in range(len(lines)):
        journal = tmp_path / str(count) / "studies" / "tuned.journal"
        journal.parent.mkdir(parents=True)
        journal.write_bytes(b"".join(lines[:count]))
        seen = settings_of(run(study(tmp_path / str(count), trials=10)))
        assert seen == expected, f"cut behind line {count}"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_line_torn_in_the_middle_costs_nothing(tmp_path: Path, share: float) -> None:
    expected = settings_of(run(study(tmp_path / "whole", trials=12)))
    run(study(tmp_path / "torn", trials=12), stop_after=10)
    journal = tmp_path / "torn" / "studies" / "tuned.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    line = int(share * len(lines))
    damaged = b"".join([*lines[:line], lines[line][:7] + b"\0\0\n", *lines[line + 1 :]])
    journal.write_bytes(damaged)
    assert settings_of(run(study(tmp_path / "torn", trials=12))) == expected
    assert journal.with_suffix(".damaged").read_bytes() == damaged


def test_whole_lines_that_make_no_study_are_set_aside(tmp_path: Path) -> None:
    expected = settings_of(run(study(tmp_path, trials=8)))
    journal = tmp_path / "studies" / "tuned.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:9], b'{"op_code": 99}\n', *lines[9:]]))
    assert settings_of(run(study(tmp_path, trials=8))) == expected
    assert journal.with_suffix(".damaged").exists()


def test_no_lock_is_left_for_the_next_start_to_wait_for(tmp_path: Path) -> None:
    run(study(tmp_path, trials=8), stop_after=2)
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["tuned.journal"]


def test_what_a_search_has_told_is_not_told_again(tmp_path: Path) -> None:
    run(study(tmp_path, trials=8))
    before = (tmp_path / "studies" / "tuned.journal").read_bytes()
    run(study(tmp_path, trials=8))
    assert (tmp_path / "studies" / "tuned.journal").read_bytes() == before


def test_failed_trials_count_and_the_search_goes_on(tmp_path: Path) -> None:
    search = study(tmp_path, trials=12)
    count = 0
    while not search.finished:
        for proposal in search.proposals():
            search.tell(proposal.number, None)
            count += 1
    assert count == 12


def test_a_method_without_settings_of_its_own_tunes_its_learning_rate_and_when_it_begins(tmp_path: Path) -> None:
    untouched = MethodSpec("fixed", "fixed", (Fixed,), {})
    search = MethodStudy(
        untouched, directions=("minimize", "minimize"), budgets=BUDGETS, trials=9, journal=tmp_path / "j"
    )
    assert search.trials == 1 + (9 - len(BUDGETS))
    assert settings_of(search.proposals()[:1]) == [{RATE: 1.0, DENSE_SHARE: DEFAULT_SHARE}]


def test_a_method_whose_settings_are_all_decided_runs_once_and_keeps_no_file(tmp_path: Path) -> None:
    search = MethodStudy(
        method_spec(Fixed), directions=("minimize", "minimize"), budgets=BUDGETS, trials=9, journal=tmp_path / "j"
    )
    assert search.trials == 1
    assert search.proposals() == [Proposal(0, {})]
    assert search.proposals() == []
    search.tell(0, None)
    assert search.finished
    assert list(tmp_path.iterdir()) == []


def test_a_method_without_a_compute_target_begins_with_its_defaults(tmp_path: Path) -> None:
    search = MethodStudy(
        method_spec(Rate), directions=("minimize", "minimize"), budgets=BUDGETS, trials=9, journal=tmp_path / "j"
    )
    assert search.trials == 1 + (9 - len(BUDGETS))  # its defaults, and as many to tune with as everybody
    assert settings_of(search.proposals())[0] == {"rate": 0.1}


def test_every_budget_is_tried_even_if_fewer_trials_are_asked_for(tmp_path: Path) -> None:
    search = study(tmp_path, trials=2)
    assert search.trials == 4
    assert [p.settings["budget"] for p in search.proposals()] == list(BUDGETS)


def test_a_budget_below_the_range_of_the_search_is_tried_all_the_same(tmp_path: Path) -> None:
    search = study(tmp_path, trials=6, budgets=(0.5, 0.03))
    assert [s["budget"] for s in settings_of(run(search))][:2] == [0.5, 0.03]


def test_the_second_objective_may_be_a_score_to_maximise(tmp_path: Path) -> None:
    search = MethodStudy(
        method_spec(), directions=("maximize", "minimize"), budgets=BUDGETS, trials=12, journal=tmp_path / "j"
    )
    assert len(run(search)) == 12
