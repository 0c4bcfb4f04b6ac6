"""The data of a task is the same however many workers make it, and is named by what is in it."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.trial.setting import Setting, TrialSpec
from tasks.antispoof import Antispoof
from tasks.antispoof.asvspoof import BONAFIDE, SPLITS, Utterance, audio_path, write_protocol
from tasks.synthetic import Synthetic
from tasks.vad import Vad
from tests.tasks.vad_folders import write_esc50, write_vctk

#: makes small corpora in two fresh folders, with one worker and with two; prints their digests. What anti-spoofing
#: makes is compared by ``tests/commands/test_run.py``, whose trials are named by it.
MAKING = """
import json, sys
from pathlib import Path
from tasks.vad import Vad

shown = {}
for workers in (1, 2):
    cache = Path(sys.argv[1]) / str(workers)
    task = Vad(speakers=4, utterances=1, noises=1, mixtures=(6, 4, 4), cache=cache)
    shown[workers] = task.prepare(workers, lambda fraction, note: None)
print(json.dumps(shown))
"""


def files(root: Path) -> dict[str, bytes]:
    """What cached folders hold, but for when and from what they were made."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "files.json"
    }


def test_one_worker_makes_the_same_data_as_two(tmp_path: Path) -> None:
    """In a process that may use several threads for linear algebra, as that of ``bench run``."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if platform.machine() == "x86_64":  # here OpenBLAS sums in another order with two threads than with one
        environment["OPENBLAS_CORETYPE"] = "Haswell"
    command = [sys.executable, "-c", MAKING, str(tmp_path)]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=240)
    one, two = json.loads(made.stdout).values()
    first, second = files(tmp_path / "1"), files(tmp_path / "2")
    assert [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)] == []
    assert len(first) > 50
    assert one == two


def write_asvspoof(root: Path) -> Path:
    """Two utterances of noise a split."""
    rng = np.random.default_rng(0)
    for split in SPLITS:
        rows = [
            Utterance(f"LA_{split}_{number}", "LA_0001", attack, attack == BONAFIDE, root)
            for number, attack in enumerate((BONAFIDE, "A01"))
        ]
        write_protocol(root, split, rows)
        for row in rows:
            path = audio_path(root, split, row.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.integers(-3000, 3000, 8000).astype(np.int16), 16_000, subtype="PCM_16")
    return root


def change_one_sample(path: Path) -> None:
    samples, rate = soundfile.read(path, dtype="int16")
    samples[len(samples) // 2] ^= 1 << 12
    soundfile.write(path, samples, rate, subtype="PCM_16")


def digest_of(task: Antispoof | Vad, cache: Path) -> str:
    return replace(task, cache=cache).prepare(2, lambda fraction, note: None)


@pytest.mark.parametrize("split", SPLITS)
def test_antispoofing_data_is_named_by_what_is_in_it(tmp_path: Path, split: str) -> None:
    here = write_asvspoof(tmp_path / "here")
    there = Path(shutil.copytree(here, tmp_path / "there"))
    digest = digest_of(Antispoof(data=str(here)), tmp_path / "one")
    assert digest_of(Antispoof(data=str(there), width=4), tmp_path / "two") == digest
    change_one_sample(audio_path(there, split, f"LA_{split}_1"))
    assert digest_of(Antispoof(data=str(there)), tmp_path / "three") != digest


def test_a_corpus_that_was_moved_is_the_same_one(tmp_path: Path) -> None:
    here, there = (Setting("antispoof", "smoke", {"data": str(tmp_path / name)}, "c", "d") for name in "ab")
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").touch()
    keys = {TrialSpec(setting, "dense", {}, 0).key for setting in (here, there)}
    assert len(keys) == 1 and here.made_from["fields"]["data"] == "data on disk"
    assert TrialSpec(replace(there, data_digest="e"), "dense", {}, 0).key not in keys
    table = replace(here, fields={"data": str(tmp_path / "a" / "manifest.csv")})
    assert TrialSpec(table, "dense", {}, 0).key in keys
    undigested = {TrialSpec(replace(setting, data_digest=""), "dense", {}, 0).key for setting in (here, there)}
    assert len(undigested) == 2  # nobody knows what is in them


def test_voice_activity_data_is_named_by_what_is_in_it(tmp_path: Path) -> None:
    def task(root: Path) -> Vad:
        return Vad(data=str(root / "speech"), noise=str(root / "noise"), mixtures=(8, 8, 8), seconds=2.0, size="tiny")

    here, there = tmp_path / "here", tmp_path / "there"
    write_vctk(here / "speech")
    write_esc50(here / "noise")
    shutil.copytree(here, there)
    digest = digest_of(task(here), tmp_path / "one")
    assert digest_of(task(there), tmp_path / "two") == digest
    for path in (there / "noise").rglob("5-*.wav"):  # of eval alone
        change_one_sample(path)
    assert digest_of(task(there), tmp_path / "three") != digest


def test_synthetic_data_is_named_by_what_it_follows_from() -> None:
    tasks = [Synthetic(), Synthetic(problem="nonlinear"), Synthetic(problem_seed=1), Synthetic(scored=4096)]
    digests = [task.prepare(1, lambda fraction, note: None) for task in (*tasks, Synthetic(batch_size=7))]
    assert len(set(digests)) == 4
    assert digests[-1] == digests[0]
