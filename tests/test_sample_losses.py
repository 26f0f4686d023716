"""Losses of samples by hand: classes, tokens, numbers, several labels."""

import numpy as np
import pytest
import torch

from prune_env.integrations.losses import sample_losses


def test_losses_of_samples_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    losses, correct = sample_losses(logits, torch.tensor([0, 0]))
    torch.testing.assert_close(losses, torch.tensor([0.1269, 1.3133]), atol=1e-4, rtol=0)
    assert correct.tolist() == [True, False]
    tokens = torch.zeros(2, 4, 3)
    labels = torch.tensor([[1, 2, -100, -100], [1, -100, -100, -100]])
    losses, correct = sample_losses(tokens, labels, shifted=True)
    torch.testing.assert_close(losses, torch.tensor([np.log(3), 0.0], dtype=torch.float32))
    assert correct is None
    losses, _ = sample_losses(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))
    assert losses.tolist() == [1.0, 4.0]
    losses, _ = sample_losses(torch.zeros(2, 3), torch.tensor([[0.0, 1, 1], [0, 0, 1]]))
    torch.testing.assert_close(losses, torch.full((2,), np.log(2), dtype=torch.float32))
    with pytest.raises(ValueError, match=r"got shape \(3,\) of torch.int64 for logits \(2, 2\)"):
        sample_losses(logits, torch.tensor([0, 0, 1]))
