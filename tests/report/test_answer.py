"""The sentences that answer the question, and those that say how far to trust them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.report import write_report
from bench.report.answer import answer, draws, how_drawn, limits
from bench.report.figures import draw_figures
from bench.stats.estimates import Estimate
from tests.report.cases import decline, read, terminal, with_items
from tests.written import Written


def two_camps(written: Written, scores: list[tuple[float, float]], seeds: int = 1) -> str:
    """The answer where in-training and post-hoc score like this, at one budget after the other."""
    written.index["budgets"] = [0.5 / 2**n for n in range(len(scores))]
    for budget, (during, after) in zip(written.index["budgets"], scores, strict=True):
        for seed in range(seeds):
            written.add("feature_noise", budget, 20 - budget, during, seed=seed)
            written.add("magnitude_pruning", budget, 20 - budget, after, seed=seed, stage="post_hoc")
    return answer(read(written.save()))


@pytest.mark.parametrize(
    ("scores", "seeds", "said"),
    [
        (
            [(10, 12), (11, 14)],
            6,
            r"^In-training better over all budgets by 2.5 points of EER \(95 % interval 2.5 to 2.5, 6",
        ),
        ([(12, 10), (14, 11)], 6, r"^Post-hoc better over all budgets by 2.5 points of EER \(95 % interval 2.5 to 2.5"),
        ([(10, 12), (14, 12)], 6, r"by itself .*: in-training better at 50 %, \+2.0; post-hoc better at 25 %, -2.0\."),
        ([(10, 12), (14, 12)], 6, r"^Undecided over all budgets: .*no number of seeds in sight would decide"),
        ([(12, 10)], 6, r"^Post-hoc better at 50 % by 2.0 points of EER"),
        ([(12, 12)], 6, r"^Undecided at 50 %: both have the same EER \("),
        ([(10, 12)], 1, r"^Undecided at 50 %: .* No verdict can come of 1 seed: 6 are needed\."),
        ([(10, 12)], 3, r"^Undecided at 50 %: .* No verdict can come of 3 seeds: 6 are needed\."),
    ],
)
def test_the_first_word_is_the_answer(
    written: Written, scores: list[tuple[float, float]], seeds: int, said: str
) -> None:
    assert re.search(said, two_camps(written, scores, seeds))


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (("feature_noise",), "1 in-training method and 1 post-hoc method with a finished model took part."),
        (("feature_noise", "stochastic_gates"), "a finished model took part; of the larger camp 1 at a time"),
    ],
)
def test_unequal_camps_are_said(written: Written, methods: tuple[str, ...], said: str) -> None:
    for method in methods:
        written.add(method, 0.5, 10, 10)
    written.add("magnitude_pruning", 0.5, 10, 12, stage="post_hoc")
    data = read(written.save())
    assert said in draws(data)
    assert ("Of the 2 in-training methods 1 at a time were drawn" in answer(data)) == (len(methods) == 2)


def only_in_training(written: Written) -> None:
    written.add("feature_noise", 0.5, 10, 12)


def post_hoc_failed(written: Written) -> None:
    only_in_training(written)
    written.add("magnitude_pruning", 0.5, 10, None, stage="post_hoc", status="failed")


def post_hoc_too_large(written: Written) -> None:
    only_in_training(written)
    written.add("quantization", None, 10, 11, stage="post_hoc")


def in_training_too_large(written: Written) -> None:
    written.add("feature_noise", 0.5, 10, 12, macs=0.6)
    written.add("magnitude_pruning", 0.5, 10, 12, stage="post_hoc")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (only_in_training, "no post-hoc method (one that compresses afterwards) took part"),
        (post_hoc_failed, "no post-hoc method has a finished model"),
        (post_hoc_too_large, "no post-hoc method has a finished model within any budget, the least costs 100 %"),
        (in_training_too_large, "no in-training method has a finished model within any budget, the least costs 60 %"),
    ],
)
def test_the_sentence_says_why_there_is_no_answer(
    written: Written, write: Callable[[Written], None], said: str
) -> None:
    write(written)
    assert said in answer(read(written.save()))


def test_budgets_that_one_camp_missed_are_not_counted(written: Written) -> None:
    written.add("feature_noise", 0.5, 10, 12)
    written.add("feature_noise", 0.25, 11, 13)
    written.add("magnitude_pruning", 0.5, 10, 14, stage="post_hoc")
    assert "Undecided at 50 % that both camps reached: in-training is ahead by 2.0 points of EER (1 seed)" in answer(
        read(written.save())
    )


def test_a_camp_that_declines_leaves_no_answer(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, 11.0)
    decline(written, "quantization", "post_hoc", "not here")
    decline(written, "stochastic_gates", "in_training", "nor this")
    said = answer(read(written.save()))
    assert said == "No answer: every post-hoc method that took part declined this task (quantization)."


def test_how_drawn_says_that_few_seeds_cannot_hold_the_mean(written: Written) -> None:
    data = read(with_items(written, 3))
    assert "75 % of cases" in how_drawn([data.best[0.5].iloc[0]])


def test_how_drawn_counts_the_seeds_of_what_was_drawn() -> None:
    assert "1 seed" not in how_drawn([Estimate(1.0, None, None, 1), Estimate(1.0, 0.5, 1.5, 8)])


@pytest.mark.usefixtures("undrawn")
def test_simulated_bits_have_no_latency_anywhere(written: Written) -> None:
    written.add("dense", None, 10.0, 11.0, control=True, bops=1024_000)
    written.add("feature_noise", 0.5, 10.5, 13.0, bops=512_000)
    assert "bops_ratio" not in draw_figures(read(written.save()))
    simulated = {"latency": False, "simulated": True, "bops": 40_960}
    written.add("mixed_precision", 0.04, 10.0, 12.0, stage="post_hoc", macs=1.0, **simulated)
    folder = written.save()
    data = read(folder)
    (line,) = [line for line in terminal(folder).splitlines() if "mixed_precision" in line]
    assert "simulated" in line and "(bits 0.040) 1.000" in line and "x " not in line
    assert "mixed_precision" not in set(data.speedup["method"])
    said = " ".join(limits(data))
    assert "simulated" in said and "interrupted" not in said
    figures = draw_figures(data)
    assert "mixed_precision" in figures["bops_ratio"] and "mixed_precision" not in figures["latency_ratio"]
    write_report(folder)
    assert "simulated" in (folder / "report.md").read_text()


def test_limits_name_what_is_missing(built: Path) -> None:
    said = " ".join(limits(read(built)))
    assert "The embedded data is generated" in said
    assert "Latency has not been measured for every chosen point" in said and "Not every chosen point" in said


def test_what_tuning_moved_is_a_measure_for_the_gap(written: Written) -> None:
    """Three searches of the same methods had each another verdict, of some tenths of a point."""
    written.add("feature_noise", 0.5, 8.0, None, trial=0, chosen=False)
    written.add("feature_noise", 0.5, 6.5, 9.0, trial=2)
    written.add("uniform_width", 0.5, 8.0, 9.0, trial=0, control=True)
    written.add("uniform_width", 0.5, 8.5, None, trial=2, control=True, chosen=False)
    assert "by 0.75 on average and by 1.5 points of EER at most" in " ".join(limits(read(written.save())))


def test_the_table_of_the_terminal_shows_every_method(built: Path) -> None:
    shown, data = terminal(built, 132), read(built)
    assert all(method in shown for method in data.index["methods"])
    assert "(0.250 ≠ 0) 1.000" in shown and "315 kB" in shown and "315 kB" not in terminal(built, 100)
    assert "failed broken: ValueError: <script>alert(1)</script>" in shown and answer(data) in terminal(built)
    assert "missed _late: asked for 0.25 of the dense compute, delivered 0.3001" in terminal(built)


def test_models_without_scores_on_eval_are_named(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, None)
    written.add("feature_noise", 0.25, 9, 10)
    assert "no scores on eval, gone or not read yet: 1 of 2 chosen models (feature_noise);" in terminal(written.save())


def test_the_terminal_takes_no_text_for_markup(written: Written) -> None:
    written.add("[red]noise[/]", 0.5, 9, None, status="failed", reason="no [bold]layer[/bold] [/x]", latency=False)
    written.index["metric"]["unit"] = "[blink]db"
    shown = terminal(written.save())
    assert "[red]noise[/]" in shown and "no [bold]layer[/bold] [/x]" in shown


def test_a_comparison_in_which_all_decline_has_a_report(written: Written) -> None:
    decline(written, "quantization", "post_hoc", "not here")
    written.save()
    assert "not here" in terminal(written.folder)
