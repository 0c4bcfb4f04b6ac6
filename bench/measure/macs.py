"""Multiply-accumulates of a PyTorch model, counted operator by operator; an unknown costly operator is an error."""

from collections.abc import Callable
from functools import cache
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
    native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_layer_norm native_group_norm
    max_pool2d_with_indices avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d constant_pad_nd mean sum std var
    var_mean amax amin max min argmax argmin any all cumsum sort topk linalg_vector_norm _softmax _safe_softmax
    _log_softmax glu cat stack clone copy _to_copy _unsafe_view unsafe_split unsafe_chunk embedding index
    index_select index_put gather masked_fill tril triu repeat flip roll fill zero empty empty_like zeros zeros_like
    ones ones_like full full_like arange scalar_tensor new_zeros new_empty new_full new_ones reflection_pad1d
    reflection_pad2d replication_pad1d lift_fresh bernoulli native_dropout upsample_nearest1d upsample_nearest2d
    set squeeze unsqueeze transpose t item _local_scalar_dense fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask
    """.split()
)

Formula = Callable[..., int]


class _MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs of every operator that there is a formula for; refuses what it does not know."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = _formula(func)
        if formula is not None:
            self.macs += formula(*args, **kwargs, out_val=out)
        return out


@cache  # a recurrent layer calls the same few operators at every time step
def _formula(func: Any) -> Formula | None:
    """What counts the MACs of an operator; None if it is free."""
    packet = func._overloadpacket
    if packet.__name__ == "mkldnn_rnn_layer":
        return _recurrent_layer
    if packet in flop_registry:
        flops = flop_registry[packet]
        return lambda *args, **kwargs: int(flops(*args, **kwargs)) // 2
    if func.is_view or torch.Tag.pointwise in func.tags or packet.__name__.removesuffix("_") in _CHEAP:
        return None
    raise BenchError(
        f"cannot count the MACs of operator {packet}: it is neither in PyTorch's table of formulas "
        "(torch.utils.flop_counter.register_flop_formula adds one) nor known to be free"
    )


def _recurrent_layer(sequence: Tensor, from_input: Tensor, from_hidden: Tensor, *_: Any, **__: Any) -> int:
    """One direction of an LSTM layer, which oneDNN runs as one operator: (T, B, I) through (4H, I) and (4H, H)."""
    return sequence.shape[0] * sequence.shape[1] * (from_input.numel() + from_hidden.numel())


def count_macs(model: nn.Module, example_input: Tensor) -> int:
    """MACs of one pass over ``example_input``: matrix products and convolutions, without biases, norms, activations.

    Recurrent layers are counted step by step, attention with its products of activations. The model is counted in eval
    mode and left in the mode it was in.

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
