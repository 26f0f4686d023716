"""Figures that others have published of the same question, as later papers quote them."""

from __future__ import annotations

from collections.abc import Mapping

Figures = Mapping[str, tuple[float | None, ...]]  # at 30, 50 and 70 % pruned
SOURCE = """\
"Published" are top-1 accuracies of a ResNet-18 after 200 epochs (batch 128, OneCycle with 0.3 of it
up, label smoothing 0.1, weight decay 5e-4, momentum 0.9) on the whole training set. Later papers
have copied them from each other, from one source, without intervals: GraNd at 4 epochs, EL2N at 20,
SeTa beside a reference of its own (79.3 on CIFAR-100). Their authors differ in peak rates and, for
InfoBatch, in how epochs fill the nominal budget. Ours keep pictures back to validate on."""
_BANDIT = "refresh=forward-only,period=10"
# By the agents of `paper_presets`, or the first part of their names.
_CIFAR10: Figures = {
    "full": (95.6, None, None),
    "static-random": (94.6, 93.3, 90.2),
    "grand": (95.3, 94.6, 91.2),
    "el2n": (95.3, 95.1, 91.9),
    "random": (94.8, 94.5, 93.0),
    f"epsilon-greedy:{_BANDIT}": (95.2, 94.9, 94.1),
    f"ucb:{_BANDIT}": (95.3, 94.7, 93.9),
    "infobatch": (95.6, 95.1, 94.7),
    "seta": (95.7, 95.3, 95.0),
}
_CIFAR100: Figures = {
    "full": (78.2, None, None),
    "static-random": (73.8, 72.1, 69.7),
    "grand": (74.6, 71.4, 68.8),
    "el2n": (77.2, 72.1, None),
    "random": (77.3, 75.3, None),
    f"epsilon-greedy:{_BANDIT}": (76.4, 74.8, None),
    f"ucb:{_BANDIT}": (77.3, 75.3, None),
    "infobatch": (78.2, 78.1, 76.5),
    "seta": (79.4, 79.0, 77.7),
}
PUBLISHED: Mapping[str, Mapping[str, Figures]] = {
    "resnet18": {"cifar10": _CIFAR10, "cifar100": _CIFAR100}
}
_SCORES = ("grand", "el2n")  # whose settings are this benchmark's own


def is_known_as(agent: str, known: str) -> bool:
    """Whether an agent, with its arguments, is one that figures are published of."""
    first = agent.split(":")[0]
    return known == (first if first in _SCORES else agent)


def published(figures: Figures, agent: str, place: int) -> str:
    """The figure of an agent at the first, second or third share pruned; nothing if there is none.

    Args:
        figures: of a network on a task.
        agent: with its arguments.
        place: of the share.
    """
    found = [figures[known][place] for known in figures if is_known_as(agent, known)]
    return f"{found[0]:.1f}" if found and found[0] is not None else ""
