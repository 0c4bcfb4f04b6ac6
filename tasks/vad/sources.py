"""Where speech and noise come from: the embedded corpus, VCTK and ESC-50 in folders, or a manifest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bench import SPLITS, BenchError, Progress, Recording
from tasks._speech.manifest import manifest_path
from tasks.vad.activity import Intervals, read_intervals
from tasks.vad.esc50 import FOLDS, esc50_root, read_clips
from tasks.vad.manifest import SPEECH, Listed, esc50_recordings
from tasks.vad.mixing import Sources
from tasks.vad.vctk import Utterance, alignment_path, check_alignment, read_utterances, speakers_of, vctk_root

#: the value of ``data`` that names no folder
EMBEDDED = "embedded"


@dataclass(frozen=True)
class Folders:
    """Speech in the layout of VCTK 0.92, noise in that of ESC-50, perhaps an alignment for every utterance."""

    speech: Path
    noise: Path
    alignment: Path | None = None

    def check(self) -> None:
        """Both corpora, and the alignment if there is one, are complete."""
        utterances = read_utterances(vctk_root(self.speech))
        read_clips(esc50_root(self.noise))
        if self.alignment is not None:
            check_alignment(self.alignment, utterances)

    def identity(
        self, cache: Path, workers: int = 1, progress: Progress = lambda fraction, note: None
    ) -> dict[str, str]:
        """What names them: a digest of names, kinds and sizes of all files, which are not opened."""
        clips = read_clips(esc50_root(self.noise))
        paths = [utterance.path for utterance in read_utterances(vctk_root(self.speech))]
        digest = hashlib.sha256()
        for clip in clips:
            digest.update(f"{clip.category} {clip.fold}\n".encode())
        for path in (*paths, *(clip.path for clip in clips)):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        if self.alignment is not None:
            for path in sorted(self.alignment.glob("*/*.txt")):
                digest.update(f"{path.name} ".encode() + path.read_bytes())
        return {"corpus": "VCTK 0.92 and ESC-50 layout", "digest": digest.hexdigest()[:32]}

    def read(self, split: str, seed: int) -> Sources:
        """Speakers and noises of ``split``; speakers are drawn by ``seed``, noises go by their fold."""
        utterances = read_utterances(vctk_root(self.speech))
        chosen = speakers_of(split, {utterance.speaker for utterance in utterances}, seed)
        return Sources(
            speakers=[[u for u in utterances if u.speaker == speaker] for speaker in chosen],
            noises=[clip for clip in read_clips(esc50_root(self.noise)) if clip.fold in FOLDS[split]],
            segments=self._segments,
        )

    def recordings(self, seed: int) -> list[Recording]:
        """All speech, its speakers divided by ``seed``, and all noises."""
        self.check()
        utterances, found = read_utterances(vctk_root(self.speech)), []
        split_of = {s: split for split in SPLITS for s in speakers_of(split, {u.speaker for u in utterances}, seed)}
        for u in utterances:
            segments = self._segments(u)
            stretches = () if segments is None else tuple(map(tuple, segments.tolist()))
            found.append(Recording(u.path, split_of[u.speaker], SPEECH, u.speaker, segments=stretches))
        return [*found, *esc50_recordings(self.noise)]

    def corpora(self) -> list[Path]:
        """What methods are kept from."""
        return [folder for folder in (self.speech, self.noise, self.alignment) if folder]

    def _segments(self, utterance: Utterance) -> Intervals | None:
        return None if self.alignment is None else read_intervals(alignment_path(self.alignment, utterance))


def corpus_of(data: str, noise: str, alignment: str) -> Folders | Listed | None:
    """What a user has named; None for the embedded corpus, which has noise and alignment of its own."""
    if data == EMBEDDED:
        if noise or alignment:
            raise BenchError(
                "The embedded data has noise and alignment of its own: leave out noise and alignment, or name a "
                "folder with VCTK 0.92 as data."
            )
        return None
    if table := manifest_path(data):
        if alignment:
            raise BenchError(f"{table} has a column for segments: leave out alignment.")
        return Listed(table, Path(noise) if noise else None)
    if not noise:
        raise BenchError(
            f"Speech from {data} needs noise: name a folder with ESC-50 as the field noise (--set noise=DIR), "
            "or list your own speech and noise in a manifest.csv there."
        )
    return Folders(Path(data), Path(noise), Path(alignment) if alignment else None)
