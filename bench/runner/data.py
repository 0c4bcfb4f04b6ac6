"""``bench data check``: what the recordings of a task hold, before anything is trained on them."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.errors import BenchError, blaming, one_line
from bench.plugins.recordings import Inspection, Recording, SoundFacts, inspect_recordings
from bench.plugins.registry import load_task
from bench.plugins.task import SPLITS
from bench.runner.progress import Screen
from bench.runner.request import typed_fields
from bench.storage.cache import CACHE
from bench.terminal import terminal

KINDS = 8  # that a row of the table names
COLUMNS = (
    *("split", "label", "recordings", "share", "h:min:s", "seconds each", "kHz", "channels", "speakers"),
    *("in segments", "kinds"),
)


def check_data(task: str, preset: str, fields: Mapping[str, Any], results: Path, workers: int) -> None:
    """Print how much of what there is in each split, and all that speaks against training on it.

    Raises:
        BenchError: it cannot be trained on, or the task has no recordings.
    """
    kind, console = load_task(task), terminal()
    with Screen(console, kind.metric) as screen, blaming(f"task {task}"):
        chosen = kind.at(preset, cache=results / CACHE, **typed_fields(task, fields))
        recordings = chosen.recordings(workers, screen.preparing)
        if recordings is None:
            raise BenchError(f"task {task} has no recordings that could be checked: it reads no sound files")
        screen.prepared()
        found = inspect_recordings(recordings, chosen.recording_labels, workers, screen.preparing)
    _show(console, found)
    if found.problems:
        raise BenchError(f"task {task} cannot be trained on this data: mend what is listed above")
    console.print(Text(f"Task {task} can be trained on this data.", "green"))


def _show(console: Console, found: Inspection) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("split", "label", "kinds") else "right")
    heard = [(r, s) for r, s in zip(found.recordings, found.sounds, strict=True) if s.digest]
    for split in SPLITS:
        inside = [(r, s) for r, s in heard if r.split == split]
        for label in dict.fromkeys(r.label for r, _ in inside):
            table.add_row(split, label, *_row([(r, s) for r, s in inside if r.label == label], len(inside)))
    console.print(table)
    for style, lines in (("yellow", found.notes), ("red", found.problems)):
        for line in lines:
            console.print(Text(one_line(line), style), soft_wrap=True)


def _row(pairs: list[tuple[Recording, SoundFacts]], total: int) -> list[str]:
    """The cells of one class of a split."""
    seconds = [s.seconds for _, s in pairs]
    kinds = Counter(r.kind for r, _ in pairs if r.kind).most_common()
    spoken = sum(end - start for r, _ in pairs for start, end in r.segments)
    named = ", ".join(f"{kind} {count}" for kind, count in kinds[:KINDS])
    return [
        f"{len(pairs)}",
        f"{100 * len(pairs) / total:.0f} %",
        str(timedelta(seconds=round(sum(seconds)))),
        f"{min(seconds):.1f} to {max(seconds):.1f}",
        ", ".join(f"{rate / 1000:g}" for rate in sorted({s.rate for _, s in pairs})),
        ", ".join(map(str, sorted({s.channels for _, s in pairs}))),
        str(len({r.speaker for r, _ in pairs if r.speaker}) or ""),
        f"{100 * spoken / sum(seconds):.0f} %" if spoken else "",
        named + (f", … ({len(kinds)} in all)" if len(kinds) > KINDS else ""),
    ]
