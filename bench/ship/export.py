"""The folder that somebody takes home: the delivered files, one that scores recordings, a card and a script."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError, blaming, did_you_mean
from bench.export import STREAM
from bench.export.model import OnnxModel
from bench.export.streaming import Stream
from bench.plugins.fields import parse_settings
from bench.plugins.own_model import with_own_models
from bench.plugins.registry import load_task
from bench.plugins.sounds import SoundScoring
from bench.plugins.task import Task
from bench.report.document import render_markdown
from bench.ship import CARD, SCORER, SCRIPT, script
from bench.ship.card import card_sections
from bench.ship.pick import Choice
from bench.ship.scorer import difference, scorer_of
from bench.storage.cache import CACHE, borrowed
from bench.storage.files import write_whole
from bench.trial.record import MODEL, MODEL_FILES, TrialFolder
from bench.trial.setting import ON_DISK

FILES = (*MODEL_FILES, SCORER, CARD, SCRIPT)
CLOSE = 1e-5  # of two scores that are the same


def write_export(choice: Choice, folder: Path | None, fields: Mapping[str, Any]) -> Path:
    """Write a model with all that using it takes.

    Args:
        choice: which.
        folder: where to; by default one in the working folder, named by task, method, budget and seed.
        fields: of the task, where results do not say them: folders of corpora.

    Returns:
        The folder.

    Raises:
        BenchError: the model has changed since its audit, its task cannot be set up, or the folder holds other files.
    """
    files = TrialFolder.of(choice.points.folder, choice.key)
    if (record := files.record()) is None or (changed := files.changed_file(record)):
        what = "its record is damaged" if record is None else f"{changed} is not the file that was audited"
        raise BenchError(f"trial {choice.key} cannot be exported, as {what}: run the comparison again")
    folder = folder or Path(_file_name(choice))
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {*FILES}):
        raise BenchError(f"{folder} exists and holds other files: name another folder with --to")
    model = OnnxModel(files.model_path.read_bytes())
    recordings = sound_scoring_of(choice, fields)
    scorer = recordings and scorer_of(model, recordings, choice.points.index["task"])
    usage = {MODEL: f"the model as it was audited and measured: {_ends(model)}"}
    if recordings and scorer:
        usage |= _scoring(recordings, difference(scorer, model, recordings))
    if STREAM in (record.files or {}):
        usage[STREAM] = _streaming(OnnxModel((files.path / STREAM).read_bytes()))
    usage[SCRIPT] = f"scores files with ONNX Runtime alone: python {SCRIPT} FILE; likewise: bench score {folder} FILE"
    usage |= {f"SHA-256 of {name}": digest for name, digest in (record.files or {}).items()}
    card = render_markdown(card_sections(choice, usage))
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:  # of an earlier export
        (folder / name).unlink(missing_ok=True)
    for name in record.files or {}:
        shutil.copyfile(files.path / name, folder / name)
    if scorer:
        write_whole(folder / SCORER, scorer.data)
    shutil.copyfile(script.__file__, folder / SCRIPT)
    write_whole(folder / CARD, card)
    return folder


def _ends(model: OnnxModel) -> str:
    """What goes in and what comes out, by name; the last axis of what goes in is as long as a recording may be."""
    session, words = model.session(), {"batch": "examples", "time": "length"}
    ends = [("in", end) for end in session.get_inputs()] + [("out", end) for end in session.get_outputs()]
    shapes = [", ".join(words.get(size, str(size)) for size in end.shape) for _, end in ends]
    return "; ".join(f"{way}: {end.name}, ({shape})" for (way, end), shape in zip(ends, shapes, strict=True))


def sound_scoring_of(choice: Choice, fields: Mapping[str, Any]) -> SoundScoring | None:
    """How the task of a model scores recordings, with the very data that the model was trained on; None if it does not.

    Raises:
        BenchError: the data are not there, or are others; the message says how to name them.
    """
    index = choice.points.index
    kind = load_task(index["task"])
    if kind.sound_scoring is Task.sound_scoring:
        return None
    with borrowed(choice.points.folder.parent.parent / CACHE) as cache, blaming(f"task {index['task']}"):
        task = _task_of(choice, fields, cache)
        task.check()
        if (digest := task.prepare(1, lambda fraction, note: None)) != index["setting"].get("data"):
            raise BenchError(
                f"{index['task']}: these are not the data that the model was trained on (digest {digest}, expected "
                f"{index['setting'].get('data')}): name the folder with --data"
            )
        return task.sound_scoring()


def _task_of(choice: Choice, given: Mapping[str, Any], cache: Path) -> Task:
    """The task with the fields that its index has as texts; the user says those that are folders."""
    index = choice.points.index
    kind = load_task(index["task"])
    usual = kind.at(index["preset"]).identity()
    fields, trained = dict(given), index["setting"]["fields"]
    for name, value in given.items():
        if name not in trained:
            raise BenchError(f"task {index['task']} has no field {name!r}{did_you_mean(name, trained)}")
        if os.sep not in trained[name] and trained[name] not in (ON_DISK, str(value)):
            raise BenchError(
                f"--set {name}={value}: the model was trained with {trained[name]}, and folders alone move"
            )
    for name, text in trained.items():
        if name not in usual:
            raise BenchError(f"task {index['task']} has no field {name!r} any more, with which the model was trained")
        if name in fields or str(usual[name]) == text:
            continue
        if text == ON_DISK:
            option = "--data DIR" if name == "data" else f"--set {name}=DIR"
            raise BenchError(f"{index['task']} was trained on a corpus of yours: name its folder again, {option}")
        value = parse_settings([f"{name}={text}"], where="comparison.json", example="width=16")[name]
        fields[name] = text if isinstance(usual[name], str) else value
    return with_own_models(kind.at(index["preset"], cache=cache, **fields))


def _scoring(recordings: SoundScoring, apart: float) -> dict[str, str]:
    rate, shortest = recordings.sample_rate, recordings.shortest / recordings.sample_rate
    each = f"one every {1000 * recordings.step / rate:g} ms" if recordings.step else "one a recording"
    same = "no difference" if not apart else f"a difference of {apart:.1g}"
    warning = "" if apart < CLOSE else "; more than rounding explains, so compare scores before you rely on it"
    return {
        SCORER: f"the same behind the features of the task: recording, float64 in [-1, 1], (samples,), at {rate} Hz, "
        f"at least {shortest:g} s; scores, {each}: {recordings.meaning}",
        "checked": f"{same} between its scores and those of the task's own features and {MODEL}, on noise{warning}",
    }


def _streaming(model: OnnxModel) -> str:
    stream = Stream(model)
    states = ", ".join(f"{name} {state.shape}".replace(",)", ")") for name, state in stream.states.items())
    return (
        f"the same, chunk by chunk: input and {len(stream.states)} states in, output and the next states out, in the "
        f"same order; the first chunk has at least {stream.first_chunk} frame(s), and before it all states are zeros: "
        f"{states}. Checked: chunks of several lengths give what {MODEL} gives, to 1e-4"
    )


def _file_name(choice: Choice) -> str:
    row, index = choice.row, choice.points.index
    budget = [f"{row['budget']:g}"] if row["budget"] == row["budget"] and row["budget"] else []
    parts = [index["task"], row["method"], *budget, f"seed{row['seed']}"]
    return re.sub(r"[^\w.+-]", "_", "-".join(parts))
