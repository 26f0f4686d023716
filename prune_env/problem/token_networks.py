"""Networks for tokens: a bag of embeddings, and a small causal transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS, HEADS = 2, 4
EMBEDDED = 0.02  # deviation of an embedding's entries before training


class Bag(nn.Module):
    """Mean of the embeddings of a text's tokens, 0 left out, then a layer that sees nothing else.

    As fastText (Joulin et al. 2016, arXiv 1607.01759), without n-grams.

    Args:
        input_shape: (T,) of one text.
        num_outputs: such as the number of classes.
        num_tokens: inputs are below it.
        width: of an embedding.
    """

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, num_tokens: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, width)
        self.output = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs (B, num_outputs) of tokens (B, T)."""
        there = (tokens > 0).unsqueeze(-1)
        summed = (self.embedding(tokens) * there).sum(dim=1)
        return self.output(summed / there.sum(dim=1).clamp(min=1))


class _Block(nn.Module):
    """Attention to what came before and a layer of its own, each on normalised inputs."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.projected = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widened, self.narrowed = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        """States (B, T, width) of states."""
        count, length, width = states.shape
        heads = self.mixed(self.first(states)).view(count, length, 3, HEADS, width // HEADS)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        states = states + self.projected(seen.transpose(1, 2).reshape(count, length, width))
        return states + self.narrowed(F.gelu(self.widened(self.second(states))))


class Transformer(nn.Module):
    """Two causal layers with learnt positions; what comes next of each token.

    Pre-normalised, as GPT-2 (Radford et al. 2019), without dropout.

    Args:
        input_shape: (T,) of one text.
        num_outputs: V, such as the number of tokens.
        num_tokens: inputs are below it.
        width: of a state, a multiple of 4.
    """

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, num_tokens: int, width: int):
        super().__init__()
        self.tokens = nn.Embedding(num_tokens, width)
        self.positions = nn.Embedding(input_shape[0], width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(LAYERS)))
        self.normalised, self.output = nn.LayerNorm(width), nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, num_outputs) of tokens (B, T)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        states = self.blocks(self.tokens(tokens) + self.positions(places))
        return self.output(self.normalised(states))


# By name, with the width where nothing is said.
TOKEN_NETWORKS: dict[str, tuple[type[Bag] | type[Transformer], int]] = {
    "bag": (Bag, 64),
    "transformer": (Transformer, 64),
}
