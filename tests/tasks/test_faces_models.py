"""The networks of the faces task: costs by formula, removal, the file; and the loss with its centres."""

import copy
import math
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from bench import Batch, Widths, count_macs
from bench.check import check_own_model
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx
from bench.plugins.own_model import dense_model
from tasks.faces import Faces
from tasks.faces.arcface import arcface
from tasks.faces.presets import PRESETS
from tasks.faces.resnet import LAYOUTS
from tests.models import randomise_norms
from tests.widths.test_widths import close, inputs, random_choice

SMALL = {"width": 4, "size": 6, "pixels": 16, "people": (9, 4, 4), "pictures": (2, 2, 2)}


def macs_of(task: Faces) -> int:
    """Kernel x inputs x outputs x positions of every layer."""
    edge, inputs = -(-task.pixels // task.stem_stride), task.width
    total = 9 * 3 * task.width * edge**2
    for stage, count in enumerate(LAYOUTS[task.model]):
        outputs, smaller = task.width * 2**stage, -(-edge // 2)
        total += 9 * inputs * outputs * edge**2 + (9 * outputs + inputs) * outputs * smaller**2
        total += (count - 1) * 2 * 9 * outputs**2 * smaller**2
        edge, inputs = smaller, outputs
    return total + inputs * edge**2 * task.size


@pytest.mark.parametrize(("model", "stem_stride"), [("resnet10", 2), ("resnet18", 1), ("resnet50", 1)])
def test_costs_are_exact_and_removal_is_gating_and_the_file_computes_it(model: str, stem_stride: int) -> None:
    torch.manual_seed(0)
    task = Faces(model=model, stem_stride=stem_stride, **SMALL)  # type: ignore[arg-type]
    network = randomise_norms(task.build_model()).eval()
    widths = Widths(network, task.example_input())
    assert not widths.fixed
    assert widths.macs({}) == count_macs(network, task.example_input()) == macs_of(task)
    assert widths.smallest_budget < 1 / 16
    kept = random_choice(widths, 1)
    small, x = widths.keep(kept), inputs(widths)
    with torch.no_grad(), widths.mask(kept):
        gated = network(x)
    with torch.no_grad():
        torch.testing.assert_close(small(x), gated, rtol=1e-5, atol=1e-5 * float(gated.abs().max()))
        assert not close(network(x), gated)
        assert small.get_parameter("centres").shape == (9, 6)  # people, and no widths
    file = export_onnx(small, task.example_input())
    torch.testing.assert_close(Predictor(file)(x), gated, rtol=1e-4, atol=1e-4 * float(gated.abs().max()))
    costs = file_costs(file, (1, 3, 16, 16))
    assert costs.macs == count_macs(small, task.example_input()) == widths.macs({n: len(k) for n, k in kept.items()})


def test_no_file_has_the_centres() -> None:
    """ONNX folds batch norms into the layers before them; whatever is left, it grows with nobody who is trained on."""
    sizes = {}
    for people in (9, 500):
        task = Faces(**{**SMALL, "people": (people, 4, 4)})  # type: ignore[arg-type]
        torch.manual_seed(0)
        file = export_onnx(task.build_model().eval(), task.example_input())
        sizes[people] = file_costs(file, (1, 3, 16, 16)).params, len(file.data)
        assert not any("centres" in own.name for own in onnx.load_from_string(file.data).graph.initializer)
    assert sizes[9] == sizes[500]


def test_the_paper_preset_is_the_published_network() -> None:
    """43.6 million parameters: 24 times 2 convolutions, and a layer from 25,088 features to 512 (arXiv 1801.07698)."""
    task = Faces(**{**PRESETS["paper"].fields, "people": (2, 2, 2)})  # type: ignore[arg-type]
    network = task.build_model()
    own = {name: parameter.numel() for name, parameter in network.named_parameters() if not name.startswith("centres")}
    assert sum(own.values()) == pytest.approx(43.6e6, rel=0.002)
    assert own["embed.weight"] == 25_088 * 512
    assert sum("conv" in name for name in own) == 48


# --- the loss


def test_arcface_is_its_equation() -> None:
    torch.manual_seed(1)
    embeddings, centres, people = torch.randn(5, 3), torch.randn(4, 3), torch.tensor([0, 3, 1, 1, 2])
    total = 0.0
    for x, own in zip(embeddings, people.tolist(), strict=True):
        angles = [math.acos(float(nn.functional.cosine_similarity(x, centre, dim=0))) for centre in centres]
        assert angles[own] + 0.3 < math.pi
        logits = [16 * math.cos(angle + (0.3 if who == own else 0)) for who, angle in enumerate(angles)]
        total += math.log(sum(map(math.exp, logits))) - logits[own]
    assert float(arcface(embeddings, centres, people, 16.0, 0.3)) == pytest.approx(total / 5, rel=1e-4)


def test_the_loss_falls_with_the_angle_all_the_way() -> None:
    """Beyond pi less the margin too, where the cosine of the larger angle would rise again."""
    angles = torch.linspace(0, math.pi, 50)
    centres, people = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]), torch.tensor([0])
    losses = [float(arcface(torch.tensor([[a.cos(), a.sin(), 0]]), centres, people, 4.0, 0.5)) for a in angles]
    assert (torch.tensor(losses).diff() > 0).all()


def test_lengths_do_not_matter_and_everything_gets_a_gradient() -> None:
    task, x = Faces(**SMALL), torch.randn(4, 3, 16, 16)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model, people = task.build_model(), torch.tensor([0, 1, 8, 8])
    task.loss(model, Batch(x, people)).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    embeddings, other = torch.randn(2, 3, 6)
    assert float(task.distance(embeddings, 3 * embeddings)) == pytest.approx(0, abs=1e-5)
    assert task.distance(embeddings, 3 * other) == task.distance(embeddings, other) > 1


def test_people_whom_training_has_not_seen_have_a_loss_too() -> None:
    """Far smaller where pictures of a person are alike."""
    task = Faces(**SMALL)  # type: ignore[arg-type]
    model = nn.Flatten()
    task.adopt(model)
    people, directions = torch.tensor([9, 9, 12, 12]), torch.randn(2, 6)
    alike, apart = directions.repeat_interleave(2, 0), directions.repeat(2, 1)
    assert float(task.loss(model, Batch(alike, people))) < float(task.loss(model, Batch(apart, people))) - 1


# --- models of one's own


def test_a_model_of_ones_own_gets_the_centres(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 5, 5, 5, 1), nn.ReLU(), nn.Flatten(), nn.Linear(45, 6))\n"
    )
    task = Faces(**{**SMALL, "model": f"{source}:build"})  # type: ignore[arg-type]
    check_own_model(task)
    model = dense_model(task)
    assert model.get_parameter("centres").shape == (9, 6)
    small = Widths(copy.deepcopy(model), task.example_input()).keep({"0": torch.tensor([0, 3])})
    task.loss(small, Batch(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))).backward()  # type: ignore[no-untyped-call]
    assert small.get_parameter("centres").grad is not None
