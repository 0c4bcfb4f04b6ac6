"""The width graph on networks that nobody here wrote: slow, and in need of the extra `models`.

`python -m tests.widths.test_zoo` writes what came out to docs/models.md.
"""

import copy
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import BenchError, Widths
from bench.export.model import Predictor, export_onnx
from bench.widths.cost import count_macs
from tests.widths.zoo import WORDS, ZOO

BUDGET = 0.5
PAGE = Path(__file__).parents[2] / "docs" / "models.md"

#: models that the graph cannot halve, and words of the error: an operator or a weight, a layer
REFUSED = {
    "timm nfnet": "'stem.conv1.weight'.*operator native_batch_norm in layer ScaledStdConv2d 'stem.conv1'",
    "timm beit": "'patch_embed.proj.weight'.*addmm in layer Attention 'blocks.0.attn'.*'blocks.0.attn.qkv' without",
    "timm eva": "'patch_embed.proj.weight'.*addmm in layer EvaAttention 'blocks.0.attn'.*without calling it",
    "transformers WavLM": "'.*conv.weight'.*addmm in layer WavLMAttention '.*attention'.*q_proj' without calling it",
}


@pytest.fixture
def as_others_are() -> Iterator[None]:
    """The two packages are there, and their own warnings are none of ours."""
    missing = [name for name in ("timm", "transformers") if find_spec(name) is None]
    assert not missing, f"install {' and '.join(missing)}: pip install 'compression-bench[models]'"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def built(name: str) -> tuple[nn.Module, Tensor]:
    """A model with random weights and one input; where it begins with zeros, which hide everything, with others."""
    torch.manual_seed(0)
    build, shape = ZOO[name]
    model = build()
    for parameter in model.parameters():
        if parameter.dim() and float(parameter.detach().abs().max()) < 1e-3:
            nn.init.normal_(parameter, std=0.3)
    return model, torch.randint(3, 9, shape) if shape == WORDS else torch.randn(shape)


def halved(name: str) -> tuple[Widths, nn.Module]:
    """The widths of a model, and the model at half of its MACs, which is what was predicted, exports and trains."""
    model, x = built(name)
    widths = Widths(model, x)
    sizes = widths.largest(widths.norms(), BUDGET)
    small = widths.keep(widths.strongest(widths.norms(), BUDGET))
    assert count_macs(small, x) == widths.macs(sizes) <= BUDGET * widths.reference_macs
    two = torch.cat([x, x.flip(-1)])
    with torch.no_grad():
        expected = small.eval()(two)
    difference = float((Predictor(export_onnx(small, x))(two) - expected).abs().max())
    assert difference <= 1e-4 * float(expected.abs().max()) > 0
    before = copy.deepcopy(small.state_dict())
    optimizer = torch.optim.SGD(small.train().parameters(), 1e-3)
    small(two).square().mean().backward()
    optimizer.step()
    assert any(not torch.equal(before[n], t) for n, t in small.state_dict().items())
    return widths, small


@pytest.mark.slow
@pytest.mark.usefixtures("as_others_are")
@pytest.mark.parametrize("name", sorted(ZOO.keys() - REFUSED.keys()))
def test_the_model_is_halved_exported_and_trained(name: str) -> None:
    halved(name)


@pytest.mark.slow
@pytest.mark.usefixtures("as_others_are")
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_others_say_where_and_why(name: str) -> None:
    with pytest.raises(BenchError, match=REFUSED[name]):
        halved(name)


def test_nine_of_ten_models_are_followed() -> None:
    assert len(ZOO) >= 40
    assert len(ZOO) - len(REFUSED) >= 0.9 * len(ZOO)


def write_page() -> None:
    """Try every model and write what came out."""
    works, not_so = [], []
    for name in ZOO:
        try:
            widths, _ = halved(name)
            least = f"{widths.smallest_budget:.2f}"
            works.append(f"| {name} | {len(widths.groups)} | {least} | {'; '.join(map(repr, widths.fixed)) or '-'} |")
        except BenchError as error:
            not_so.append(f"- **{name}**: {error}")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(
        "# Which models work\n\nWritten by `python -m tests.widths.test_zoo`, which builds each model at a tiny "
        "size with random weights, finds its widths, halves its MACs (the prediction is what is counted), exports it "
        f"to ONNX (equal to 1e-4) and trains it for a step. {len(works)} of {len(ZOO)} go through.\n\n"
        "| model | groups | smallest budget | groups that stay as they are |\n|---|---|---|---|\n"
        + "\n".join(works)
        + "\n\nThe others run with every method that needs no widths (quantization, masks, low rank, distillation). "
        "The width graph says of them:\n\n" + "\n".join(not_so) + "\n"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write_page()
