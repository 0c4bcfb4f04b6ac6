"""Real faces in folders: LFW as it is distributed and others, how they are split, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import SPLITS, BenchError
from tasks.faces import Faces
from tasks.faces.folders import Folder, read_picture


def write_people(root: Path, counts: dict[str, int], name: str = "{who}_{number:04d}.jpg") -> Path:
    """A folder for everybody; the pictures of each have a colour of their own, and differ."""
    for position, (who, count) in enumerate(counts.items()):
        (root / who).mkdir(parents=True)
        for number in range(1, count + 1):
            shade = np.full((30, 26, 3), 10 * position + number, np.uint8)
            Image.fromarray(shade).save(root / who / name.format(who=who, number=number), quality=95)
    return root


def write_pairs(path: Path, people: list[str], sets: int, size: int) -> Path:
    """``pairs.txt`` as it is distributed: so many people a set, each pair of the same person, then of neighbours."""
    lines, each = [f"{sets}\t{size}"], len(people) // sets
    for start in range(0, sets * each, each):
        own = people[start : start + each]
        lines += [f"{own[i % each]}\t1\t2" for i in range(size)]
        lines += [f"{own[i % each]}\t1\t{own[(i + 1) % each]}\t2" for i in range(size)]
    path.write_text("\n".join(lines) + "\n")
    return path


PEOPLE = [f"Person_{chr(ord('A') + i)}" for i in range(14)]


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """Fourteen people with two pictures, and two with a single one."""
    return write_people(tmp_path / "lfw", {**dict.fromkeys(PEOPLE, 2), "Single_One": 1, "Single_Two": 1}).parent


def test_people_are_split_by_name_and_those_of_a_single_picture_left_out(lfw: Path, tmp_path: Path) -> None:
    task = Faces(data=str(lfw), pixels=16, cache=tmp_path / "cache")
    task.check()
    digest = task.prepare(2, lambda fraction, note: None)
    names = {split: task.disjoint(split)["person"] for split in SPLITS}
    assert sorted(name for own in names.values() for name in own) == PEOPLE
    assert {split: len(own) for split, own in names.items()} == {"train": 9, "dev": 2, "eval": 3}
    batch = next(task.batches("eval", 0))
    assert batch.inputs.shape == (6, 3, 16, 16)
    assert batch.targets.tolist() == [11, 11, 12, 12, 13, 13]
    shades = (127.5 * (batch.inputs + 1)).round().mean((1, 2, 3)).tolist()
    assert shades == [pytest.approx(10 * PEOPLE.index(name) + i, abs=2) for name in names["eval"] for i in (1, 2)]
    fewer = write_people(tmp_path / "again", {**dict.fromkeys(PEOPLE, 2), "Single_One": 1})
    assert Faces(data=str(fewer), pixels=16, cache=tmp_path / "cache").prepare(1, lambda f, n: None) == digest


def test_listed_pairs_decide_who_is_scored(lfw: Path, tmp_path: Path) -> None:
    write_pairs(lfw / "pairs.txt", PEOPLE[:12], sets=4, size=3)
    task = Faces(data=str(lfw / "lfw"), pixels=16, cache=tmp_path / "cache")
    task.check()
    task.prepare(1, lambda fraction, note: None)
    assert task.disjoint("dev")["person"] == tuple(PEOPLE[3:6])
    assert task.disjoint("eval")["person"] == tuple(PEOPLE[6:12])
    assert task.disjoint("train")["person"] == (*PEOPLE[:3], *PEOPLE[12:])
    items = task.item_scores(lambda x: x.flatten(1), "eval")
    assert items.labels is not None
    assert items.labels.tolist() == 2 * [1, 1, 1, 0, 0, 0]
    assert len(set(items.units.tolist())) == 2  # sets
    assert list(task.evaluate(lambda x: x.flatten(1), "eval")) == ["eer_percent"]  # nobody is ranked
    same = items.scores[items.labels == 1]
    assert same == pytest.approx(1, abs=0.2)


def test_any_folder_of_people_will_do(tmp_path: Path) -> None:
    root = write_people(tmp_path, dict.fromkeys(PEOPLE[:6], 3), "{number}.png")
    source = Folder(root, 16, 1.0)
    source.check()
    assert [len(source.people(split)) for split in SPLITS] == [2, 2, 2]
    assert source.pictures("train", 0).shape == (3, 3, 16, 16)
    before = source.identity()
    write_people(root, {"Somebody": 2})
    assert Folder(root, 16, 1.0).identity() != before != Folder(root, 16, 0.5).identity()


def test_the_middle_is_cropped(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10:30, 20:40] = (200, 100, 50)
    Image.fromarray(picture).save(tmp_path / "middle.png")
    inner = read_picture(tmp_path / "middle.png", 8, 0.5)[:, 1:-1, 1:-1]  # the filter looks a little beyond the edge
    assert inner.tolist() == [[[own] * 6] * 6 for own in (200, 100, 50)]
    assert (read_picture(tmp_path / "middle.png", 8, 1.0)[:, 0] == 0).all()


def no_picture(root: Path) -> None:
    (root / PEOPLE[0] / "broken.jpg").write_text("no picture")


def half_a_picture(root: Path) -> None:
    whole = (root / PEOPLE[0] / f"{PEOPLE[0]}_0001.jpg").read_bytes()
    (root / PEOPLE[0] / "half.jpg").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (no_picture, "broken.jpg cannot be read as a picture"),
        (half_a_picture, "half.jpg cannot be read as a picture"),
        (lambda root: (root / "Empty").mkdir(), "Empty holds no picture"),
        (lambda root: write_people(root, {"Alone": 1}, "x.jpg"), r"Alone/x.jpg is the only picture of 'Alone'"),
        (lambda root: write_pairs(root / "pairs.txt", PEOPLE[:3], 3, 1), "pairs.txt begins with '3"),
        (lambda root: (root / "pairs.txt").write_text(""), "pairs.txt begins with ''"),
        (lambda root: (root / "pairs.txt").write_bytes(b"\xff\xfe"), "pairs.txt begins with"),
        (
            lambda root: write_pairs(root / "pairs.txt", [*PEOPLE[:11], "X"], 4, 3),
            "line 22: 'X.* names no two pictures",
        ),
        (lambda root: write_pairs(root / "pairs.txt", PEOPLE[2:14], 4, 3), ""),
        (
            lambda root: write_pairs(root / "pairs.txt", [*PEOPLE[:5], *PEOPLE, PEOPLE[0]], 4, 5),
            "leaves 0 people to train",
        ),
    ],
)
def test_what_is_wrong_is_named(spoil: Callable[[Path], object], named: str, tmp_path: Path) -> None:
    root = write_people(tmp_path / "mine", dict.fromkeys(PEOPLE, 2))
    spoil(root)
    task = Faces(data=str(root), pixels=16, cache=tmp_path / "cache")
    if not named:
        task.check()
        return
    with pytest.raises(BenchError, match=named) as error:
        task.check()
        task.prepare(2, lambda fraction, note: None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("people", [0, 1, 5])
def test_too_few_people_are_refused(people: int, tmp_path: Path) -> None:
    write_people(tmp_path / "few", dict.fromkeys(PEOPLE[:people], 2)).mkdir(exist_ok=True)
    with pytest.raises(BenchError, match="few is empty" if not people else f"few has {people} people"):
        Faces(data=str(tmp_path / "few")).check()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"data": "nowhere"}, "nowhere does not exist"),
        ({"data": __file__}, "is a file"),
        ({"model": "resnet99"}, "no model 'resnet99'; there are: resnet10"),
        ({"margin": 2.0}, "margin is 2.0, expected 0 to 1.5"),
        ({"crop": 0.0}, "crop is 0.0"),
        ({"pixels": 4}, "pixels is 4"),
        ({"corpus_seed": -1}, "corpus_seed -1"),
        ({"people": (1, 4, 4)}, "of 1 people in train"),
        ({"pictures": (4, 1, 4)}, "1 pictures of 160 people in dev"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(BenchError, match=named):
        Faces(**fields).check()  # type: ignore[arg-type]
