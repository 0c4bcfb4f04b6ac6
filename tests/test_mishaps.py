"""What happens to one method is a failed trial with its reason, for that method alone."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests import mishaps
from tests.conftest import Finished, bench
from tests.installed import installed

REASONS = {
    "hangs": "ended after 15 s, the limit of --trial-timeout",
    "diverges": "the training loss became nan by step 3",
    "is_killed": r"its process died 3 times .*give it more, or run with fewer --jobs",
    "wants_memory": "can't allocate memory",
}
AGAIN = {"hangs", "is_killed", "wants_memory"}  # what the machine may do better the next time
FOLDER = Path("synthetic", "smoke")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def run(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    names = ",".join(f"{name}:learning_rate_factor=1" for name in ("dense", *REASONS))
    command = ("run", "synthetic", "--preset", "smoke", "--methods", names, "--results", results)
    environment = installed(mishaps, tmp_path_factory.mktemp("installed"))
    return bench(*command, "--trial-timeout", "15", environment=environment)


@pytest.mark.parametrize("name", REASONS)
def test_the_trial_has_failed_and_says_why(run: Finished, results: Path, name: str) -> None:
    assert run.code == 0 and "Traceback" not in run.output, run.output
    table = pd.read_csv(results / FOLDER / "points.csv").assign(name=lambda t: t["method"].str.partition(":")[0])
    (trial,) = table[table["name"] == name].to_dict("records")
    assert trial["status"] == "failed" and pd.isna(trial["dev_mse_percent"])
    assert pd.Series([trial["reason"]]).str.contains(REASONS[name]).all(), trial["reason"]
    record = json.loads((results / FOLDER / "trials" / trial["key"] / "trial.json").read_text())
    assert record.get("retry", False) == (name in AGAIN)
    if name == "diverges":
        assert (record["train_steps"], len(record["curve"])) == (3, 2) and record["train_macs"] > 0
    assert f"failed {name}" in run.output
    assert name in (results / FOLDER / "report.html").read_text()


def test_the_others_are_unharmed(run: Finished, results: Path) -> None:
    table = pd.read_csv(results / FOLDER / "points.csv").set_index("method")
    dense = table.loc["dense"] if "dense" in table.index else table.loc["dense:learning_rate_factor=1"]
    assert dense["status"] == "complete" and dense["eval_mse_percent"] > 0
