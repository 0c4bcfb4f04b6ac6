"""Whether a finished model is a plain one: all that it computes is in its layers, all that it knows in its weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.errors import MethodError


def require_plain(model: nn.Module, example_input: Tensor) -> None:
    """A finished model has no hooks and no parametrizations left, and computes with registered tensors alone.

    Raises:
        MethodError: it is otherwise; the message says where.
    """
    hooked = [n or "the model" for n, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    hooked += [n or "the model" for n, m in model.named_modules() if m._backward_hooks or m._backward_pre_hooks]
    if hooked:
        raise MethodError(f"hooks are left on the finished model ({', '.join(hooked)}): remove them first")
    if masked := [n or "the model" for n, m in model.named_modules() if hasattr(m, "parametrizations")]:
        raise MethodError(
            f"parametrizations are left on the finished model ({', '.join(masked)}): fold them into the weights"
        )
    watch = _Strangers(model, example_input)
    with torch.no_grad(), watch:
        model.eval()(example_input)
    if watch.found:
        raise MethodError(
            f"the finished model computes with {sum(watch.found.values()):,} numbers that are neither parameters nor "
            "buffers of it: hidden parameters; register them as such"
        )


class _Strangers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds the tensors that enter a computation from nowhere: not the input, not registered, not computed before."""

    def __init__(self, model: nn.Module, example_input: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {_memory(t) for t in (*model.parameters(), *model.buffers(), example_input)}
        self._alive: list[Tensor] = []  # memory of a tensor that is gone would be given to the next one
        self.found: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor) and tensor.dim() > 0 and _memory(tensor) not in self._known:
                self.found[_memory(tensor)] = tensor.numel()
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._known.add(_memory(tensor))
                self._alive.append(tensor)
        return out


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
