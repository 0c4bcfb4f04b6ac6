"""Methods that cheat, fail, hang or die, in one real comparison: each says how, and spoils nothing for the others."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import misbehaving
from tests.conftest import Finished, SmokeRun, bench
from tests.installed import installed

TIMEOUT_S = 75  # what hangs is waited for so long; on a busy machine the dense model alone takes half of it
CHEATS = {
    "reads_dev": "asks for the dev split",
    "reads_eval_files": r"touches .*antispoof-eval-.*frames\.npy",
    "asks_for_eval": r"calls evaluate\(\) of the task",
    "overspends_steps": "asked for 1 training steps with 0 left",
    "raises_its_allowance": "spent 40 training steps, it had 8",
    "only_masks": "asked for 0.5 of the dense compute, delivered 1.0000",
    "keeps_hooks": "hooks are left on the finished model",
    "changes_the_task": "changed the task: batch_size from 16 to 60",
    "changes_the_data": r"touches .*antispoof-dev-.*frames\.npy",
    "hides_parameters": "computes with 120 numbers that are neither parameters nor buffers",
    "writes_its_own_scores": r"touches .*eval\.json",
    "regrows_after_the_audit": "starts a process of its own",
    "is_unseeded": "the same seed gives the same model",
}
MISTAKES = {
    "raises": "ZeroDivisionError: division by zero",
    "exits": "SystemExit: 0",
    "returns_no_model": "expected a torch.nn.Module",
    "returns_nan": "NaN",
    "asks_for_more_steps": "asked for 1 training steps with 0 left",
    "diverges": "the training loss became nan by step 3",
}
#: what the machine may do better the next time
MISHAPS = {
    "hangs": f"ended after {TIMEOUT_S} s, the limit of --trial-timeout",
    "is_killed": "its process died 3 times .*give it more, or run with fewer --jobs",
    "wants_memory": "can't allocate memory",
}
REASONS = {**CHEATS, **MISTAKES, **MISHAPS}


@pytest.fixture(scope="module")
def results(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with data and a dense model that are there already."""
    results = tmp_path_factory.mktemp("misbehaved")
    shutil.copytree(smoke.results / "cache", results / "cache")
    return results


@pytest.fixture(scope="module")
def run(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One comparison of all of them with an honest method."""
    environment = installed(misbehaving, tmp_path_factory.mktemp("installed"))
    names = ",".join(f"{name}:learning_rate_factor=1" for name in ("honest", "reports_its_own_figures", *REASONS))
    command = ("run", "antispoof", "--preset", "smoke", "--methods", names, "--results", results)
    run = bench(*command, "--trial-timeout", str(TIMEOUT_S), environment=environment, timeout=600)
    assert run.code == 0 and "Traceback" not in run.output, run.output
    return run


@pytest.fixture(scope="module")
def points(run: Finished, results: Path) -> pd.DataFrame:
    table = pd.read_csv(results / "antispoof" / "smoke" / "points.csv")
    return table.assign(method=table["method"].str.partition(":")[0]).set_index("method")


def record(results: Path, trial: Any) -> dict[str, Any]:
    path = results / "antispoof" / "smoke" / "trials" / str(trial["key"]) / "trial.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_said_everywhere(run: Finished, points: pd.DataFrame, results: Path, name: str) -> None:
    trial = points.loc[name]
    assert trial["status"] == ("missed" if name == "only_masks" else "failed")
    assert re.search(REASONS[name], trial["reason"]), trial["reason"]
    assert record(results, trial).get("retry", False) == (name in MISHAPS or name == "is_unseeded")
    assert "".join(trial["reason"].split())[:40] in "".join(run.output.split())  # whatever the width of the output
    assert name in (results / "antispoof" / "smoke" / "report.html").read_text()


def test_what_failed_has_no_score(points: pd.DataFrame) -> None:
    failed = points[points["status"] == "failed"]
    assert set(failed.index) == set(REASONS) - {"only_masks"}
    assert failed[["dev_eer_percent", "eval_eer_percent"]].isna().all(axis=None)


def test_what_diverged_says_how_far_it_came(points: pd.DataFrame, results: Path) -> None:
    found = record(results, points.loc["diverges"])
    assert (found["train_steps"], len(found["curve"])) == (3, 2)
    assert found["train_macs"] > 0


def test_figures_of_its_own_gain_nothing(points: pd.DataFrame) -> None:
    """Another process counts from the files, so that the figures of the trial are the true ones."""
    figures = ["status", "params", "macs", "effective_macs", "bops", "macs_ratio", "train_macs", "dev_eer_percent"]
    assert points.loc["reports_its_own_figures", figures].tolist() == points.loc["honest", figures].tolist()
    assert points.loc["reports_its_own_figures", "macs"] > 10_000


def test_the_honest_method_is_unharmed(points: pd.DataFrame, results: Path) -> None:
    honest = points.loc["honest"]
    assert honest["status"] == "complete"
    assert honest["eval_eer_percent"] > 0
    assert honest["train_steps"] == 8  # a quarter of 30
    audit = record(results, honest)["audit"]
    assert audit["passed"] and audit["rebuilt"]
