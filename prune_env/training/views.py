"""Outputs of a network averaged over views of a picture: test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def averaged(network: Callable[[Any], Any], pictures: Any, views: int) -> Any:
    """The network's outputs, (B, ...), as means over views of each picture.

    Args:
        network: in evaluation mode.
        pictures: (B, C, H, W), normalised; of one view, whatever the network takes.
        views: 1 is the picture, 2 with its mirror image, 6 both also shifted by a pixel up and
            left, and down and right, which count as much together as those that are not shifted.

    Source:
        cifar10-airbench (Jordan 2024, arXiv 2404.00498), its code, for 6.
    """
    if views == 1:
        return network(pictures)
    plain = _mean_with_mirrored(network, pictures)
    if views == 2:
        return plain
    shifted = [_mean_with_mirrored(network, one) for one in _shifted(pictures)]
    return (plain + sum(shifted) / len(shifted)) / 2


def _mean_with_mirrored(network: Callable[[Any], Any], pictures: Tensor) -> Tensor:
    return (network(pictures) + network(pictures.flip(3))) / 2


def _shifted(pictures: Tensor) -> Iterator[Tensor]:
    """By a pixel each way; what comes in at an edge is mirrored."""
    height, width = pictures.shape[2:]
    padded = F.pad(pictures, (1, 1, 1, 1), mode="reflect")
    for first in (0, 2):
        yield padded[:, :, first : first + height, first : first + width]
