"""What passes between an agent and a training: what is seen, what may be said, what is known."""

from __future__ import annotations

from dataclasses import dataclass

from prune_env.arguments import check_at_least, check_choice, check_count
from prune_env.decision.action import Encoding
from prune_env.decision.amount import (
    ACTION,
    KEEP_FRACTION,
    MAX_WEIGHT,
    MIN_KEEP_FRACTION,
    Amount,
    check_amount,
)
from prune_env.decision.encodings import ENCODINGS, WITHIN
from prune_env.decision.observation import (
    OBSERVATIONS,
    GroupTable,
    Observer,
    SampleTable,
    Summary,
)
from prune_env.decision.statistics import check_means

REFRESHED = {
    "all": "every sample is scored by a refreshing forward pass",
    "hidden": "only what the last epoch did not train on",
}
RECORDED = {
    "all": "losses met in training, and those of forward passes",
    "passes": "those of forward passes alone: what is met in training leaves no trace",
}


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What an agent observes, what its actions mean, and which losses it is shown.

    The same for an episode of `DataPruningEnv`, whose arguments of these names say it, as for a
    `PruningSampler`, whose agent does.

    Attributes:
        observation: `samples`, `summary` or `groups`.
        action: a key of `prune_env.decision.encodings.ENCODINGS`.
        keep_fraction: kept / N in (0, 1]; None is 0.25. To be left out where the action chooses.
        choose_keep_fraction: let an action that is not per sample choose it.
        min_keep_fraction: smallest fraction that an action may choose, in (0, 1]; None is 0.01.
            To be left out where nothing is chosen.
        refresh_period: epochs between forward passes that refresh losses; None has none.
        refreshed: what a pass refreshes, one of `REFRESHED`; None is `all`.
        recorded: which losses enter the statistics, one of `RECORDED`.
        scale_learning_rate: multiply an epoch's learning rate by N / num_selected.
        loss_decay: weight of a fresh loss in the running statistics, in (0, 1].
        loss_start: what running means of losses start from; None is each sample's first loss.
        max_weight: upper bound of a `weights` action, at least 1; None is 10.
        within: which samples of a group the actions `groups` and `group-features` take, a rule of
            `prune_env.decision.encodings.WITHIN`; None is `random`.
    """

    observation: str = "samples"
    action: str = ACTION
    keep_fraction: float | None = None
    choose_keep_fraction: bool = False
    min_keep_fraction: float | None = None
    refresh_period: int | None = None
    refreshed: str | None = None
    recorded: str = "all"
    scale_learning_rate: bool = False
    loss_decay: float = 0.8
    loss_start: float | None = None
    max_weight: float | None = None
    within: str | None = None

    def __post_init__(self) -> None:
        """Check every field, and that each has an effect beside the others."""
        check_choice("observation", self.observation, OBSERVATIONS)
        check_choice("action", self.action, ENCODINGS)
        check_choice("scale_learning_rate", self.scale_learning_rate, [False, True])
        self._check_refreshing()
        check_amount(
            self.action,
            keep_fraction=self.keep_fraction,
            min_keep_fraction=self.min_keep_fraction,
            choose_keep_fraction=self.choose_keep_fraction,
        )
        self._check_max_weight()
        self._check_within()
        check_means(self.loss_decay, self.loss_start)

    @property
    def in_table(self) -> bool:
        """Whether the agent is shown statistics of every sample or every group."""
        return self.observation != "summary"

    @property
    def amount(self) -> Amount:
        """How much a step trains on."""
        free = ENCODINGS[self.action].free or self.choose_keep_fraction
        fraction = KEEP_FRACTION if self.keep_fraction is None else self.keep_fraction
        minimum = MIN_KEEP_FRACTION if self.min_keep_fraction is None else self.min_keep_fraction
        return Amount(
            keep_fraction=None if free else fraction,
            minimum=minimum,
            component=self.choose_keep_fraction,
        )

    @property
    def bounded(self) -> bool:
        """Whether somebody chose the least that a step trains on: see `Outcome.bounded`."""
        return not self.amount.free or self.min_keep_fraction is not None

    @property
    def per_group(self) -> bool:
        """Whether observation or action has a row or an entry for each group."""
        return self.observation == "groups" or ENCODINGS[self.action].per_group

    @property
    def of_groups(self) -> bool:
        """Whether anybody looks at groups."""
        return self.observation == "groups" or ENCODINGS[self.action].of_groups

    def encoding(self, num_samples: int, num_groups: int) -> Encoding:
        """Decodes actions on N samples of K groups."""
        bound = MAX_WEIGHT if self.max_weight is None else self.max_weight
        return Encoding(
            self.action,
            self.amount,
            num_samples=num_samples,
            max_weight=bound,
            num_groups=num_groups,
            within=self.within or "random",
        )

    def observer(
        self, num_samples: int, num_classes: int, num_groups: int, *, neighbours: bool = False
    ) -> Observer:
        """Encodes observations of N samples of C classes and K groups."""
        if self.observation == "groups":
            return GroupTable(num_groups)
        if self.in_table:
            return SampleTable(num_samples, num_classes, neighbours=neighbours)
        return Summary()

    def _check_refreshing(self) -> None:
        period, which = self.refresh_period, self.refreshed
        if period is not None:
            check_count("refresh_period", period)
        if which is not None:
            check_choice("refreshed", which, REFRESHED)
            if period is None:
                raise ValueError(
                    f"`refreshed` goes with `refresh_period`, got {which!r} without one: it would "
                    "have no effect"
                )
        check_choice("recorded", self.recorded, RECORDED)
        if self.recorded == "passes" and (period is None or which == "hidden"):
            raise ValueError(
                "`recorded` must be 'all' without forward passes over all samples, got 'passes' "
                f"with `refresh_period` {period} and `refreshed` {which or 'all'!r}; set a period "
                "and refresh all"
            )

    def _check_within(self) -> None:
        if self.within is None:
            return
        check_choice("within", self.within, WITHIN)
        if not ENCODINGS[self.action].of_groups:
            raise ValueError(
                f"`within` goes with the actions groups and group-features, got {self.within!r} "
                f"for {self.action!r}: it would have no effect"
            )

    def _check_max_weight(self) -> None:
        if self.max_weight is None:
            return
        if self.action != "weights":
            raise ValueError(
                f"`max_weight` goes with the action weights, got {self.max_weight} for "
                f"{self.action!r}: it would have no effect"
            )
        check_at_least("max_weight", self.max_weight, 1)
