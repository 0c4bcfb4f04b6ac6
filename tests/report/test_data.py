"""The numbers of a report, from the choices to the links."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import ItemScores
from bench.report import write_report
from bench.trial.record import TrialFolder
from tests.report.cases import ODD, read
from tests.written import Written


def test_duels_leave_out_controls_failures_and_what_costs_too_much(built: Path) -> None:
    data = read(built)
    half, quarter = data.duels.to_dict("records")
    # _late missed its budget, so that it counts as worst, though its 0.3001 are within a half
    assert (half["in_training"], half["post_hoc"]) == ("feature_noise", "magnitude_pruning")
    assert (quarter["in_training"], quarter["post_hoc"]) == ("feature_noise", ODD)
    assert (quarter["uniform_score"], quarter["in_training_seeds"]) == (18.0, 2)
    assert data.duels_if_free.iloc[1]["in_training"] == "zeros"


@pytest.mark.usefixtures("undrawn")
def test_points_lead_to_their_files_and_to_their_run(written: Written) -> None:
    files = written.add("feature_noise", 0.5, 10.0, 11.0)
    (files / "model.onnx").write_bytes(b"")
    (files / "tracked.json").write_text(json.dumps({"run_id": "abc", "experiment_id": "7"}))
    other = written.add("feature_noise", 0.25, 10.0, 11.0)
    folder = written.save()
    found = write_report(folder).links
    page = "http://127.0.0.1:5000/#/experiments/7/runs/abc?workflowType=machine_learning"
    assert found[files.name].run == page and found[other.name].run is None
    assert [name for name, _ in found[files.name].files] == ["record", "model", "scores"]
    text = (folder / "report.html").read_text()
    for _, address in found[files.name].files:
        assert (folder / address).exists() and f'href="{address}"' in text
    assert f'href="{page}"' in text


@pytest.mark.usefixtures("undrawn")
def test_a_page_of_thousands_lists_the_chosen_and_the_best(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.data.MOST_LISTED", 4)
    chosen = written.add("feature_noise", 0.5, 30.0, 31.0)
    tried = [written.add("feature_noise", 0.5, 40.0 - n, None, chosen=False, trial=100 + n) for n in range(5)]
    page = (write_report(written.save()).points.folder / "report.html").read_text()
    assert "4 of 6 trained models" in page and 'href="points.csv"' in page
    listed = {folder.name for folder in (chosen, *tried) if f'href="trials/{folder.name}/"' in page}
    assert listed == {folder.name for folder in (chosen, *tried[2:])}


@pytest.mark.usefixtures("undrawn")
def test_more_chosen_trials_than_are_listed_still_have_links(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.data.MOST_LISTED", 1)
    folders = [written.add("feature_noise", budget, 30.0, 31.0) for budget in (0.5, 0.25)]
    data = write_report(written.save())
    assert set(data.links) == {folder.name for folder in folders} and len(data.trials) == 1


@pytest.mark.usefixtures("undrawn")
def test_failed_trials_that_are_not_listed_have_links(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.data.MOST_LISTED", 1)
    written.add("feature_noise", 0.5, 30.0, 31.0)
    failed = written.add("feature_noise", 0.5, 40.0, None, chosen=False, trial=100, status="failed", reason="lost")
    page = (write_report(written.save()).points.folder / "report.html").read_text()
    assert f'href="trials/{failed.name}/"' in page and "lost" in page


def test_layers_share_the_latency_and_are_means_over_seeds(written: Written) -> None:
    for seed, spent in enumerate(({"stem": 1.0, "body.0": 2.0, "": 1.0}, {"stem": 2.0, "body.0": 2.0})):
        files = written.add("feature_noise", 0.25, 9.0, 9.0, seed=seed)
        TrialFolder(files).write_layer_latency_ms(spent)
    data = read(written.save())
    (row,) = data.layers.to_dict("records")  # latency_ratio of these trials: .5
    assert row == pytest.approx({"stem": 0.1875, "body.0": 0.25, "elsewhere": 0.0625})
    assert list(data.layers.index) == [("feature_noise", 0.25)] and list(data.layers) == ["stem", "body.0", "elsewhere"]


def test_many_layers_become_the_parts_that_they_lie_in(written: Written) -> None:
    files = written.add("feature_noise", 0.25, 9.0, 9.0)
    spent = {f"body.{block}.{layer}": 1.0 for block in range(4) for layer in range(4)}
    TrialFolder(files).write_layer_latency_ms({"stem": 1.0, **spent})
    assert list(read(written.save()).layers) == ["stem", *(f"body.{block}" for block in range(4))]


def test_two_method_specs_may_mean_one_trial(written: Written) -> None:
    """A setting that one fixes, such as when the cut is made, may be what another has found."""
    for seed in range(2):
        items = ItemScores(np.array([10.0, 14.0]), None, np.arange(2))
        files = written.add("magnitude_pruning", 0.25, 12.0, 12.0, seed=seed, stage="post_hoc", items=items)
        TrialFolder(files).write_layer_latency_ms({"stem": 0.1, "": 0.1})
    methods = written.index["methods"]
    methods["magnitude_pruning:dense_share=0.75"] = methods["magnitude_pruning"]
    data = read(written.save())
    alike = [data.chosen[data.chosen["method"] == name] for name in methods if name.startswith("magnitude")]
    assert [own["eval"].tolist() for own in alike] == [[12.0], [12.0]]
    assert [data.layers.loc[own["method"].iloc[0]].sum().sum() for own in alike] == [pytest.approx(0.5)] * 2


def test_parts_of_the_score_are_means_over_seeds(built: Path) -> None:
    data = read(built)
    assert data.breakdown.loc[("feature_noise", 0.5), "A08"] == 13.5
    assert ("broken", 0.5) not in data.breakdown.index


def test_parts_of_the_score_stand_in_the_order_of_their_numbers(written: Written) -> None:
    parts = ["<5 dB", "5-15 dB", "15-25 dB", ">=25 dB"]
    files = written.add("feature_noise", 0.5, 10.0, 10.0)
    TrialFolder(files).write_eval_scores({"eer_percent": 10.0, **{f"eer_percent/{part}": 9.0 for part in parts}})
    assert list(read(written.save()).breakdown.columns) == parts
