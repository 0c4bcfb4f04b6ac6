"""A model of one's own by the option --model: built, named by its source, refused in one line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.check import check_own_model
from bench.errors import BenchError
from bench.plugins.own_model import dense_model
from bench.trial.setting import Setting
from tasks.antispoof import Antispoof
from tasks.vad import Vad

SOURCE = """
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.front, self.head = weight_norm(nn.Conv1d(80, 8, 3)), nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.front(x).relu().mean(-1))

class Pair(Net):
    def forward(self, x):
        return super().forward(x), x

class Branching(Net):
    def forward(self, x):
        y = super().forward(x)
        return y if x.mean() > 0 else 3 * y

def build():
    return Net()

def three():
    return Net(3)

def number():
    return 7

def broken():
    raise ValueError("no weights")

def narrow():
    return nn.Sequential(nn.Conv1d(7, 2, 3), nn.Flatten())

class One(Net):
    def forward(self, x):
        return super().forward(x).view(1, 2)

class Flat(Net):
    def forward(self, x):
        return super().forward(x)[:, 0]

class First(Net):
    def forward(self, x):
        return super().forward(x)[:1]
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    bands = Antispoof().example_input().shape[1]
    (path := tmp_path / "mine.py").write_text(SOURCE.replace("80", str(bands)))
    return path


def task(source: Path, function: str) -> Antispoof:
    return Antispoof(model=f"{source}:{function}")


def test_the_model_of_a_file_takes_the_place_of_the_tasks(source: Path) -> None:
    check_own_model(task(source, "build"))
    model = dense_model(task(source, "build"))
    assert type(model).__name__ == "Net"
    assert "front.weight" in dict(model.named_parameters())  # weight norm is folded


def test_the_model_of_a_module_is_found(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(source.parent)
    own = Antispoof(model="mine:build")
    assert type(dense_model(own)).__name__ == "Net"
    before = Setting("antispoof", "smoke", {"model": "mine:build"}).made_from["model_code"]
    source.write_text(source.read_text().replace("relu", "tanh"))
    assert Setting("antispoof", "smoke", {"model": "mine:build"}).made_from["model_code"] != before


def test_the_source_of_the_model_names_the_trial(source: Path) -> None:
    setting = {"model": f"{source}:build"}
    before = Setting("antispoof", "smoke", setting).made_from
    source.write_text(source.read_text() + "\n# another version\n")
    assert Setting("antispoof", "smoke", setting).made_from["model_code"] != before["model_code"]
    assert "model_code" not in Setting("antispoof", "smoke").made_from


def digest(source: Path) -> str:
    return str(Setting("antispoof", "smoke", {"model": f"{source}:build"}).made_from["model_code"])


def test_what_a_model_imports_from_beside_it_names_the_trial(source: Path) -> None:
    (beside := source.with_name("my_blocks.py")).write_text("WIDTH = 2\n")
    source.write_text("from my_blocks import WIDTH\n" + source.read_text().replace("Net()", "Net(WIDTH)"))
    check_own_model(task(source, "build"))
    before = digest(source)
    beside.write_text("WIDTH = 2  # another version\n")
    assert digest(source) != before


@pytest.mark.parametrize("name", ['Path(__file__).with_name("start.safetensors")', "'start.safetensors'"])
def test_the_checkpoint_that_a_model_begins_with_names_the_trial(
    name: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    loading = f"m = Net(); m.head.load_state_dict(load_file({name})); return m"
    imports = "from pathlib import Path\nfrom safetensors.torch import load_file\n"
    source.write_text(imports + source.read_text().replace("return Net()", loading))
    save_file({"weight": torch.ones(2, 8), "bias": torch.zeros(2)}, "start.safetensors")
    assert dense_model(task(source, "build")).get_parameter("head.weight").eq(1).all()
    before = digest(source)
    save_file({"weight": torch.zeros(2, 8), "bias": torch.zeros(2)}, "start.safetensors")
    assert digest(source) != before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("biuld", r"has no function 'biuld' \(did you mean 'build'\?\)"),
        ("number", "returns a int, expected a torch.nn.Module"),
        ("broken", "fails: ValueError: no weights"),
        ("Pair", r"returns a tuple, expected one tensor of shape \(2, 2\)"),
        ("three", r"outputs of shape \(2, 3\), expected \(2, 2\)"),
        ("Flat", r"outputs of shape \(2,\), expected \(2, 2\)"),
        ("narrow", r"does not take one example of this task, of shape \(1, 60, 100\) .*: wrap it in"),
        ("One", "takes one example but not two, .*: it fixes its batch size; reshape by"),
        ("First", r"of shape \(1, 2\), expected \(2, 2\); it fixes its batch size"),
        ("Branching", "control flow depends on values"),
    ],
)
def test_what_is_no_model_of_the_task_is_refused(source: Path, function: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        check_own_model(task(source, function))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:build", "there is no file nowhere.py"),
        ("no_such_package:build", "no_such_package cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_imported_is_refused(name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        check_own_model(Antispoof(model=name))


def test_a_file_with_an_error_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import torch\ndef build(:\n")
    with pytest.raises(BenchError, match=r"bad\.py cannot be imported: SyntaxError"):
        check_own_model(Antispoof(model=f"{tmp_path / 'bad.py'}:build"))


def test_the_length_of_the_outputs_is_the_models_own_business(tmp_path: Path) -> None:
    bands = Vad().example_input().shape[1]
    shape = Vad().build_model().eval()(Vad().example_input()).shape
    (tmp_path / "frames.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.c = nn.Conv1d({bands}, {shape[-1]}, 3, padding=1)\n"
        "    def forward(self, x):\n        return self.c(x[..., ::2]).transpose(1, 2)\n"
    )
    check_own_model(Vad(model=f"{tmp_path / 'frames.py'}:Net"))
