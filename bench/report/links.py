"""From a point to its files and to its MLflow run."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from bench.results.points import Points
from bench.storage.files import read_json
from bench.tracking.trials import run_address
from bench.trial.record import EVAL, MODEL, RECORD, TRACKED, trial_folder

#: where ``bench ui`` shows the runs unless it is told another port
MLFLOW_UI = "http://127.0.0.1:5000"
_FILES = {"record": RECORD, "model": MODEL, "scores": EVAL}


@dataclass(frozen=True)
class Links:
    """Addresses of one trial.

    Attributes:
        folder: of its files, relative to the report.
        files: name and address of those that are there.
        run: its run in the MLflow UI; None if it has not been tracked in a known experiment.
    """

    folder: str
    files: list[tuple[str, str]]
    run: str | None


def links(points: Points, keys: Iterable[str]) -> dict[str, Links]:
    """The addresses of these trials by their keys."""
    return {str(key): _links(points, str(key)) for key in keys}


def _links(points: Points, key: str) -> Links:
    files, address = trial_folder(points.folder, key), f"trials/{quote(key)}/"
    tracked = read_json(files / TRACKED) or {}
    run, experiment = tracked.get("run_id"), tracked.get("experiment_id")
    page = MLFLOW_UI + run_address(quote(str(experiment)), quote(str(run))) if run and experiment else None
    found = [(name, address + file) for name, file in _FILES.items() if (files / file).exists()]
    return Links(address, found, page)
