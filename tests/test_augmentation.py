"""Crops and mirrors: what they cut, that host and device agree, and their random stream."""

import numpy as np
import pytest
import torch

from prune_env.problem.recipes import Recipe
from prune_env.training.augmentation import (
    Augmentation,
    _crop,
    _crop_on_host,
    _mirror,
    _mirror_on_host,
)

CPU = torch.device("cpu")
FILL = torch.tensor([7.0, 0.0, 200.0])
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TYPES = [torch.uint8, torch.float32]


def pictures(dtype=torch.uint8, layout=torch.channels_last, count=6):
    drawn = np.random.default_rng(0).integers(1, 256, size=(count, 3, 4, 5), dtype=np.uint8)
    return torch.from_numpy(drawn).to(dtype).contiguous(memory_format=layout)


@pytest.mark.parametrize("crop", [_crop, _crop_on_host])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_crop_is_a_window_of_the_picture_padded_with_a_colour(crop, dtype, layout):
    batch = pictures(dtype, layout)
    padded = FILL.to(dtype)[:, None, None].expand(6, 3, 8, 9).clone()
    padded[:, :, 2:6, 2:7] = batch
    corners = torch.tensor([[0, 4], [3, 1], [2, 2], [4, 0], [0, 0], [4, 4]])
    cropped = crop(batch, corners, 2, FILL.to(dtype))
    assert (cropped.shape, cropped.dtype) == (batch.shape, dtype)
    for index, (top, left) in enumerate(corners.tolist()):
        assert torch.equal(cropped[index], padded[index, :, top : top + 4, left : left + 5])


@pytest.mark.parametrize("mirror", [_mirror, _mirror_on_host])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("turned", [[], [1, 4], [0, 1, 2, 3, 4, 5]])
def test_a_mirror_reverses_the_columns_of_those_marked(mirror, dtype, layout, turned):
    batch = pictures(dtype, layout)
    marked = torch.zeros(6, dtype=torch.bool)
    marked[turned] = True
    mirrored = mirror(batch, marked)
    for index in range(6):
        expected = batch[index].flip(2) if index in turned else batch[index]
        assert torch.equal(mirrored[index], expected)


def test_a_sample_is_augmented_alike_whichever_others_are_trained_on():
    def augmented(indices):
        augment = Augmentation(
            6,
            recipe=Recipe(crop_padding=1, flip=True),
            fill=FILL,
            rng=np.random.default_rng(3),
            device=CPU,
        )
        return augment(pictures()[indices], torch.tensor(indices))

    assert torch.equal(augmented([4, 0, 5])[[1, 0]], augmented([0, 4]))


def test_every_corner_and_both_sides_occur():
    one = pictures(count=1).repeat(600, 1, 1, 1)
    augment = Augmentation(
        600,
        recipe=Recipe(crop_padding=1, flip=True),
        fill=FILL,
        rng=np.random.default_rng(3),
        device=CPU,
    )
    kinds = {picture.numpy().tobytes() for picture in augment(one, torch.arange(600))}
    assert len(kinds) == 9 * 2


def test_nothing_asked_for_changes_nothing_and_draws_nothing():
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    augment = Augmentation(6, recipe=Recipe(), fill=FILL, rng=rng, device=CPU)
    batch = pictures()
    assert augment(batch, torch.arange(6)) is batch
    assert rng.bit_generator.state == before
