"""What `bench explain` prints and draws."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import BenchError, Widths
from bench.report.explain import explain, explained
from tasks.antispoof import Antispoof
from tasks.vad import Vad


def test_every_weight_has_its_share_and_what_stays_its_reason() -> None:
    task = Antispoof(model="resnet10")
    rows = explained(Widths(task.build_model(), task.example_input()), {"stem.0": 3.0, "": 1.0})
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert [row.latency for row in rows[:2]] == [0.75, 0.0]
    assert rows[0].makes
    assert rows[-1].stays == "an output of the model"


def test_the_latency_of_a_layer_with_several_weights_stands_once() -> None:
    task = Vad(model="crnn")
    rows = explained(Widths(task.build_model(), task.example_input()), {"rnn": 1.0, "conv": 1.0})
    assert [row.latency for row in rows] == [0.5, 0.5, None, None, None, 0.0]


@pytest.mark.parametrize("name", ["widths.banana", "nowhere/widths.svg"])
def test_a_picture_that_cannot_be_drawn_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--picture .*expected a name that ends in \.svg, in a folder that exists"):
        explain(Antispoof(), tmp_path / name)


OWN = """
from torch import nn
from torch.nn import functional

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(80, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.rnn(x.transpose(1, 2))[0])
"""


def test_a_model_that_is_to_run_in_chunks_says_whether_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    for model, said in (
        ("crnn", "chunk by chunk: carries conv.frames, rnn.hidden, rnn.hidden.1"),
        (f"{tmp_path / 'own.py'}:Both", "GRU 'rnn' cannot carry state from chunk to chunk: it reads the frames from"),
        ("transformer", None),  # is not meant to
    ):
        explain(Vad(model=model), tmp_path / "widths.svg")
        printed = " ".join(capsys.readouterr().out.split())
        assert said in printed if said else "chunk" not in printed


def test_the_table_and_the_picture_name_groups_and_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain(Antispoof(), tmp_path / "widths.svg")
    printed = capsys.readouterr().out
    assert "stem.0" in printed
    assert "smallest model" in printed
    assert "of latency" in printed and "ms in the kernels of ONNX Runtime" in printed
    ElementTree.parse(tmp_path / "widths.svg")
    drawn = (tmp_path / "widths.svg").read_text()  # texts are outlines, beside each of which its words stand
    assert all(f"<!-- {name} -->" in drawn for name in ("stem.0", "layers.1.0", "head"))
