"""Bringing the store up to date with what lies on disk: what is missing is logged, what is there is left alone.

MLflow, which takes seconds to import, is imported in the thread of ``BackgroundTracker`` alone.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.results.points import Points, load_points
from bench.storage.cache import content_key
from bench.storage.files import file_digest
from bench.tracking.view import TrialRun, adopt, default_uri, experiment_tags, origin, trial_runs
from bench.trial.record import MISSING

if TYPE_CHECKING:
    from bench.tracking.store import Tracker

REPORT_FILES = ("front.svg", "attribution.svg", "report.html", "report.md", "points.csv")


def sync(tracker: "Tracker", points: Points) -> None:
    """Log every trial, as far as the store does not have it as it is now.

    A note beside each trial says which run it has, in which experiment, and what that run says. A trial is logged when
    the note is missing, or names another store or a run that the store does not have; when the trial was run again and
    came to another end; and when its run is still running, so that its logging was interrupted. The store is not asked
    about a trial that is noted as it is: ten thousand runs take ten seconds to read.

    Raises:
        BenchError: the store refuses or has gone; what is missing is logged the next time.
    """
    with tracker.naming_trouble():
        tracker.tag_experiment(experiment_tags(points))
        left = _left_running(tracker, points)
        for trial in trial_runs(points, tracker.name):
            _sync_trial(tracker, trial, left.pop(trial.tags["key"], None))
        for run_id in left.values():  # of trials that are not part of the comparison any more
            tracker.end(run_id, "KILLED")


def _left_running(tracker: "Tracker", points: Points) -> dict[str, str]:
    """The runs of this results folder that were never ended, by key of their trial."""
    running = tracker.search("attributes.status = 'RUNNING' and tags.kind = 'trial'")
    tags = {run_id: run.data.tags for run_id, run in running.items()}
    return {own["key"]: run_id for run_id, own in tags.items() if own.get("results") == origin(points, tracker.name)}


def _sync_trial(tracker: "Tracker", trial: TrialRun, running: str | None) -> None:
    note = trial.folder.mlflow_note()
    place = {"store": tracker.name, "experiment": tracker.experiment, "experiment_id": tracker.experiment_id}
    if running is None and {**place, "digest": trial.digest}.items() <= note.items():
        return
    there = tracker.find(note["run_id"]) if note.get("experiment") == tracker.experiment else None
    if there is None:
        note = {}
    elif there.info.lifecycle_stage == "deleted":
        return  # somebody threw it away
    run_id = running or note.get("run_id")
    whole = running is not None or note.get("status") != trial.tags["status"]
    record = trial.folder.record() or MISSING
    run_id = run_id or tracker.start(trial.name, trial.tags, record.started_at)
    tracker.describe(run_id, tags=trial.tags, metrics=trial.metrics, params=trial.params)
    if whole:
        tracker.curve(run_id, record.curve or [])
        tracker.upload(run_id, (trial.folder.record_path, trial.folder.model_path))
    said = {"run_id": run_id, "status": trial.tags["status"], "digest": trial.digest}
    trial.folder.write_mlflow_note({**place, **said})
    if whole:  # after the note: a run that is left running is looked for, one that was ended is not
        tracker.end(run_id, "FAILED" if trial.tags["status"] == "failed" else "FINISHED", record.ended_at)


def sync_report(tracker: "Tracker", points: Points) -> None:
    """One run for the report of the comparison, whose files are replaced when it has been built again.

    Raises:
        BenchError: as for ``sync``.
    """
    files = [path for name in REPORT_FILES if (path := points.folder / name).exists()]
    named = {
        **{"kind": "report", "results": origin(points, tracker.name), "comparison": str(points.index["identity"])},
        **{name: str(points.index[name]) for name in ("task", "preset")},
    }
    digest = content_key({path.name: file_digest(path) for path in files})
    with tracker.naming_trouble():
        reports = tracker.search("tags.kind = 'report'")
        run_id = next((run_id for run_id, run in reports.items() if named.items() <= run.data.tags.items()), None)
        if run_id is not None and reports[run_id].data.tags.get("digest") == digest:
            return
        run_id = run_id or tracker.start("report", named, None)
        tracker.upload(run_id, files)
        tracker.end(run_id, "FINISHED")
        # last: where it is missing, all of this is done again
        tracker.describe(run_id, tags={"digest": digest}, metrics={}, params={})


class BackgroundTracker:
    """Opens the store of a comparison in a thread, and again whenever that has failed.

    Importing MLflow and making its database takes ten seconds, in which the comparison goes on.

    Args:
        results: the folder of all results.
        task: of the comparison; with the preset it names the experiment.
        preset: of the comparison.
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
            Why nothing could be logged, the first time that it is so; else an empty string.
        """
        return self._tried(lambda tracker: sync(tracker, load_points(self.folder)))

    def sync_report(self, points: Points) -> str:
        """Log the report, if it is new; returns what ``sync`` does."""
        return self._tried(lambda tracker: sync_report(tracker, points))

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
    from bench.tracking.store import Tracker

    tracker = Tracker(default_uri(results) if uri is None else uri, experiment, results)
    if uri is None:
        with tracker.naming_trouble():
            adopt(results)  # now that there is one
    return tracker
