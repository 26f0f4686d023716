"""A network of the CIFAR-10 speed runs: small, whitened, and trained in seconds on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 9  # pixels a side that the pooling leaves something of
_PATCH, _EPSILON = 2, 5e-4
_AT_ONCE = 500  # pictures that are whitened by
_LOGIT_SCALE = 1 / 9


class Airbench(nn.Module):
    """Whitened patches, three pairs of convolutions, and a linear layer on their maxima.

    Args:
        input_shape: (channels, height, width), at least 9 x 9.
        num_classes: number of logits C.
        width: channels W of the first pair; the others have four times as many.

    Source:
        K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498), and its
        code, cifar10-airbench (airbench94). Departures: the whitening's bias is trained to the end
        instead of for three epochs; eigenvectors have a definite sign, so that every processor
        builds the same network; the last pooling is as large as what is left of a picture, 3 x 3 of
        32 x 32 as there.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 64):
        super().__init__()
        channels, height, breadth = input_shape
        filters = 2 * channels * _PATCH**2
        self.whitening = nn.Conv2d(channels, filters, _PATCH)
        self.whitening.weight.requires_grad = False
        self.pairs = nn.Sequential(
            _pair(filters, width), _pair(width, 4 * width), _pair(4 * width, 4 * width)
        )
        self.maxima = nn.MaxPool2d((_left(height), _left(breadth)))
        self.output = nn.Linear(4 * width, num_classes, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, C) of pictures (B, channels, height, width)."""
        whitened = nn.functional.gelu(self.whitening(pictures))
        return self.output(self.maxima(self.pairs(whitened)).flatten(1)) * _LOGIT_SCALE

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Fresh weights; those of the whitening wait for `prepare`."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                if isinstance(module, nn.Conv2d) and module is not self.whitening:
                    # The first filters hand their own channel on.
                    nn.init.dirac_(module.weight[: module.in_channels])
        assert self.whitening.bias is not None
        nn.init.zeros_(self.whitening.bias)

    @torch.no_grad()
    def prepare(self, inputs: Tensor) -> None:
        """Whiten by these pictures (B, channels, height, width); 5,000 are enough."""
        total, count = torch.zeros(1, dtype=torch.float64), 0
        for pictures in inputs.split(_AT_ONCE):
            patches = nn.functional.unfold(pictures.float(), _PATCH)  # (B, channels x 4, places)
            rows = patches.transpose(1, 2).flatten(0, 1)
            total = total + (rows.T @ rows).cpu().double()
            count += len(rows)
        values, vectors = torch.linalg.eigh(total / count)
        vectors = vectors.T.flip(0)
        strongest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
        filters = vectors * strongest.sign() / (values.flip(0) + _EPSILON).sqrt()[:, None]
        weight = self.whitening.weight
        weight.copy_(torch.cat([filters, -filters]).view(weight.shape))


def _left(side: int) -> int:
    """Pixels of a side that the pairs leave."""
    return (side - _PATCH + 1) // 8


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding="same", bias=False),
        nn.MaxPool2d(2),
        _normalisation(outputs),
        nn.GELU(),
        nn.Conv2d(outputs, outputs, 3, padding="same", bias=False),
        _normalisation(outputs),
        nn.GELU(),
    )


def _normalisation(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with a short memory and without a scale of its own to train."""
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad = False
    return layer
