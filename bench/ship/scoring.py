"""``bench score``: an exported model on recordings, a file or whole folders, or on arrays of what the network takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from rich.table import Column, Table

from bench.errors import BenchError, said
from bench.export.model import OnnxModel
from bench.plugins.sounds import read_sound
from bench.ship import SCORER
from bench.ship.scorer import FACTS, INPUT
from bench.storage.files import write_whole
from bench.terminal import terminal
from bench.trial.record import MODEL

ARRAY = ".npy"


class Scorer:
    """A model that scores files.

    Args:
        path: folder that ``bench export`` has written, or an ONNX file in it.

    Attributes:
        facts: by ``FACTS``, what a scorer says of itself; empty for a model that takes arrays.

    Raises:
        BenchError: there is no such model.
    """

    def __init__(self, path: Path) -> None:
        file = next((path / name for name in (SCORER, MODEL) if (path / name).exists()), path)
        if not file.is_file():
            raise BenchError(f"no model in {path}: expected a folder that `bench export` has written, or its {SCORER}")
        try:
            self._session = OnnxModel(file.read_bytes()).session()
        except Exception as error:  # ONNX Runtime has types of its own for each reason
            raise BenchError(f"{file} is no ONNX model that ONNX Runtime can load: {said(error)}") from error
        self._quiet = onnxruntime.RunOptions()
        self._quiet.log_severity_level = 4  # what does not fit is said once, by us
        said_of_it = self._session.get_modelmeta().custom_metadata_map
        known = {name: int(said_of_it[name]) for name in FACTS if said_of_it.get(name, "").isdigit()}
        self.path, self.facts = file, known if len(known) == len(FACTS) else {}
        self.remarks: Counter[str] = Counter()  # what has been done to recordings
        self.suffixes = _sound_suffixes() if self.facts else {ARRAY}

    def rows(self, path: Path) -> pd.DataFrame:
        """The scores of a file: file, second and score of each; for an array: file, row and its outputs.

        Raises:
            BenchError: the file cannot be read, or is not what the model takes.
        """
        if not self.facts:
            return self._array_rows(path)
        if path.suffix.lower() == ARRAY:
            raise BenchError(f"{path} is an array, but {self.path} takes recordings; arrays are for {MODEL} beside it")
        rate, shortest, step = (self.facts[name] for name in FACTS)
        sound = read_sound(path, rate)
        if len(sound.samples) < shortest:
            lasts = f"{1000 * len(sound.samples) / rate:g} ms"
            raise BenchError(f"{path} is too short: it lasts {lasts}, expected at least {1000 * shortest / rate:g} ms")
        scores = self._run({INPUT: sound.samples}, path)
        self.remarks[f"resampled to {rate} Hz"] += sound.rate != rate
        self.remarks["made one channel, the mean of all"] += sound.channels > 1
        first = (len(sound.samples) // step - len(scores)) // 2 if step else 0  # convolutions may lose both ends
        return pd.DataFrame(
            {"file": str(path), "second": (np.arange(len(scores)) + first) * step / rate, "score": scores}
        )

    def _array_rows(self, path: Path) -> pd.DataFrame:
        if path.suffix.lower() != ARRAY:
            raise BenchError(f"{path}: {self.path} takes arrays ({ARRAY}) of what the network takes, and no recordings")
        try:
            inputs = np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise BenchError(f"{path} cannot be read as an array: {said(error)}") from error
        outputs = self._run({"input": inputs}, path)
        columns = outputs.reshape(len(outputs), -1)
        named = {f"output {n}": columns[:, n] for n in range(columns.shape[1])}
        return pd.DataFrame({"file": str(path), "row": range(len(columns)), **named})

    def _run(self, inputs: dict[str, Any], path: Path) -> np.ndarray:
        try:
            outputs = np.atleast_1d(self._session.run(None, inputs, self._quiet)[0])
        except Exception as error:
            raise BenchError(f"{path} does not fit {self.path}: {said(error)}") from error
        if not np.isfinite(outputs).all():
            raise BenchError(f"{path} gives scores that are not finite: are its samples?")
        return outputs


def score_files(model: Path, paths: Sequence[Path], output: Path | None) -> None:
    """Score files, and all files in folders, and print a table or write a CSV file; what cannot be scored is named.

    Raises:
        BenchError: there is nothing to score, or some files could not be scored; the others have been.
    """
    scorer, found, broken = Scorer(model), [], []
    files = [file for path in paths for file in _files(path, scorer)]
    for file in files:
        try:
            found.append(scorer.rows(file))
        except BenchError as error:
            broken.append(str(error))
    if found and output is not None:
        write_whole(output, pd.concat(found).to_csv(index=False))
        terminal().print(f"scores of {len(found)} of {len(files)} files written to {output}", soft_wrap=True)
    elif found:
        terminal().print(_table(found))
    for done, count in scorer.remarks.items():
        if count:
            terminal().print(f"{count} of {len(files)} files: {done}, as in training")
    if broken:
        others = "; ".join(broken[1:4]) + (" …" if len(broken) > 4 else "")
        more = f" ({len(broken)} of {len(files)} files could not be scored: also {others})" if others else ""
        raise BenchError(broken[0] + more)


def _files(path: Path, scorer: Scorer) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BenchError(f"{path} does not exist: expected a recording, or a folder of them")
    if found := sorted(file for file in path.rglob("*") if file.suffix.lower() in scorer.suffixes and file.is_file()):
        return found
    raise BenchError(f"no file in {path} can be scored by {scorer.path}: expected {', '.join(sorted(scorer.suffixes))}")


def _sound_suffixes() -> set[str]:
    import soundfile

    return {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}


def _table(found: list[pd.DataFrame]) -> Table:
    """One line a file: its score, or of several their number and mean; arrays line by line."""
    name, arrays = Column("file", overflow="fold"), "score" not in found[0]  # a name that is cut off names nothing
    several = any(len(rows) > 1 for rows in found)
    heads = ("row", "outputs") if arrays else ("scores", "mean score", "above 0") if several else ("score",)
    table = Table(name, *heads, box=None)
    for rows in found:
        file = str(rows["file"].iloc[0])
        if arrays:
            for _, row, *outputs in rows.itertuples(index=False):
                table.add_row(file, str(row), " ".join(f"{output:.6g}" for output in outputs))
        else:
            mean, above = f"{rows['score'].mean():.6f}", f"{(rows['score'] > 0).mean():.1%}"
            table.add_row(file, *((str(len(rows)), mean, above) if several else (mean,)))
    return table
