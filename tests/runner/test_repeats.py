"""The chosen points are trained with the other seeds, in an order that leaves no processor idle at the end."""

from bench.plugins.registry import load_method_spec
from bench.runner.planned import PlannedTrial, repeats
from bench.trial.record import TrialRecord
from bench.trial.setting import Setting, TrialSpec


def trial(method: str, record: TrialRecord | None) -> PlannedTrial:
    spec = load_method_spec(method)
    return PlannedTrial(spec, 3, TrialSpec(Setting("synthetic", "smoke"), method, {}, 0), "search", record)


def test_what_takes_longest_begins_first_with_every_other_seed() -> None:
    quick, slow = (TrialRecord("complete", cpu_s=cpu_s) for cpu_s in (2.0, 19.0))
    found = repeats([trial("random_pruning", quick), trial("rigl", None), trial("dense", slow)], [], seeds=3)
    assert [one.method_spec.name for one in found] == [*["dense"] * 2, *["random_pruning"] * 2, *["rigl"] * 2]
    assert [one.spec.seed for one in found] == [1, 2] * 3
    assert all((one.number, one.role, one.record) == (3, "repeat", None) for one in found)


def test_what_was_declined_is_not_asked_again() -> None:
    declined, failed = TrialRecord("declined", "no"), TrialRecord("failed", "out of memory", retry=True)
    assert [one.method_spec.name for one in repeats([trial("rigl", declined), trial("dense", failed)], [], 2)] == [
        "dense"
    ]
