"""The hidden layer of the head that all members share, differentiated by hand.

With n studies, M members and H units the layer holds n·M·H numbers, the largest array of a training by far:
every pass over it counts, and autograd would need several, and copies. A hyperbolic tangent is a logistic
function, tanh(x) = 2·σ(2x) - 1, which is several times cheaper, can overwrite its argument, and has the slope
4·σ·(1 - σ).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class SharedHead(torch.autograd.Function):
    """Scores tanh(inputs @ weight) @ output_weight, with gradients for both weights, and none for the inputs.

    Called as `SharedHead.apply(inputs, weight, output_weight)` with shapes `(n_policies, n_rows, n_inputs)`,
    `(n_policies, n_inputs, n_units)` and `(n_policies, n_units, 1)`; gives the scores,
    `(n_policies, n_rows, 1)`, and what is kept of the hidden layer, σ(2x) of shape
    `(n_policies, n_rows, n_units)`, which has no gradient and is overwritten when one is taken. A gradient of
    the scores can be taken once and has no gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, output_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the logistic function of the hidden layer; score 2·σ - 1."""
        logistic = torch.bmm(inputs, 2.0 * weight).sigmoid_()
        ctx.mark_non_differentiable(logistic)
        ctx.save_for_backward(inputs, logistic, output_weight)
        # A row times a matrix: a matrix times a column takes the library four times as long.
        row = output_weight.transpose(1, 2)
        scores = torch.bmm(2.0 * row, logistic.transpose(1, 2)).sub_(row.sum(2, keepdim=True))
        return scores.transpose(1, 2), logistic

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[None, Tensor, Tensor]:
        """Overwrite the logistic function by its slope; what is common to a unit or a row is kept outside."""
        inputs, logistic, output_weight = ctx.saved_tensors
        of_output = 2.0 * torch.bmm(gradient.transpose(1, 2), logistic) - gradient.sum(1, keepdim=True)
        slope = logistic.addcmul_(logistic, logistic, value=-1.0)
        of_weight = torch.bmm((inputs * gradient).transpose(1, 2), slope)
        of_weight.mul_(4.0 * output_weight.transpose(1, 2))
        return None, of_weight, of_output.transpose(1, 2)
