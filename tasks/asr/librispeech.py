"""LibriSpeech on disk, as it is distributed: FLAC files and their transcripts by speaker and chapter.

Panayotov et al. (2015), https://www.openslr.org/12. The embedded corpus is written in the same layout.
"""

from collections.abc import Mapping
from pathlib import Path

from bench import BenchError
from tasks.asr.utterance import Utterance

FOLDERS = {"train": "train-clean-100", "dev": "dev-clean", "eval": "test-clean"}
LAYOUT = "train-clean-100/103/1240/103-1240-0000.flac, 103-1240.trans.txt and so on, dev-clean and test-clean likewise"


def librispeech_root(folder: Path) -> Path:
    """``folder``, or its child ``LibriSpeech`` as the archives unpack, whichever holds the three splits."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise BenchError(f"Corpus folder {folder} {problem}: expected the folder that holds {LAYOUT}.")
    root = folder / "LibriSpeech" if (folder / "LibriSpeech").is_dir() else folder
    for name in FOLDERS.values():
        if not (root / name).is_dir():
            raise BenchError(
                f"{root} is no LibriSpeech corpus: it has no {name}/; expected {LAYOUT}. "
                f"Unpack {name}.tar.gz there, too; a corpus of your own may have the same layout."
            )
    return root


def read_librispeech(root: Path, split: str) -> list[Utterance]:
    """All utterances of a split, by name.

    Raises:
        BenchError: a chapter has no transcripts, a recording none or no words, or a transcript no recording.
    """
    folder = librispeech_root(root) / FOLDERS[split]
    chapters = sorted(path for path in folder.glob("*/*") if path.is_dir())
    utterances = [utterance for chapter in chapters for utterance in _chapter(chapter)]
    if not utterances:
        raise BenchError(f"{folder} has no recordings: expected {LAYOUT}. Unpack {folder.name}.tar.gz again.")
    return utterances


def transcripts_path(chapter: Path) -> Path:
    """Where the transcripts of a chapter lie."""
    return chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"


def write_transcripts(chapter: Path, words: Mapping[str, tuple[str, ...]]) -> None:
    """Write the words of each utterance of a chapter where :func:`read_librispeech` looks for them."""
    lines = "".join(f"{key} {' '.join(said)}\n" for key, said in sorted(words.items()))
    transcripts_path(chapter).write_text(lines, encoding="utf-8")


def _chapter(chapter: Path) -> list[Utterance]:
    path, recordings = transcripts_path(chapter), {audio.stem: audio for audio in chapter.glob("*.flac")}
    if not path.is_file():
        raise BenchError(f"Transcripts {path} are missing: expected a line 'KEY WORDS' for each of the recordings.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"Transcripts {path} cannot be read as text: {error}.") from error
    said = {key: tuple(words) for key, *words in (line.split() for line in lines if line.strip())}
    for key in sorted({*said} ^ {*recordings}):
        there, missing = ("a line", f"recording {key}.flac") if key in said else ("a recording", f"line in {path}")
        raise BenchError(f"{chapter / key} has {there} but no {missing}: unpack the chapter again, or remove it.")
    for key, words in said.items():
        if not words:
            raise BenchError(f"{path}: utterance {key} has no words; expected 'KEY WORDS'.")
    speaker = chapter.parent.name
    return [Utterance(key, speaker, said[key], (recordings[key],), path) for key in sorted(said)]
