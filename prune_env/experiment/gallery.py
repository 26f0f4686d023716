"""The samples themselves: those kept most and least, as pictures or rows, out of the data again."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prune_env.episodes import random_streams
from prune_env.experiment.records import Record
from prune_env.experiment.selections import Selections
from prune_env.problem.class_folders import PICTURES, find_files
from prune_env.problem.inputs import is_picture
from prune_env.problem.instance import Instance
from prune_env.problem.sources import folder_and_side
from prune_env.problem.split import Split
from prune_env.problem.tasks import FOLDER_PREFIX

_CHANNELS = (1, 3)
_LARGEST_SIDE = 96  # pixels, in a page
_LONGEST_ROW = 12  # numbers of a sample that is no picture
_MEASURED = 256  # samples that the range of values is taken from


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The training samples of an episode, to be shown.

    Attributes:
        split: the episode's data.
        class_names: of the labels; none where they are not known.
    """

    split: Split
    class_names: tuple[str, ...] = ()

    @property
    def are_pictures(self) -> bool:
        """Whether samples can be shown as pictures."""
        shape = self.split.input_shape
        return is_picture(shape) and shape[0] in _CHANNELS

    @property
    def are_rows(self) -> bool:
        """Whether samples are a few numbers each."""
        shape = self.split.input_shape
        plain = isinstance(shape, tuple) and len(shape) == 1 and self.split.num_tokens is None
        return plain and isinstance(shape[0], int) and shape[0] <= _LONGEST_ROW

    def pictures(self, indices: np.ndarray) -> list[str]:
        """Samples as `data:` addresses of PNG files, no larger than 96 pixels.

        Args:
            indices: (K,) of training samples.
        """
        low, high = self._range
        shown = self._raw(indices).permute(0, 2, 3, 1).numpy()
        scaled = np.clip((shown - low) / max(high - low, 1e-12), 0, 1)
        return [_png(picture) for picture in (255 * scaled + 0.5).astype(np.uint8)]

    def rows(self, indices: np.ndarray) -> list[str]:
        """Samples as text: their numbers, in the unit of the data.

        Args:
            indices: (K,) of training samples.
        """
        return [", ".join(f"{number:.3g}" for number in row) for row in self._raw(indices).tolist()]

    def name_of(self, label: int) -> str:
        """What a class is called.

        Args:
            label: its number.
        """
        return self.class_names[label] if self.class_names else str(label)

    def _raw(self, indices: np.ndarray) -> Tensor:
        """Inputs as the data have them, (K, *input_shape) float32, in no memory layout."""
        (batch,) = self.split.train.stream([torch.from_numpy(np.ascontiguousarray(indices))])
        inputs = batch.inputs.float()
        if self.split.normalised:
            inputs = inputs * self.split.deviation + self.split.mean
        return inputs.contiguous()

    @property
    def _range(self) -> tuple[float, float]:
        """The values that are shown as black and white."""
        some = self._raw(np.arange(min(_MEASURED, len(self.split.train))))
        low, high = float(some.min()), float(some.max())
        return (0.0, 255.0) if self.split.bytes and high > 127 else (low, high)


def gallery(record: Record, selections: Selections, settings: Mapping[str, Any]) -> Gallery | str:
    """The training samples of an episode, read again from its data.

    Args:
        record: of the episode.
        selections: of the same.
        settings: of the folder.

    Returns:
        Why not, in words, where the data cannot be had here or are others now.
    """
    try:
        instance = Instance(
            task=record.task,
            scenario=record.scenario,
            model=settings.get("model"),
            num_samples=settings.get("num_samples"),
        )
        streams = random_streams(selections.entropy.tolist())
        split = instance.split(torch.device("cpu"), streams["split"], streams["scenario"])
        names = _class_names(record.task, split.num_classes)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        return f"the data of the task cannot be read here ({error})"
    if not np.array_equal(split.train.labels.numpy(), selections.labels):
        return "the data of the task are others now: their labels are not those of the run"
    return Gallery(split=split, class_names=names)


def _class_names(task: str, num_classes: int) -> tuple[str, ...]:
    """Names of the folders of a task of class folders; of others none are known."""
    if not task.startswith(FOLDER_PREFIX):
        return ()
    folder, _ = folder_and_side(task.removeprefix(FOLDER_PREFIX))
    names, _ = find_files(folder, PICTURES)
    return tuple(names) if len(names) == num_classes else ()


def _png(picture: np.ndarray) -> str:
    """(height, width, channels) uint8 as an address that holds it all."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    written = io.BytesIO()
    image.save(written, format="PNG", optimize=True)
    return embedded(written.getvalue(), "image/png")


def embedded(content: bytes, kind: str) -> str:
    """An address that holds all of a file.

    Args:
        content: of the file.
        kind: its media type.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
