"""Which channels belong together."""

import torch
from torch import nn

from bench import Widths
from tasks.antispoof.resnet import LAYOUTS, ResNet
from tests.architectures import Recurrent, Transformer
from tests.models import Branches


def test_a_residual_stream_is_one_group_across_its_blocks() -> None:
    widths = Widths(ResNet(LAYOUTS["resnet18"], 4), torch.zeros(1, 16, 20))
    layers = {g.name: ({m.layer for m in g.producers}, {m.layer for m in g.consumers}) for g in widths.groups}
    assert len(widths.groups) == 4 + 8  # a stream a stage, the inside of each block
    assert layers["stem.0"] == (
        {"stem.0", "stages.0.0.conv2", "stages.0.1.conv2"},
        {"stages.0.0.conv1", "stages.0.1.conv1", "stages.1.0.conv1", "stages.1.0.shortcut.0"},
    )
    assert layers["stages.1.1.conv1"] == ({"stages.1.1.conv1"}, {"stages.1.1.conv2"})
    last = next(consumers for _, consumers in layers.values() if "head" in consumers)
    assert last == {"stages.3.1.conv1", "head"}
    assert widths.sizes["stem.0"] == 4
    assert max(widths.sizes.values()) == 32


def test_the_head_of_the_resnet_reads_every_channel_twice() -> None:
    widths = Widths(ResNet(LAYOUTS["resnet10"], 4), torch.zeros(1, 16, 20))
    (head,) = (m for g in widths.groups for m in g.consumers if m.layer == "head")
    assert sorted(head.positions.tolist()) == list(range(64))
    assert torch.equal(torch.bincount(head.channels), torch.full((32,), 2))


def test_the_parts_of_a_concatenation_are_groups_of_their_own() -> None:
    widths = Widths(Branches(), torch.zeros(1, 2, 8, 6))
    assert widths.sizes == {"left": 5, "right": 7, "mix": 6, "hidden": 9}
    by_name = {group.name: group for group in widths.groups}
    for name, positions in {"left": range(5), "right": range(5, 12)}.items():
        (member,) = (m for m in by_name[name].consumers if m.layer == "mix")
        assert member.positions.tolist() == list(positions)
    (flattened,) = by_name["mix"].consumers
    assert (flattened.layer, len(flattened.positions)) == ("hidden", 6 * 12)
    assert torch.equal(flattened.channels, torch.arange(6).repeat_interleave(12))


def groups(model: nn.Module, shape: tuple[int, ...], axis: int | None = None) -> dict[str, int]:
    return Widths(model, torch.zeros(shape), input_axis=axis).sizes


def test_every_recurrent_layer_and_direction_has_a_width_of_its_own() -> None:
    widths = Widths(Recurrent(nn.GRU, bidirectional=True), torch.zeros(1, 10, 20))
    assert widths.sizes == {
        "front": 8, "memory.l0": 6, "memory.l0_reverse": 6, "memory.l1": 6, "memory.l1_reverse": 6,
    }  # fmt: skip
    assert [g.name for g in widths.groups if g.recurrent] == [name for name in widths.sizes if name != "front"]
    hidden = next(group for group in widths.groups if group.name == "memory.l0")
    # its own recurrence, and the inputs of both directions of the layer above
    assert sorted(m.parameter for m in hidden.consumers) == ["weight_hh_l0", "weight_ih_l1", "weight_ih_l1_reverse"]


def test_the_groups_of_a_transformer_are_bands_stream_heads_and_feed_forward() -> None:
    assert groups(Transformer(), (1, 10, 20), 1) == {
        "input": 10, "project": 12, "blocks.0.attention.heads": 3, "blocks.0.up": 20,
        "blocks.1.attention.heads": 3, "blocks.1.up": 20,
    }  # fmt: skip


def test_the_input_is_a_width_only_where_the_task_says_so() -> None:
    assert "input" not in groups(Transformer(), (1, 10, 20))
    model = Transformer()
    narrow = Widths(model, torch.zeros(1, 10, 20), input_axis=1).keep({"input": torch.tensor([1, 4, 7])})
    x = torch.randn(2, 10, 20)
    with torch.no_grad():
        same = narrow(x.index_fill(1, torch.tensor([0, 2, 3, 5, 6, 8, 9]), 99.0))
        assert torch.equal(narrow(x), same)  # the other bands are not read
    assert narrow.model.project.in_features == 3
