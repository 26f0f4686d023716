"""What `paper.py --preset NAME` trains: networks, data, agents, in the order of their use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = (0.7, 0.5, 0.3)
STRONGEST = "stalest+class-balance:1"  # fixed rule known
REFERENCE = "full"


def _bandit(agent: str) -> tuple[str, ...]:
    """Periods 1 and 10, each by losses met in training and by a forward pass a period, charged."""
    passes = (f"{agent}:refresh=forward-only,period={period}" for period in (10, 1))
    return (*passes, agent, f"{agent}:period=10")


_EPSILON, _UCB = _bandit("epsilon-greedy"), _bandit("ucb")
# The first of each bandit is the paper's own setting, by all that is known of it.
FIRST = ("short", "random", STRONGEST, _EPSILON[0], _UCB[0], "infobatch", "static-random")
SECOND = (
    *("random:period=10", *_EPSILON[1:], *_UCB[1:]),
    *("infobatch:r=0.5", "seta", "orderdp", "repb", "rs2", "loss-proportional", "kakurenbo"),
    *("distrust", "learned"),
)
THIRD = ("rcap", "ies", "pdd")


@dataclass(frozen=True, kw_only=True)
class Training:
    """A network on a task.

    Attributes:
        task: its name.
        network: its name, which is looked up where it is trained.
        epochs: full epochs of the reference; the others have a share of them.
        targets: validation accuracies in (0, 1] whose work and seconds are told.
        scores: agents that score samples beforehand.
        num_seeds: how many where nobody says.
        num_samples: cut the training set to so many; None does not.
        validation_fraction: share of the training data to validate on; None is the task's own.
        recipe: what is other than in the network's own recipe.
    """

    task: str
    network: str
    epochs: float
    targets: tuple[float, ...]
    scores: tuple[str, ...]
    num_seeds: int = 3
    num_samples: int | None = None
    validation_fraction: float | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.network.replace(':', '-')}-{self.task}"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Episodes that are played together.

    Attributes:
        training: of what.
        keep_fraction: kept / N.
        agents: who plays.
        seed: of all.
    """

    training: Training
    keep_fraction: float
    agents: tuple[str, ...]
    seed: int

    def __str__(self) -> str:
        """For whoever waits."""
        pruned = 100 * (1 - self.keep_fraction)
        return f"{self.training.name}, {pruned:.0f} % pruned, seed {self.seed}"


def stages(
    trainings: tuple[Training, ...], seeds: Mapping[str, tuple[int, ...]]
) -> Iterator[Stage]:
    """What is played, the most important first: what is there after any of it is a whole table.

    All agents have the first seed before any has the second, and those of `FIRST` have theirs on
    every network before others come.

    Args:
        trainings: of a preset.
        seeds: of each, by name.
    """
    for number in range(max(map(len, seeds.values()))):
        for tier in range(3):
            for training in trainings:
                if number < len(seeds[training.name]):
                    yield from _tier(training, tier, seeds[training.name][number])


def _tier(training: Training, tier: int, seed: int) -> Iterator[Stage]:
    agents = (FIRST, SECOND, (*training.scores, *THIRD))[tier]
    if tier == 0:
        yield Stage(training=training, keep_fraction=1.0, agents=(REFERENCE,), seed=seed)
    for kept in KEPT:
        yield Stage(training=training, keep_fraction=kept, agents=agents, seed=seed)


def agents_of(training: Training) -> tuple[str, ...]:
    """All that play, the reference first."""
    return (REFERENCE, *FIRST, *SECOND, *training.scores, *THIRD)


def _scores(epochs: int, schedule: float, networks: int = 2) -> tuple[str, ...]:
    """Early scores of some networks, and how often a sample is forgotten until then."""
    early = f"networks={networks},schedule={schedule:g}"
    return (
        f"el2n:epochs={epochs},{early}",
        f"grand:epochs={max(1, epochs // 5)},{early}",
        f"forgetting:epochs={epochs}",
    )


def _cifar(
    task: str, targets: tuple[float, ...], airbench: tuple[float, ...]
) -> tuple[Training, ...]:
    """Both networks; 2,000 of the 50,000 pictures to train on are validated on."""
    shared: dict[str, Any] = {"task": task, "validation_fraction": 0.04}
    quick = Training(
        network="airbench",
        epochs=20,
        targets=airbench,
        scores=_scores(5, 20),
        num_seeds=5,
        **shared,
    )
    usual = Training(
        network="resnet18", epochs=200, targets=targets, scores=_scores(20, 200), **shared
    )
    return quick, usual


_CIFAR10 = _cifar("cifar10", (0.9, 0.93, 0.94, 0.95), (0.9, 0.93, 0.94))
_CIFAR100 = _cifar("cifar100", (0.65, 0.7, 0.75, 0.77), (0.65, 0.7, 0.75))
_QUICK = tuple(one for one in (*_CIFAR10, *_CIFAR100) if one.network == "airbench")
_USUAL = tuple(one for one in (*_CIFAR10, *_CIFAR100) if one.network == "resnet18")
PRESETS: dict[str, tuple[Training, ...]] = {
    # The quick ones first: their table is there within the hour.
    "resnet18": (*_QUICK, *_USUAL),
    "airbench": _QUICK,
    "small": (
        Training(
            task="digits",
            network="mlp",
            epochs=16,
            targets=(0.9, 0.95),
            scores=_scores(5, 20),
            num_seeds=5,
        ),
        Training(
            task="cifar10",
            network="cnn",
            epochs=12,
            targets=(0.35, 0.45),
            scores=_scores(5, 20),
            num_samples=2_000,
            recipe={"crop_padding": 0, "flip": False},
        ),
    ),
}
