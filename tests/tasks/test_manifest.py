"""The table of a corpus of one's own: what is read from it, and what each mistake in it is told."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import BenchError, MethodError
from bench.trial.guard import watching
from tasks._speech.manifest import Manifest, manifest_path
from tasks.antispoof import Antispoof
from tasks.antispoof.manifest import manifest_at
from tasks.vad import Vad
from tasks.vad.manifest import Listed, segments_of
from tests.tasks.manifests import Row, antispoof_rows, vad_rows, write_corpus, write_sound, write_table
from tests.tasks.vad_folders import write_esc50


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `antispoof_rows`, which tests write tables beside."""
    return write_corpus(tmp_path_factory.mktemp("mine"), "attack", antispoof_rows()).parent


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files and the table of `vad_rows`."""
    return write_corpus(tmp_path_factory.mktemp("heard"), "segments", vad_rows())


def test_a_table_is_read(corpus: Path) -> None:
    manifest = manifest_at(write_table(corpus, "attack", antispoof_rows()))
    genuine, spoofed = manifest.recordings[1:3]
    assert genuine.path == corpus / "wav" / "train bonafide1.flac" and genuine.listed == "manifest.csv, line 3"
    assert (genuine.label, genuine.split, genuine.speaker, genuine.kind) == ("bonafide", "train", "train-1", "")
    assert (spoofed.label, spoofed.kind) == ("spoof", "A00") and manifest.key(spoofed) == "wav/train spoof0.flac"
    manifest.check()
    assert [row.path for row in manifest.of("train", "spoof")] == [row.path for row in manifest.recordings[2:4]]
    assert manifest.places() == [corpus / "manifest.csv", corpus / "wav"]


def test_a_folder_or_a_file_is_named(corpus: Path, tmp_path: Path) -> None:
    assert manifest_path(str(corpus)) == manifest_path(str(corpus / "manifest.csv")) == corpus / "manifest.csv"
    assert manifest_path("embedded") is None and manifest_path(str(tmp_path)) is None
    assert Antispoof(data=str(tmp_path)).corpora() == [tmp_path] and not Vad().corpora()
    assert Vad(data=str(tmp_path), noise=str(corpus)).corpora() == [tmp_path, corpus]


def test_what_spreadsheets_write_is_read(corpus: Path) -> None:
    """A BOM, Windows line ends, quotes, spaces, empty lines, columns in another order and further ones, a dash."""
    rows = [["﻿speaker ", "attack", "path", "note", "split", "label"]]
    for path, label, split, speaker, attack in antispoof_rows():
        rows.append([speaker, attack or "-", f'"{path}"', '"a, b"', f" {split} ", label])
    table = corpus / "spreadsheet.csv"
    table.write_bytes("\r\n".join([*map(",".join, rows), "", ""]).encode())
    plain = manifest_at(write_table(corpus, "attack", antispoof_rows())).recordings
    found = manifest_at(table).recordings
    assert [(r.path, r.label, r.split, r.speaker, r.kind, r.problem) for r in found] == [
        (r.path, r.label, r.split, r.speaker, r.kind, "") for r in plain
    ]


def test_an_attack_may_be_unknown(corpus: Path) -> None:
    rows = [(*row[:4], "") for row in antispoof_rows()]
    assert {r.kind for r in manifest_at(write_table(corpus, "attack", rows)).recordings} == {"", "unknown"}


HEADER = b"path,label,split,speaker,attack\n"
LINE = b"wav/a.flac,spoof,train,s,A01\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"has no column path, it is empty: expected a table with the columns path,label,split,speaker,attack\."),
        (HEADER, r"lists nothing: expected a line for each recording below its header"),
        (HEADER.replace(b"speaker", b"who") + LINE, r"has no column speaker, but path, label, split, who, attack"),
        (HEADER.replace(b"a", b"A") + LINE, r"has no column path, but pAth"),
        (b"path," + HEADER + LINE, r"has two columns path"),
        ((HEADER + LINE).replace(b",", b";"), r"has no column path, .* separated by ';'; separate them by commas"),
        ((HEADER + LINE).replace(b",", b"\t"), r"has no column path, .* separated by '\\t'"),
        (HEADER + LINE.replace(b"s", b"\xe9"), r"is not in UTF-8 \(.*\): save it as CSV in UTF-8"),
        ((HEADER + LINE).decode().encode("utf-16"), r"is not in UTF-8"),
        (HEADER + b'"a.wav', r"cannot be read as CSV \(unexpected end"),
        (HEADER + b"x" * 200_000, r"cannot be read as CSV \(field larger"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(BenchError, match=rf"manifest\.csv {message}"):
        Antispoof(data=str(tmp_path)).check()


def test_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"Manifest .*mine\.csv does not exist: expected a table with the columns"):
        Antispoof(data=str(tmp_path / "mine.csv")).check()
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(BenchError, match=r"Manifest .*dir\.csv is no file"):
        Vad(data=str(tmp_path / "dir.csv")).check()


def changed(line: int, **cells: str) -> Callable[[list[Row]], list[Row]]:
    """Other cells in a line of the table, counted as messages count."""

    def change(rows: list[Row]) -> list[Row]:
        names = ("path", "label", "split", "speaker", "attack")
        rows[line - 2] = tuple(cells.get(name, cell) for name, cell in zip(names, rows[line - 2], strict=True))
        return rows

    return change


def only(**cells: str) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if (row[1] if "label" in cells else row[2]) in cells.values()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(3, path=""), r"line 3: .*: it has no path"),
        (changed(3, path="/etc/passwd"), r"line 3: /etc/passwd: expected a path within .*mine\d*, relative to it"),
        (changed(3, path="wav/../../a.flac"), r"line 3: .*: expected a path within"),
        (changed(3, path="wav\\a.flac"), r"line 3: .*: write / between folders, not \\"),
        (changed(3, path="wav/none.flac"), r"line 3: .*wav/none\.flac: there is no such file"),
        (changed(3, path="wav"), r"line 3: .*wav: there is no such file"),
        (changed(3, path="x" * 5000), r"line 3: .*xxx: there is no such file"),
        (changed(3, path="a\0b"), r"line 3: .*: there is no such file|line contains NUL"),
        (changed(3, path="./wav//train bonafide0.flac"), r"line 3: .*train bonafide0\.flac: line 2 lists it already"),
        (changed(3, label="real"), r"line 3: .*: label is 'real', expected bonafide or spoof"),
        (changed(3, split="test"), r"line 3: .*: split is 'test', expected train, dev, eval"),
        (changed(3, attack="A01"), r"line 3: .*: a bona fide recording has the attack 'A01': leave it empty"),
        (changed(3, attack="A01,x"), r"line 3: .*: expected as many cells as the header has; put quotes"),
        (changed(3, speaker="x,y,z"), r"line 3: .*: expected as many cells as the header has"),
        (lambda rows: [rows[0][:2], *rows[1:]], r"line 2: .*: expected as many cells as the header has"),
        (only(label="spoof"), r"train has spoof recordings only: list some bonafide ones as well \(2 more; `bench da"),
        (only(split="train"), r"nothing is listed for dev: put some of the recordings, of other speakers, into it"),
        (lambda rows: [row for row in rows if row[2] != "eval"], r"nothing is listed for eval: put some"),
        (changed(6, speaker="train-1"), r"speaker train-1 is in train and in dev: keep each in one split"),
        (
            lambda rows: [(*row[:3], f"s{number % 4}", row[4]) for number, row in enumerate(rows)],
            r"4 speakers \(s0, s1, s2, s3\) are in train and in dev: .* \(2 more; `bench data check` lists them\)$",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    corpus: Path, change: Callable[[list[Row]], list[Row]], message: str
) -> None:
    table = write_table(corpus, "attack", change(antispoof_rows()))
    with pytest.raises(BenchError, match=message) as caught:
        Antispoof(data=str(table)).check()
    assert "\n" not in str(caught.value) and str(table) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "segments"),
    [(" ", ()), ("0-1", ((0, 1),)), ("0.35-1.2; 1.80 - 3;", ((0.35, 1.2), (1.8, 3))), (".5-1;1-2", ((0.5, 1), (1, 2)))],
)
def test_segments_are_read(text: str, segments: tuple[tuple[float, float], ...]) -> None:
    assert segments_of("speech", text) == {"segments": segments}


@pytest.mark.parametrize(
    ("label", "text", "message"),
    [
        ("speech", "1.2-0.3", "segment '1.2-0.3' ends before it begins"),
        ("speech", "1-1", "segment '1-1' ends before it begins"),
        ("speech", "0-1;0.9-2", "segment '0.9-2' begins before the end of the one before it: merge or sort them"),
        ("speech", "2-3;0-1", "segment '0-1' begins before the end"),
        ("speech", "-1-2", "segment '-1-2': expected start-end in seconds, such as 0.35-1.2;1.8-3.05"),
        ("speech", "0:01-0:02", "expected start-end in seconds"),
        ("speech", "nan-inf", "expected start-end in seconds"),
        ("speech", "0.1 0.2", "expected start-end in seconds"),
        ("noise", "0-1", "a noise has the segments '0-1': leave them empty, or call it speech"),
    ],
)
def test_segments_that_make_no_sense_are_refused(label: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segments_of(label, text)


def test_noise_may_come_from_elsewhere(listed: Path, tmp_path: Path) -> None:
    rows = [row for row in vad_rows() if row[1] == "speech"]
    speech = str(write_table(listed.parent, "segments", rows).rename(listed.parent / "speech.csv"))
    write_table(listed.parent, "segments", vad_rows())
    with pytest.raises(BenchError, match="train has speech recordings only: list some noise ones as well"):
        Vad(data=speech).check()
    noise = write_esc50(tmp_path / "esc50")
    Vad(data=speech, noise=str(noise)).check()
    sources = Listed(Path(speech), noise).read("eval", 0)
    assert len(sources.speakers) == 1 and {clip.path.name[0] for clip in sources.noises} == {"5"}
    with pytest.raises(BenchError, match="has a column for segments: leave out alignment"):
        Vad(data=speech, alignment=str(noise)).check()


def test_speech_of_nobody_known_is_not_mixed_with_that_of_others(listed: Path) -> None:
    rows = [(*row[:3], "", row[4]) for row in vad_rows()]
    table = write_table(listed.parent, "segments", rows).rename(listed.parent / "nobody.csv")
    write_table(listed.parent, "segments", vad_rows())
    assert [len(own) for own in Listed(table).read("train", 0).speakers] == [1, 1]
    assert [len(own) for own in Listed(listed).read("train", 0).speakers] == [2]


def identity(manifest: Manifest, cache: Path) -> str:
    return manifest.identity(cache)["digest"]


def test_a_corpus_is_named_by_its_lines_and_samples(tmp_path: Path) -> None:
    cache, rows = tmp_path / "cache", [(row[0].replace(".flac", ".wav"), *row[1:]) for row in antispoof_rows(1)]
    here = write_corpus(tmp_path / "here", "attack", rows)
    digest = identity(manifest_at(here), cache)
    there = Path(shutil.move(here.parent, tmp_path / "there")) / "manifest.csv"
    assert identity(manifest_at(there), cache) == digest
    write_table(there.parent, "attack", [*rows[:-1], (*rows[-1][:4], "A99")])
    relabelled = identity(manifest_at(there), cache)
    write_table(there.parent, "attack", rows)
    size = (there.parent / rows[0][0]).stat().st_size
    assert write_sound(there.parent / rows[0][0], 99).stat().st_size == size  # other samples, as many bytes
    assert len({digest, relabelled, identity(manifest_at(there), cache)}) == 3


def test_recordings_are_read_once(tmp_path: Path) -> None:
    table = write_corpus(tmp_path / "mine", "attack", antispoof_rows(1))
    digest, told = identity(manifest_at(table), tmp_path / "cache"), list[float]()
    again = manifest_at(table).identity(tmp_path / "cache", 1, lambda fraction, note: told.append(fraction))
    assert again["digest"] == digest and not told


def test_what_shows_only_in_the_files_is_refused_before_training(tmp_path: Path) -> None:
    rows = vad_rows()
    root = write_corpus(tmp_path / "mine", "segments", rows).parent
    write_table(root, "segments", [(*rows[0][:4], "0.1-0.9"), *rows[1:]])
    (root / rows[2][0]).write_bytes(b"RIFF and no more")
    task = Vad(data=str(root), cache=tmp_path / "cache")
    task.check()
    message = r"line 2: .*: a segment ends at 0\.9 s, but the recording at 0\.60 s"
    with pytest.raises(BenchError, match=rf"{message} \(1 more; `bench data check` lists them\)$"):
        task.prepare(1, lambda fraction, note: None)
    write_table(root, "segments", rows)
    with pytest.raises(BenchError, match=r"line 4: .*noise0\.wav: it cannot be read as sound, since it is empty"):
        replace(task).prepare(1, lambda fraction, note: None)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.parametrize("kind", [Antispoof, Vad])
def test_a_table_becomes_batches(kind: type[Antispoof | Vad], corpus: Path, listed: Path, tmp_path: Path) -> None:
    """From files at three rates, some in stereo, to what is trained on and scored; methods are kept from them."""
    data = write_table(corpus, "attack", antispoof_rows()) if kind is Antispoof else listed
    task = replace(kind.at("smoke", data=str(data), cache=tmp_path), batch_size=4)
    task.check()
    digest = task.prepare(1, lambda fraction, note: None)
    assert digest == kind.at("smoke", data=str(data.parent), cache=tmp_path).prepare(2, lambda fraction, note: None)
    assert task.corpora() == [data, data.parent / "wav"]
    batch, model = next(task.batches("train", 0)), task.build_model()
    assert len(batch.inputs) == 4 and torch.isfinite(task.loss(model, batch))
    with torch.no_grad():
        rates = task.evaluate(model.eval(), "eval")
    assert set(rates) == (
        {"eer_percent", "eer_percent/A00", "eer_percent/A01"}
        if kind is Antispoof
        else {"eer_percent", *(f"eer_percent/{name}" for name in ("<5 dB", "5-15 dB", "15-25 dB", ">=25 dB"))}
    )


def test_methods_are_kept_from_the_recordings(corpus: Path) -> None:
    table, beside = write_table(corpus, "attack", antispoof_rows()), corpus / "mine.py"
    beside.write_text("a method of somebody who works in this folder")
    with watching(Antispoof(data=str(table)).corpora()):
        for path in (table, corpus / "wav" / "eval spoof0.flac"):
            with pytest.raises(MethodError, match=f"touches .*{path.name}"):
                path.read_bytes()
        assert beside.read_text()


def test_segments_decide_what_is_speech(listed: Path) -> None:
    task = Vad.at("smoke", data=str(listed))
    sources = Listed(listed).read("train", 0)
    by_energy, aligned = (sources.segments(utterance) for utterance in sources.speakers[0])
    assert by_energy is None and aligned is not None and aligned.tolist() == [[0.1, 0.25], [0.3, 0.5]]
    assert [r.segments for r in task.recordings(1, lambda fraction, note: None)[:2]] == [(), ((0.1, 0.25), (0.3, 0.5))]
