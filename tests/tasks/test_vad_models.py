import pytest
import torch
from torch import nn

from bench import Widths
from bench.export.model import Predictor, export_onnx
from tasks.vad.crnn import Crnn
from tasks.vad.models import MODELS, SIZES
from tasks.vad.scoring import speech_logits, trimmed
from tasks.vad.transformer import Transformer

PUBLISHED = {"crnn": 673_873, "transformer": 138_082, "causal": 138_082}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_paper_size_has_the_published_parameters(name: str, count: int) -> None:
    assert parameters(MODELS[name]["paper"](80)) == count


@pytest.mark.parametrize(
    ("width", "count"), [(8, 1714), (12, 3578), (16, 6114), (20, 9322), (24, 13_202), (40, 35_442), (48, 50_594)]
)
def test_transformer_has_the_published_parameters_at_every_width(width: int, count: int) -> None:
    assert parameters(Transformer(width, width, heads=2)) == count


def test_every_model_has_every_size_and_grows_with_it() -> None:
    for sizes in MODELS.values():
        assert tuple(sizes) == SIZES
        counts = [parameters(sizes[size](80)) for size in SIZES]
        assert counts == sorted(set(counts))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("batch", "frames"), [(1, 37), (3, 251)])
def test_exported_file_takes_any_batch_and_length(name: str, batch: int, frames: int) -> None:
    torch.manual_seed(0)
    model = MODELS[name]["tiny"](40).eval()
    predict = Predictor(export_onnx(model, torch.zeros(1, 40, 100)))
    inputs = torch.randn(batch, 40, frames)
    with torch.no_grad():
        expected = model(inputs)
    assert expected.shape[:2] == (batch, frames - 2 if name == "crnn" else frames)
    torch.testing.assert_close(predict(inputs), expected, atol=1e-5, rtol=1e-4)


def test_crnn_looks_one_frame_ahead_and_no_further() -> None:
    torch.manual_seed(0)
    model, inputs = Crnn(20, 8, 12).eval(), torch.randn(1, 20, 50)
    changed = inputs.clone()
    changed[:, :, 31:] += 1
    with torch.no_grad():
        before, after = model(inputs)[0, :, 0], model(changed)[0, :, 0]
    # output t is of frame t + 1 and sees frames up to t + 2
    torch.testing.assert_close(before[:29], after[:29])
    assert (before[29:] != after[29:]).all()


def test_transformer_sees_the_whole_input_and_the_order_of_frames() -> None:
    torch.manual_seed(0)
    model, inputs = Transformer(20, 16, heads=4).eval(), torch.randn(1, 20, 60)
    changed = inputs.clone()
    changed[:, :, 59] += 1
    with torch.no_grad():
        before, after, backwards = (model(x)[0, :, 1] for x in (inputs, changed, inputs.flip(2)))
    assert (before[:40] != after[:40]).all()
    assert not torch.allclose(before, backwards.flip(0), atol=1e-4)


def test_causal_transformer_sees_nothing_to_come_and_so_far_back() -> None:
    torch.manual_seed(0)
    model, inputs = Transformer(20, 16, heads=4, context=8).eval(), torch.randn(1, 20, 90)
    changed = inputs.clone()
    changed[:, :, 40] += 1
    with torch.no_grad():
        differs = (model(inputs) != model(changed))[0].any(-1)
    # 14 frames by the position, 7 by each attention
    assert differs.nonzero().flatten().tolist() == list(range(40, 40 + 14 + 2 * 7 + 1))


def test_logit_of_two_outputs_is_their_difference() -> None:
    two = torch.tensor([[[1.0, 4.0], [2.0, 0.5]]])
    assert speech_logits(two).tolist() == [[3.0, -1.5]]
    assert speech_logits(two[..., :1]).tolist() == [[1.0, 2.0]]


def test_labels_are_trimmed_equally_at_both_ends() -> None:
    labels = torch.arange(10)[None]
    assert trimmed(labels, 10).tolist() == [list(range(10))]
    assert trimmed(labels, 8).tolist() == [list(range(1, 9))]
    assert trimmed(labels, 4).tolist() == [list(range(3, 7))]


NARROWER = {
    "crnn": {"input": 40, "conv": 8, "rnn.l0": 16, "rnn.l1": 16},
    "transformer": {
        "input": 40,
        "embed": 24,
        "blocks.0.attention.heads": 12,
        "blocks.0.expand": 72,
        "blocks.1.attention.heads": 12,
        "blocks.1.expand": 72,
    },
}
NARROWER["causal"] = NARROWER["transformer"]


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_but_the_last_may_become_narrower(name: str) -> None:
    widths = Widths(MODELS[name]["tiny"](40), torch.zeros(1, 40, 100), input_axis=1)
    assert widths.sizes == NARROWER[name]
