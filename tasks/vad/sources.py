"""Where speech and noise come from: the embedded corpus, or VCTK and ESC-50 in folders of the user."""

import hashlib
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path

from bench import BenchError
from tasks.vad.esc50 import FOLDS, esc50_root, read_clips
from tasks.vad.mixing import Sources
from tasks.vad.vctk import check_alignment, read_utterances, speakers_of, vctk_root

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

    def identity(self) -> dict[str, str]:
        """What names them: a digest of names, kinds and sizes of all files."""
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
            alignment=self.alignment,
        )


def folders_of(data: str, noise: str, alignment: str) -> Folders | None:
    """The folders that a user has named; None for the embedded corpus, which has noise and alignment of its own."""
    if data == EMBEDDED:
        if noise or alignment:
            raise BenchError(
                "The embedded data has noise and alignment of its own: leave out noise and alignment, or name a "
                "folder with VCTK 0.92 as data."
            )
        return None
    if not noise:
        raise BenchError(
            f"Speech from {data} needs noise: name a folder with ESC-50 as the field noise (--set noise=DIR)."
        )
    return Folders(Path(data), Path(noise), Path(alignment) if alignment else None)


def check_ranges(ranges_db: object) -> None:
    """Ranges of the signal-to-noise ratio: some, each from low to high, the next one not below the one before."""
    if not isinstance(ranges_db, tuple) or not ranges_db:
        raise BenchError(f"snr_ranges_db is {ranges_db!r}: expected ranges in dB, such as ((-5, 5), (5, 15)).")
    previous = -inf
    for entry in ranges_db:
        well_formed = isinstance(entry, tuple) and len(entry) == 2 and all(isinstance(x, int | float) for x in entry)
        if not well_formed or not (previous <= entry[0] < entry[1] and isfinite(entry[0]) and isfinite(entry[1])):
            raise BenchError(
                f"snr_ranges_db has {entry!r}: expected ranges from low to high in dB, in ascending order, "
                "such as ((-5, 5), (5, 15))."
            )
        previous = entry[1]
