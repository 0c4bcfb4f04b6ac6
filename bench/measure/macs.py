"""Multiply-accumulates of a PyTorch model, counted operator by operator; an unknown costly operator is an error."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.errors import BenchError

#: operators that are neither elementwise nor views and yet cost no multiply-accumulates worth the name
_CHEAP = set(
    """
    native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_layer_norm
    max_pool2d_with_indices avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d constant_pad_nd mean sum std var
    var_mean amax amin max min argmax cumsum linalg_vector_norm _softmax _safe_softmax unsafe_split unsafe_chunk
    _log_softmax cat stack clone copy_ _to_copy _unsafe_view embedding index index_select gather repeat flip roll
    fill_ zero_ empty empty_like zeros zeros_like ones ones_like full full_like arange scalar_tensor new_zeros
    new_empty reflection_pad1d reflection_pad2d replication_pad1d native_group_norm lift_fresh bernoulli_
    native_dropout glu upsample_nearest1d upsample_nearest2d new_ones set_ squeeze_ item
    """.split()
)


class _MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs of every operator that PyTorch has a formula for; refuses what it does not know."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.macs += int(flop_registry[packet](*args, **(kwargs or {}), out_val=out)) // 2
        elif not (func.is_view or torch.Tag.pointwise in func.tags or packet.__name__ in _CHEAP):
            raise BenchError(
                f"cannot count the MACs of operator {packet}: it is neither in PyTorch's table of formulas "
                "(torch.utils.flop_counter.register_flop_formula adds one) nor known to be free"
            )
        return out


def count_macs(model: nn.Module, example_input: Tensor) -> int:
    """MACs of one pass over ``example_input``: matrix products and convolutions, without biases, norms, activations.

    The model is counted in eval mode and left in the mode it was in.

    Raises:
        BenchError: the model runs an operator whose cost is unknown; the message names it.
    """
    modes = {module: module.training for module in model.modules()}
    counter = _MacCounter()
    fastpath = torch.backends.mha.get_fastpath_enabled()  # fused attention would hide its products from the counter
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model.eval()(example_input)
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        for module, mode in modes.items():
            module.training = mode
    return counter.macs
