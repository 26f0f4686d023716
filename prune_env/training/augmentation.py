"""Random crops and mirrors, drawn for all samples of an epoch and applied to whole batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from prune_env.arguments import own_call
from prune_env.devices import on_gpu, to_device
from prune_env.problem.recipes import Recipe


def first_mirrored(recipe: Recipe, num_samples: int, rng: np.random.Generator) -> np.ndarray | None:
    """Which samples are mirrored when first trained on, (N,) bool, where each then takes turns.

    Args:
        recipe: says whether they do; None is returned where they do not.
        num_samples: N.
        rng: draws them.
    """
    if recipe.flip != "alternate":
        return None
    return rng.integers(2, size=num_samples, dtype=np.uint8) == 1


class Augmentation:
    """One epoch's crops, mirrors and whatever a recipe does to pictures besides.

    Drawn for all N samples, whichever are trained on, so that choosing a subset never moves the
    random stream.

    Args:
        num_samples: N.
        recipe: says what is done. The mean colour around a picture is better than black (3 points
            on short trainings on CIFAR-10 pictures).
        fill: (C,) of that colour, in the pictures' units.
        rng: draws it.
        device: where the pictures are.
        mirrored: (N,) bool, which to mirror, instead of every other one on average.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        recipe: Recipe,
        fill: Tensor,
        rng: np.random.Generator,
        device: torch.device,
        mirrored: np.ndarray | None = None,
    ):
        self._padding = recipe.crop_padding
        self._fill = fill if recipe.crop_border == "mean" else None
        self._corners = self._mirrored = self._generator = None
        if self._padding:
            drawn = rng.integers(2 * self._padding + 1, size=(num_samples, 2))
            self._corners = to_device(drawn, device)
        if recipe.flip:
            if mirrored is None:
                mirrored = rng.integers(2, size=num_samples, dtype=np.uint8)
            self._mirrored = to_device(mirrored.astype(np.uint8), device).bool()
        self._own = recipe.augment
        if self._own is not None:
            seed = int(rng.integers(2**63))
            self._generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, pictures: Tensor, indices: Tensor) -> Tensor:
        """Crop and mirror.

        Args:
            pictures: (B, C, H, W), of the samples at `indices`; whatever else where nothing is
                drawn.
            indices: (B,) int64.

        Returns:
            (B, C, H, W) of the same type; float32 where the recipe has a function of its own.
        """
        if self._mirrored is None and self._corners is None and self._own is None:
            return pictures
        on_host = not on_gpu(pictures.device)
        if self._mirrored is not None:
            mirror = _mirror_on_host if on_host else _mirror
            pictures = mirror(pictures, self._mirrored[indices])
        if self._corners is not None:
            crop = _crop_on_host if on_host else _crop
            fill = None if self._fill is None else self._fill.to(pictures.dtype)
            pictures = crop(pictures, self._corners[indices], self._padding, fill)
        return pictures if self._own is None else self._changed(pictures)

    def _changed(self, pictures: Tensor) -> Tensor:
        """What the recipe's own function makes of pictures.

        Raises:
            ValueError: if it fails, or makes something else of them.
        """
        assert self._own is not None
        assert self._generator is not None
        with own_call(
            "`augment` must return pictures when it is called with (pictures, generator)"
        ):
            found = self._own(pictures.float(), self._generator)
        if not isinstance(found, Tensor) or found.shape != pictures.shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"`augment` must return pictures of the shape {tuple(pictures.shape)} that it was "
                f"given, got {got}"
            )
        return found


def _mirror(pictures: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)


def _mirror_on_host(pictures: Tensor, mirrored: Tensor) -> Tensor:
    """As `_mirror`, four times as fast: whole pictures are moved, never single pixels."""
    turned = mirrored.nonzero().squeeze(1)
    source = torch.arange(len(pictures))
    source[turned] = torch.arange(len(turned)) + len(pictures)
    both = torch.cat([_rows(pictures), _rows(pictures[turned].flip(3))])
    return both.index_select(0, source).permute(0, 3, 1, 2)


def _crop(pictures: Tensor, corners: Tensor, padding: int, fill: Tensor | None) -> Tensor:
    """Windows whose corners are `corners` (B, 2); around them `fill`, or the picture mirrored."""
    count, channels, height, width = pictures.shape
    if fill is None:
        rows, columns = (
            _mirrored_at_edges(corners[:, axis, None] - padding, size)
            for axis, size in enumerate((height, width))
        )
        return _picked(pictures, rows, columns)
    size = (count, channels, height + 2 * padding, width + 2 * padding)
    padded = fill[:, None, None].expand(size).clone(memory_format=torch.channels_last)
    padded[:, :, padding : padding + height, padding : padding + width] = pictures
    device = pictures.device
    rows = corners[:, 0, None] + torch.arange(height, device=device)
    columns = corners[:, 1, None] + torch.arange(width, device=device)
    return _picked(padded, rows, columns)


def _mirrored_at_edges(first: Tensor, size: int) -> Tensor:
    """Positions of `size` pixels from `first` (B, 1) on, those outside mirrored at the edges."""
    last = size - 1
    return last - (last - (first + torch.arange(size, device=first.device)).abs()).abs()


def _picked(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels at `rows` (B, H) and `columns` (B, W) of each picture, laid out channels-last."""
    run = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    # Advanced indexing around the channel axis puts it last, which is the layout wanted.
    picked = pictures[run, :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _crop_on_host(pictures: Tensor, corners: Tensor, padding: int, fill: Tensor | None) -> Tensor:
    """As `_crop`, six times as fast: a row of a window is one run of memory."""
    source = _rows(pictures)
    count, height, width, channels = source.shape
    size = (count, height + 2 * padding, width + 2 * padding, channels)
    padded = source.new_empty(size).numpy()
    inside = slice(padding, -padding)
    padded[:, inside, inside] = source.numpy()
    if fill is None:  # the edge itself is not repeated
        padded[:, :padding] = padded[:, 2 * padding : padding : -1]
        padded[:, -padding:] = padded[:, -padding - 2 : -2 * padding - 2 : -1]
        padded[:, :, :padding] = padded[:, :, 2 * padding : padding : -1]
        padded[:, :, -padding:] = padded[:, :, -padding - 2 : -2 * padding - 2 : -1]
    else:
        for border in (slice(padding), slice(-padding, None)):
            padded[:, border] = fill.numpy()
            padded[:, inside, border] = fill.numpy()
    picture, row, pixel, one = padded.strides
    # (B, top, left, H, W x C): every window there is, as a view.
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (count, 2 * padding + 1, 2 * padding + 1, height, width * channels),
        (picture, row, pixel, row, one),
        writeable=False,
    )
    top, left = corners.numpy().T
    picked = torch.from_numpy(windows[np.arange(count), top, left])
    return picked.view(source.shape).permute(0, 3, 1, 2)


def _rows(pictures: Tensor) -> Tensor:
    """(B, H, W, C), without a copy where the pictures are laid out channels-last."""
    return pictures.permute(0, 2, 3, 1).contiguous()
