"""The supervisor's side of tracking: nothing waits for MLflow to start, and nothing ends because it has gone."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.results.points import Points, load_points

if TYPE_CHECKING:
    from bench.tracking.store import Tracker


class BackgroundTracker:
    """Opens the store of a comparison in a thread, and again whenever that has failed.

    Importing MLflow and making its database takes ten seconds, which pass while something else is done.

    Args:
        results: the folder of all results.
        task: of the comparison.
        preset: likewise; both name the experiment.
        uri: of the tracking store; None for a database in the results folder.
    """

    def __init__(self, results: Path, task: str, preset: str, uri: str | None) -> None:
        self.folder = results / task / preset
        self._open = partial(_open_tracker, results, f"{task} {preset}", uri)
        self._thread = ThreadPoolExecutor(1, "mlflow")
        self._tracker: Future[Tracker] = self._thread.submit(self._open)
        self._trouble = ""

    def sync(self) -> str:
        """Log what is new.

        Returns:
            What a person should be told: why it is not logged yet, the first time that it is so; else nothing.
        """

        def log(tracker: "Tracker") -> None:
            from bench.tracking.sync import sync

            sync(tracker, load_points(self.folder))

        return self._tried(log)

    def sync_report(self, points: Points) -> str:
        """Log the report, if it is new; returns what ``sync`` does."""

        def log(tracker: "Tracker") -> None:
            from bench.tracking.sync import sync_report

            sync_report(tracker, points)

        return self._tried(log)

    def _tried(self, log: Callable[["Tracker"], None]) -> str:
        if self._tracker.done() and self._tracker.exception() is not None:
            self._tracker = self._thread.submit(self._open)
        before, self._trouble = self._trouble, ""
        try:
            log(self._tracker.result())  # MLflow has been imported there by now, and is not imported here meanwhile
        except BenchError as error:
            self._trouble = str(error)
        return "" if self._trouble == before else self._trouble


def _open_tracker(results: Path, experiment: str, uri: str | None) -> "Tracker":
    from bench.tracking.store import Tracker, default_uri

    return Tracker(uri or default_uri(results), experiment, results / "mlartifacts")
