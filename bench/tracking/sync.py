"""Bringing the store up to date with what lies on disk: what is missing is logged, what is there is left alone."""

import hashlib
from pathlib import Path

from bench.files import read_json, write_json
from bench.points import TRACKED, Points
from bench.tracking.store import TROUBLE, KnownRun, Tracker
from bench.tracking.trials import TrialRun, origin, trial_runs
from bench.tracking.view import experiment_tags

REPORT_FILES = ("front.svg", "report.html", "report.md", "points.csv")


def sync(tracker: Tracker, points: Points) -> None:
    """Log every trial and the report, as far as the store does not have them as they are now.

    The disk is the journal: beside each trial is noted which run it has and what that run says. A trial is logged
    when the note is missing, of another store, or of a run that the store does not have; when the trial was run again
    with another end; and when its run is still running, so that somebody was killed while logging it.

    Raises:
        BenchError: the store refuses or has gone; what is missing is logged the next time.
    """
    try:
        tracker.tag_experiment(experiment_tags(points))
        left = _left_running(tracker.runs, points)
        for trial in trial_runs(points):
            _sync_trial(tracker, trial, left.pop(trial.tags["key"], None))
        for run_id in left.values():  # of trials that are not part of the comparison any more
            tracker.end(run_id, "KILLED")
        _sync_report(tracker, points)
    except TROUBLE as error:
        raise tracker.trouble(error) from None


def _left_running(known: dict[str, KnownRun], points: Points) -> dict[str, str]:
    """The runs of this results folder that were never ended, by key of their trial."""
    own = {run_id: run.tags for run_id, run in known.items() if run.running and not run.deleted}
    return {
        tags["key"]: run_id
        for run_id, tags in own.items()
        if tags.get("kind") == "trial" and tags.get("results") == origin(points)
    }


def _sync_trial(tracker: Tracker, trial: TrialRun, running: str | None) -> None:
    note, known = read_json(trial.folder / TRACKED) or {}, tracker.runs
    if note.get("store") != tracker.name or note.get("run_id") not in known:
        note = {}
    if "run_id" in note and known[note["run_id"]].deleted:
        return  # somebody threw it away
    run_id = running or note.get("run_id")
    whole = running is not None or note.get("status") != trial.tags["status"]
    if not whole and note.get("digest") == trial.digest:
        return
    started_at, ended_at = trial.times()
    run_id = run_id or tracker.start(trial.name, trial.tags, started_at)
    tracker.describe(run_id, tags=trial.tags, metrics=trial.metrics, params=trial.params)
    if whole:
        tracker.curve(run_id, trial.curve())
        tracker.upload(run_id, trial.files)
    write_json(
        trial.folder / TRACKED,
        {
            "store": tracker.name,
            "experiment_id": tracker.experiment_id,
            "run_id": run_id,
            "status": trial.tags["status"],
            "digest": trial.digest,
        },
    )
    if whole:  # after the note: a run that is left running is looked for, one that was ended is not
        tracker.end(run_id, "FAILED" if trial.failed else "FINISHED", ended_at)


def _sync_report(tracker: Tracker, points: Points) -> None:
    """One run for the report of the comparison, whose files are replaced when it has been built again."""
    files = [path for name in REPORT_FILES if (path := points.folder / name).exists()]
    if not files:
        return
    named = {
        **{"kind": "report", "results": origin(points), "comparison": str(points.index["identity"])},
        **{name: str(points.index[name]) for name in ("task", "preset")},
    }
    same = [run_id for run_id, run in tracker.runs.items() if not run.deleted and named.items() <= run.tags.items()]
    digest = _files_digest(files)
    if same and tracker.runs[same[0]].tags.get("digest") == digest:
        return
    run_id = same[0] if same else tracker.start("report", named, None)
    tracker.upload(run_id, files)
    tracker.end(run_id, "FINISHED")
    # last: where it is missing, all of this is done again
    tracker.describe(run_id, tags={"digest": digest}, metrics={}, params={})


def _files_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
