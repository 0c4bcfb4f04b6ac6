"""What the tests of exported models share: the folders of two of the smoke comparison, one of them of integers."""

import json
from pathlib import Path

import pytest

from bench.results.points import load_points
from bench.ship.export import write_export
from bench.ship.pick import Choice, named
from tests.conftest import SmokeRun

METHODS = ("feature_noise", "magnitude_pruning+quantization:rounds=1")


def choice_of(run: SmokeRun, method: str) -> Choice:
    """The first model of a method."""
    index = json.loads((run.folder / "comparison.json").read_text())
    return named(load_points(run.folder), index["methods"][method]["trials"][0]["key"])


def eval_corpus(run: SmokeRun) -> Path:
    """The folder of the recordings that eval scores of anti-spoofing are of, in the order of their names."""
    return next((run.results / "cache").glob("antispoof-corpus-*")) / "ASVspoof2019_LA_eval"


@pytest.fixture(scope="session")
def exported(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders by method, for tests that only read."""
    home = tmp_path_factory.mktemp("exported")
    return {method: write_export(choice_of(smoke, method), home / method, {}) for method in METHODS}
