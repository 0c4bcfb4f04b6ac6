"""A model that reads a part of its input."""

from torch import Tensor, nn


class Selection(nn.Module):
    """A model that reads some entries of its input only, such as some of the mel bands.

    Args:
        model: reads what is selected.
        axis: of the input.
        indices: (n,) entries that the model reads.
    """

    indices: Tensor
    model: nn.Module

    def __init__(self, model: nn.Module, axis: int, indices: Tensor) -> None:
        super().__init__()
        self.model, self.axis = model, axis
        self.register_buffer("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        """Any input of the dense model."""
        output: Tensor = self.model(x.index_select(self.axis, self.indices))
        return output
