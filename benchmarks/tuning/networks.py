"""Small networks of the kinds that are fine-tuned, and what is asked of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 64


def perceptron(inputs: int, width: int, classes: int) -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes))


class Convolutions(nn.Module):
    """Three convolutions, a mean over places, and a head.

    Args:
        channels: of the pictures.
        classes: logits.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        for width, stride in ((16, 1), (32, 2), (WIDTH, 2)):
            layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (K, C)."""
        return self.head(self.body(inputs))


def convolutions(channels: int, classes: int) -> nn.Module:
    """A small network for pictures."""
    return Convolutions(channels, classes)


def bert(letters: int, length: int, classes: int) -> nn.Module:
    """A BERT of two layers over letters."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=letters,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=length,
        num_labels=classes,
    )
    return BertForSequenceClassification(config)


def llama(tokens: int, length: int) -> nn.Module:
    """A Llama of two layers over bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokens,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=length,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config)


def logits_of(network: Any, inputs: Tensor) -> Tensor:
    """Logits (K, C) or (K, T, C), whichever kind of network it is."""
    found = network(inputs)
    return found if isinstance(found, Tensor) else found.logits


@torch.no_grad()
def measure(
    network: nn.Module, inputs: Tensor, targets: Tensor, *, shifted: bool
) -> tuple[float, float]:
    """Accuracy and mean loss, of the next token where `shifted`; the network's mode is kept.

    Args:
        network: is not changed.
        inputs: (K, ...).
        targets: (K,) or (K, T).
        shifted: whether logits are for the next token.
    """
    training, right, loss, count = network.training, 0, 0.0, 0
    network.eval()
    for part, wanted in zip(inputs.split(256), targets.split(256), strict=True):
        logits = logits_of(network, part).float()
        if shifted:
            logits, wanted = logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten()
        right += int((logits.argmax(1) == wanted).sum())
        loss += float(nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        count += len(wanted)
    network.train(training)
    return right / count, loss / count
