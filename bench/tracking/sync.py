"""Bringing the store up to date with what lies on disk: what is missing is logged, what is there is left alone."""

import hashlib
from pathlib import Path

from bench.results.points import Points
from bench.storage.files import read_json, write_json
from bench.tracking.store import TROUBLE, Tracker
from bench.tracking.trials import TrialRun, experiment_tags, origin, trial_runs
from bench.trial.record import TRACKED

REPORT_FILES = ("front.svg", "report.html", "report.md", "points.csv")


def sync(tracker: Tracker, points: Points) -> None:
    """Log every trial, as far as the store does not have it as it is now.

    The disk is the journal: beside each trial is noted which run it has, in which experiment, and what that run says. A
    trial is logged when the note is missing, of another store, or of a run that the store does not have; when the trial
    was run again with another end; and when its run is still running, so that somebody was killed while logging it.
    Nothing is asked of the store for a trial that is noted as it is: ten thousand runs take ten seconds to read.

    Raises:
        BenchError: the store refuses or has gone; what is missing is logged the next time.
    """
    try:
        tracker.tag_experiment(experiment_tags(points))
        left = _left_running(tracker, points)
        for trial in trial_runs(points):
            _sync_trial(tracker, trial, left.pop(trial.tags["key"], None))
        for run_id in left.values():  # of trials that are not part of the comparison any more
            tracker.end(run_id, "KILLED")
    except TROUBLE as error:
        raise tracker.trouble(error) from None


def _left_running(tracker: Tracker, points: Points) -> dict[str, str]:
    """The runs of this results folder that were never ended, by key of their trial."""
    running = tracker.search("attributes.status = 'RUNNING' and tags.kind = 'trial'")
    return {run.tags["key"]: run_id for run_id, run in running.items() if run.tags.get("results") == origin(points)}


def _sync_trial(tracker: Tracker, trial: TrialRun, running: str | None) -> None:
    note = read_json(trial.folder / TRACKED) or {}
    place = {"store": tracker.name, "experiment": tracker.experiment, "experiment_id": tracker.experiment_id}
    if running is None and {**place, "digest": trial.digest}.items() <= note.items():
        return
    there = tracker.find(note["run_id"]) if note.get("store") == tracker.name else None
    if there is None:
        note = {}
    elif there.deleted:
        return  # somebody threw it away
    run_id = running or note.get("run_id")
    whole = running is not None or note.get("status") != trial.tags["status"]
    started_at, ended_at = trial.times()
    run_id = run_id or tracker.start(trial.name, trial.tags, started_at)
    tracker.describe(run_id, tags=trial.tags, metrics=trial.metrics, params=trial.params)
    if whole:
        tracker.curve(run_id, trial.curve())
        tracker.upload(run_id, trial.files)
    said = {"run_id": run_id, "status": trial.tags["status"], "digest": trial.digest}
    write_json(trial.folder / TRACKED, {**place, **said})
    if whole:  # after the note: a run that is left running is looked for, one that was ended is not
        tracker.end(run_id, "FAILED" if trial.failed else "FINISHED", ended_at)


def sync_report(tracker: Tracker, points: Points) -> None:
    """One run for the report of the comparison, whose files are replaced when it has been built again.

    Raises:
        BenchError: as for ``sync``.
    """
    files = [path for name in REPORT_FILES if (path := points.folder / name).exists()]
    named = {
        **{"kind": "report", "results": origin(points), "comparison": str(points.index["identity"])},
        **{name: str(points.index[name]) for name in ("task", "preset")},
    }
    digest = _files_digest(files)
    try:
        reports = tracker.search("tags.kind = 'report'")
        run_id = next((run_id for run_id, run in reports.items() if named.items() <= run.tags.items()), None)
        if run_id is not None and reports[run_id].tags.get("digest") == digest:
            return
        run_id = run_id or tracker.start("report", named, None)
        tracker.upload(run_id, files)
        tracker.end(run_id, "FINISHED")
        # last: where it is missing, all of this is done again
        tracker.describe(run_id, tags={"digest": digest}, metrics={}, params={})
    except TROUBLE as error:
        raise tracker.trouble(error) from None


def _files_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
