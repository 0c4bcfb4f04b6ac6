"""Tracking in a real PostgreSQL server: found with plain SQL, nothing lost in a crash, no password told."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bench.errors import BenchError
from bench.results.points import load_points
from bench.tracking.store import Tracker
from bench.tracking.sync import sync
from tests.servers import PostgreSQL, postgresql
from tests.written import Written

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own code


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as started:
        yield started


def rows(server: PostgreSQL, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.uri().replace("+psycopg", "")) as connection:
        return connection.execute(query).fetchall()


def write_trials(results: Path) -> Written:
    written = Written(results / "antispoof" / "quick")
    curve = [{"step": step, "loss": 1 / step, "learning_rate": 0.1} for step in (10, 20)]
    written.add("feature_noise", 0.5, 11.0, 13.0, curve=curve)
    written.add("dense", None, 10.0, 12.0, control=True, curve=curve)
    written.save()
    return written


def test_trials_are_found_with_sql_after_a_crash_too(server: PostgreSQL, tmp_path: Path) -> None:
    written = write_trials(tmp_path)
    tracker = Tracker(server.uri(), "antispoof quick", tmp_path)
    sync(tracker, load_points(written.folder))
    assert rows(server, "select name, status from runs order by name") == [
        ("dense seed 0", "FINISHED"),
        ("feature_noise 0.5 seed 0", "FINISHED"),
    ]
    scores = "select value from latest_metrics where key = 'eval_eer_percent' order by value"
    assert rows(server, scores) == [(12.0,), (13.0,)]
    found = "select r.name from runs r join tags t using (run_uuid) where t.key = 'control' and t.value = 'yes'"
    assert rows(server, found) == [("dense seed 0",)]

    server.stop()
    written.add("uniform_width", 0.5, 14.0, 15.0, control=True)
    written.save()
    for attempt in (lambda: sync(tracker, load_points(written.folder)), lambda: reopened(server, tmp_path)):
        with pytest.raises(BenchError, match=r"127\.0\.0\.1") as raised:
            attempt()
        assert server.password not in str(raised.value)
    server.start()
    sync(tracker, load_points(written.folder))
    assert rows(server, "select count(*), count(distinct name) from runs where status = 'FINISHED'") == [(3, 3)]
    assert rows(server, "select count(*) from metrics where key = 'train_loss'") == [(4,)]

    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert texts and not [text for text in texts if server.password.encode() in text]


def reopened(server: PostgreSQL, results: Path) -> Tracker:
    return Tracker(server.uri(), "antispoof quick", results)


def test_a_wrong_password_is_said_and_not_repeated(server: PostgreSQL, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="authentication failed") as raised:
        Tracker(server.uri("not the one"), "antispoof quick", tmp_path)
    assert "not the one" not in str(raised.value)
