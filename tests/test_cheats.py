"""Cheating methods in a real comparison: each is caught, says how, and spoils nothing for the others."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests import cheats
from tests.conftest import SmokeRun, bench
from tests.installed import installed

CAUGHT = {
    "reads_dev": "asks for the dev split",
    "reads_eval_files": r"touches .*antispoof-eval-.*frames\.npy",
    "asks_for_eval": r"calls evaluate\(\) of the task",
    "overspends_steps": "asked for 1 training steps with 0 left",
    "raises_its_allowance": "spent 40 training steps, it had 10",
    "only_masks": "asked for 0.5 of the dense compute, delivered 1.0000",
    "keeps_hooks": "hooks are left on the finished model",
    "changes_the_task": "changed the task: batch_size from 16 to 60",
    "changes_the_data": r"touches .*antispoof-dev-.*frames\.npy",
    "hides_parameters": "computes with 120 numbers that are neither parameters nor buffers",
    "writes_its_own_scores": r"touches .*eval\.json",
    "regrows_after_the_audit": "starts a process of its own",
    "is_unseeded": "the same seed gives the same model",
}


@pytest.fixture(scope="module")
def comparison(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of all cheats with an honest method, on data and a dense model that are there already."""
    results = tmp_path_factory.mktemp("cheated")
    shutil.copytree(smoke.results / "cache", results / "cache")
    environment = installed(cheats, tmp_path_factory.mktemp("installed"))
    names = ",".join(f"{name}:learning_rate_factor=1" for name in ("honest", "reports_its_own_figures", *CAUGHT))
    command = ("run", "antispoof", "--preset", "smoke", "--methods", names, "--results", results)
    run = bench(*command, environment=environment, timeout=500)
    assert run.code == 0, run.output
    return results / "antispoof" / "smoke"


@pytest.fixture(scope="module")
def points(comparison: Path) -> pd.DataFrame:
    table = pd.read_csv(comparison / "points.csv")
    return table.assign(method=table["method"].str.partition(":")[0]).set_index("method")


@pytest.mark.parametrize("name", CAUGHT)
def test_a_cheat_is_caught_with_a_message(points: pd.DataFrame, name: str) -> None:
    caught = points.loc[[name]]
    assert set(caught["status"]) <= {"failed", "missed"}
    assert caught["reason"].str.contains(CAUGHT[name], regex=True).all(), list(caught["reason"])


@pytest.mark.parametrize("name", sorted(set(CAUGHT) - {"only_masks"}))
def test_a_cheat_that_failed_has_no_score(points: pd.DataFrame, name: str) -> None:
    assert points.loc[[name], ["dev_eer_percent", "eval_eer_percent"]].isna().all(axis=None)


def test_figures_of_its_own_gain_nothing(points: pd.DataFrame) -> None:
    """Another process counts from the files, so that the figures of the trial are the true ones."""
    figures = ["status", "params", "macs", "effective_macs", "bops", "macs_ratio", "train_macs", "dev_eer_percent"]
    assert points.loc["reports_its_own_figures", figures].tolist() == points.loc["honest", figures].tolist()
    assert points.loc["reports_its_own_figures", "macs"] > 10_000


def test_an_honest_method_beside_cheats_is_unharmed(points: pd.DataFrame, comparison: Path) -> None:
    honest = points.loc["honest"]
    assert honest["status"] == "complete"
    assert honest["eval_eer_percent"] > 0
    assert honest["train_steps"] == 10
    record = json.loads((comparison / "trials" / str(honest["key"]) / "trial.json").read_text())
    assert record["audit"]["passed"]
    assert record["audit"]["rebuilt"]


def test_the_report_shows_the_caught(comparison: Path) -> None:
    page = (comparison / "report.html").read_text()
    assert "neither parameters nor buffers" in page
    assert "asks for the dev split" in page
