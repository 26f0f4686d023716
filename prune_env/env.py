"""The decision problem: dynamic data pruning as a Markov decision process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from prune_env.decision.clock import inside
from prune_env.decision.interface import Interface
from prune_env.decision.observation import Observation
from prune_env.decision.reward import CheckedReward, Reward
from prune_env.devices import resolve_device
from prune_env.episode import Episode, Step, step_info
from prune_env.episodes import EpisodeMaker, Ingredients, make_trainer, processes_of
from prune_env.problem.instance import Instance
from prune_env.problem.scenarios import Scenario
from prune_env.problem.tasks import Task
from prune_env.processes import is_first
from prune_env.rendering.display import RENDER_MODES, Display
from prune_env.rendering.snapshot import Snapshot
from prune_env.training.pretraining import Pretraining
from prune_env.training.protocol import NetworkTrainer

Info = dict[str, Any]
Value = TypeVar("Value")


class DataPruningEnv(gym.Env[Observation, np.ndarray]):
    """Choose, epoch by epoch, which training samples a network is trained on.

    Description:
        An episode is one training run, from fresh weights, of a real network on one *instance*
        (a task under a scenario), until a budget of work is used up. A step is one epoch over
        the samples that the action keeps. The unit of work and of time is a *full epoch*: a
        forward and a backward pass over all N training samples. A step on k samples costs k / N,
        scoring m samples (`refresh_period`) m / 3N; validation is not charged. The last epoch is
        cut to what is left of the budget. The learning rate follows work spent / budget, so the
        schedule completes whatever is pruned. A last, partial mini-batch sums its losses and
        divides by the nominal batch size. What surrounds a call (`torch.no_grad`,
        `torch.inference_mode`, `torch.autocast`) changes nothing. In a process that was forked
        torch computes on one thread, as in PyTorch's own DataLoader.

    Action:
        | `action`         | space                    | meaning                                   |
        |------------------|--------------------------|-------------------------------------------|
        | `mask`           | MultiBinary(N)           | 1 = train on the sample                   |
        | `scores`         | Box(-1, 1, (N,))         | the top `keep_fraction` is trained on     |
        | `weights`        | Box(0, max_weight, (N,)) | 0 = pruned, else its loss's multiplier    |
        | `mixture`        | Box(-1, 1, (5,))         | shares softmax(4 a) of five rules         |
        | `features`       | Box(-1, 1, (7,))         | weights of `FEATURES`; Gumbel top-k       |
        | `bins`           | Box(-1, 1, (16,))        | log propensity / 4 of each loss quantile  |
        | `compose`        | Box(-1, 1, (5,))         | `COMPOSITION`: corrections to `distrust`  |
        | `groups`         | Box(-1, 1, (K,))         | shares softmax(4 a) of the K groups       |
        | `group-features` | Box(-1, 1, (8,))         | weights of `GROUP_COLUMNS`: size x e^2a.z |
        | `rule`           | Discrete(12)             | which of `RULE_ENTRIES` plays             |

        Names in capitals are of `prune_env`. The five rules are random, highest, lowest and middle
        loss and stalest; what 0 says in `compose` is the rule `distrust` itself.

        Groups are those that the task names, such as where samples are from, or else the classes;
        what a group smaller than its share cannot give, the others do.

        A sample never seen has no loss yet. Every rule on the loss takes it to have the loss
        that is wanted most: of `mixture` and `rule` all but random take such samples first, in
        `bins` they are as likely as the best bin, in `features` (and groups never met in
        `group-features`) they have the value that each weight on a loss wants most.

        With `choose_keep_fraction` all but the first three and `rule` have one more entry
        in [-1, 1], which moves the keep fraction geometrically from `min_keep_fraction` to 1. A
        `mask` or `weights` action that keeps fewer than ceil(`min_keep_fraction` N) samples is
        filled up with random ones (`info["num_added"]`), so that near-empty masks cannot stretch
        an episode or farm `step-rate`. An empty one is an error.

    Observation:
        | `observation` | space                                                                 |
        |---------------|-----------------------------------------------------------------------|
        | `samples`     | Dict(`samples`: Box (N, 9), `classes`: Box (C, 3), `run`: Box (14,))  |
        | `groups`      | Dict(`groups`: Box (K, 8), `run`: Box (14,))                          |
        | `summary`     | Box (28,): `run`, then quantiles and moments of the statistics        |

        Columns and ranges: `prune_env.SAMPLE_COLUMNS`, `CLASS_COLUMNS`, `GROUP_COLUMNS`,
        `RUN_COLUMNS` and `SUMMARY_COLUMNS`. `wrong_share` is the estimated share of wrong labels
        (see `prune_env.ClassKnowledge`) and `wrong_evidence` what speaks for it, a half where it is
        just enough; `label_shift` half the sum of the differences between the shares of the classes
        in training and in validation. Only training and validation data are ever observed.

    Reward:
        | `reward`    | of a step                                                               |
        |-------------|-------------------------------------------------------------------------|
        | `rate`      | gain of the validation metric / budget: the return is gain a unit time  |
        | `step-rate` | gain / time of this step (see `prune_env.step_rate`)                    |
        | `gain`      | gain of the validation metric                                           |
        | `loss`      | fall of the validation loss                                             |
        | `terminal`  | final validation metric at the end, else 0                              |

        Divergence gives -1 instead, in all of them.

    Episode end:
        `terminated` when the budget is used up, or when a loss is not finite
        (`info["diverged"]`). Never `truncated`.

    Info keys:
        The same of `reset` and `step`: `instance` (`task`, `scenario`), `num_samples` N, `epoch`,
        `budget`, `work` (full epochs spent so far, scoring included), `progress` (share of the
        budget spent), `validation_metric`, `validation_loss`, `validation_classes` (of each class
        its validation samples, those predicted right, and all predicted to be of it); and of the
        last step, 0 at reset, `num_trained`, `num_unseen` (of these, without a loss recorded
        before), `num_selected` (before the last epoch's cut), `num_added`, `num_scored`,
        `num_updates`, `keep_fraction` (trained / N), `train_loss` and `train_metric` (at reset
        the validation's), `metric_gain`, `metric_gain_per_time`, `step_time` (full epochs, on
        the clock), `reward_parts` (by name, `divergence` among them), `diverged`. On the wall clock
        also `seconds` since reset, by part.

    Arguments:
        task: a name (`prune_env.task_names()`, or `folder:PATH`), a `Task`, or several to
            sample from at each reset.
        scenario: `clean`, or `noise:F`, `confusion:F`, `imbalance:R`, `tail:R`, `drift:R`,
            `duplicates:F`, `copies:R`, `validation-noise:F` joined by `+` in any order, or the same
            as objects, such as `Noise(0.3) + Imbalance(10)`; or several.
        model: a name of `prune-env list models`, such as `mlp:64` or `cnn`; None is the task's own.
        num_samples: cut every training set to this many; None keeps all.
        budget: full epochs, above 0; at least 2 make a run worth the name.
        keep_fraction: kept / N in (0, 1]; None is 0.25. To be left out where the action chooses.
        choose_keep_fraction: let an action that is not per sample choose it.
        min_keep_fraction: smallest fraction that an action may choose, in (0, 1]; None is 0.01.
            `step-rate` asks for one of your own there. To be left out where nothing is chosen.
        observation: `samples`, `summary` or `groups`.
        action: one of the encodings above.
        reward: a name above, or a callable from `prune_env.Outcome` to named parts.
        clock: `work` (counted, deterministic) or `wall` (measured seconds, over those of a full
            epoch; from one answer of the environment to the end of the next training).
        refresh_period: after every so many epochs, score samples by a forward pass, charged;
            None uses the losses met in training only, which are free and go stale.
        refreshed: `all` samples are scored then (None), or `hidden`, what the epoch left out.
        recorded: `all` losses enter the statistics, or those of `passes` over all samples alone.
        scale_learning_rate: multiply an epoch's learning rate by N / num_selected.
        loss_decay: weight of a fresh loss in the running statistics, in (0, 1].
        loss_start: what running means of losses start from; None is each sample's first loss.
        max_weight: upper bound of a `weights` action, at least 1; None is 10.
        within: which samples of a group `groups` and `group-features` take: `random` (None),
            `highest`, `lowest`, `middle`, `stalest` or `proportional`.
        neighbours: show in `samples` which share of so many nearest training inputs (10 is good)
            has the sample's label; charged: see `prune_env.problem.neighbours`. None does not.
        validation_samples: validate on about so many, a fixed and stratified choice; None is as
            many as cost 5 % of training on a quarter of the samples, but at least 1,000.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` (the current one) or `cuda:1` etc.
        precision: `float32`, on a GPU `tf32`, `bfloat16` (matrix products and convolutions; the
            rest stays float32), or `auto`: float32 on a CPU, and on a GPU that has it bfloat16 for
            networks larger than an mlp. The same seed gives the same trajectory, bit for bit, on
            one processor at one thread count, and within rounding on another.
        distributed: the processes of `torch.distributed`, started before, train one network
            together, each its part of every mini-batch: the same as in one process but for
            rounding (and what dropout draws). Each makes the same calls, with a `device` of its
            own on CUDA; actions, seeds, options and clock of the first count. Networks that
            normalise batches must do so over all processes (`torch.nn.SyncBatchNorm`, on CUDA).
        render_mode: None, `ansi` (a line), `rgb_array` (a panel, as `snapshot().picture()`) or
            `human` (shown in a window or notebook after each `reset` and `step`).

    Versions:
        v0: first.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        task: str | Task | Sequence[str | Task] = "digits",
        *,
        scenario: str | Scenario | Sequence[str | Scenario] = "clean",
        model: str | None = None,
        num_samples: int | None = None,
        budget: float = 4.0,
        keep_fraction: float | None = None,
        choose_keep_fraction: bool = False,
        min_keep_fraction: float | None = None,
        observation: str = "samples",
        action: str = "scores",
        reward: str | Reward = "rate",
        clock: str = "work",
        refresh_period: int | None = None,
        refreshed: str | None = None,
        recorded: str = "all",
        scale_learning_rate: bool = False,
        loss_decay: float = 0.8,
        loss_start: float | None = None,
        max_weight: float | None = None,
        within: str | None = None,
        neighbours: int | None = None,
        validation_samples: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        distributed: bool = False,
        render_mode: str | None = None,
    ):
        self._processes = processes_of(distributed)
        self._display = Display(render_mode, looks_on=is_first(self._processes))
        interface = Interface(
            observation=observation,
            action=action,
            keep_fraction=keep_fraction,
            choose_keep_fraction=choose_keep_fraction,
            min_keep_fraction=min_keep_fraction,
            refresh_period=refresh_period,
            refreshed=refreshed,
            recorded=recorded,
            scale_learning_rate=scale_learning_rate,
            loss_decay=loss_decay,
            loss_start=loss_start,
            max_weight=max_weight,
            within=within,
        )
        instances = Instance.each(
            task,
            scenario,
            model=model,
            num_samples=num_samples,
            validation_samples=validation_samples,
            budget=budget,
        )
        self._reward = CheckedReward(reward, budget=budget, bounded=interface.bounded)
        self._device = resolve_device(device)
        self._maker = EpisodeMaker(
            instances,
            interface,
            clock=clock,
            device=self._device,
            precision=precision,
            neighbours=neighbours,
            make_trainer=self._make_trainer,
        )
        self.encodings = {"observation": observation, "action": action}
        self._episode: Episode | None = None
        self.render_mode = render_mode
        self.action_space: spaces.Space[Any] = self._maker.encoding.space
        self.observation_space: spaces.Space[Any] = self._maker.observer.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start a training run from fresh weights.

        Args:
            seed: starts every random stream; None goes on with the present one.
            options: `task` and `scenario` choose the instance instead of drawing it, `budget`
                (full epochs) is that of this episode alone.

        Returns:
            The first observation and info.

        Raises:
            ValueError: if an option is unknown, or the instance does not fit the spaces.
        """
        super().reset(seed=seed)
        with inside():
            options = self._share_chance(options or {})
            instance = self._maker.choose(self.np_random, options)
            entropy = self.np_random.integers(2**32, size=4).tolist()
            self._episode = run = self._maker.start(instance, entropy)
            pruner = run.pruner
            self._display.follow(run)
            info = run.info() | step_info(pruner, dict(self._reward.nothing))
            answer = self._agreed(lambda: (pruner.observe(), info))
        pruner.clock.wait_for_agent()
        return answer

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, Info]:
        """Train one epoch on what `action` keeps.

        Args:
            action: of `action_space`.

        Returns:
            Observation, reward, terminated, truncated (always False) and info.

        Raises:
            ValueError: if the action is malformed; nothing is trained then.
            gymnasium.error.ResetNeeded: if no episode is running.
        """
        run = self._running_episode()
        with inside():
            selection = self._agreed(lambda: run.pruner.select(action))
            known = run.pruner.statistics.known_losses()
            result = run.train(selection)
            run.pruner.record(result)
            step = run.finish(selection, result, run.evaluate, known)
            mine = self._answer(run, step, run.pruner.observe())
            answer = self._agreed(lambda: mine)
        run.pruner.clock.wait_for_agent()
        return answer

    def _answer(
        self, run: Episode, step: Step, observation: Observation
    ) -> tuple[Observation, float, bool, bool, Info]:
        """What `step` returns."""
        pruner = run.pruner
        self._display.follow(run, step)
        parts = self._reward.parts(step.outcome, diverged=pruner.diverged)
        info = run.info() | step_info(pruner, parts, step)
        return observation, sum(parts.values()), run.over, False, info

    def pretraining(self) -> Pretraining:
        """Extra trainings on this episode's training samples; what they cost is not charged."""
        run = self._any_episode()
        return Pretraining(
            instance=run.instance,
            split=run.split,
            entropy=run.entropy,
            precision=run.trainer.precision,
        )

    def action_masks(self) -> np.ndarray:
        """Which choices of action `rule` are of use now: bool (A,), as MaskablePPO asks for it.

        Before a loss is known, every rule but `random` is `random`.

        Raises:
            ValueError: if the action is another.
        """
        self._maker.encoding.check_is_rule()
        return self._maker.encoding.valid_rules(self._any_episode().pruner.statistics)

    @property
    def over(self) -> bool:
        """Whether there is no episode to step: none was started, or it has ended."""
        return self._episode is None or self._episode.over

    @property
    def network(self) -> nn.Module:
        """The network of the present episode, the one in training: `deepcopy` it to keep it so.

        Set it to the mode that you want; the next `reset` makes another, on a GPU in its memory. In
        a vector environment an `mlp` is a copy.
        """
        return self._any_episode().trainer.model

    @property
    def device(self) -> torch.device:
        """The device trained on."""
        return self._device

    @property
    def provides(self) -> frozenset[str]:
        """What agents can be told of all of its instances, by the names of `Agent.reads`."""
        return frozenset.intersection(*(i.provides(self._device) for i in self._maker.instances))

    @property
    def precision(self) -> str:
        """The number format of the present network's matrix products."""
        return self._any_episode().trainer.precision

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds since reset by part: train, scoring, selection, evaluation."""
        return dict(self._any_episode().pruner.stopwatch.seconds)

    def render(self) -> Any:
        """A line of text (`ansi`), a panel (`rgb_array`), or None and a window (`human`)."""
        return None if self.render_mode is None else self._display.render(self._any_episode())

    def snapshot(self) -> Snapshot:
        """Where the episode stands, to be drawn or logged in any render mode."""
        return self._display.snapshot(self._any_episode())

    def close(self) -> None:
        """Close the window of render mode `human`, if there is one."""
        self._display.close()

    def _make_trainer(self, parts: Ingredients) -> NetworkTrainer:
        return make_trainer(parts, self._processes)

    def _agreed(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, where several train together."""
        return make() if self._processes is None else self._processes.first(make)

    def _share_chance(self, options: dict[str, Any]) -> dict[str, Any]:
        """Take over the random numbers of the first process; returns its options."""
        stream = self.np_random.bit_generator
        stream.state, options = self._agreed(lambda: (stream.state, options))
        return options

    def _any_episode(self) -> Episode:
        if self._episode is None:
            raise gym.error.ResetNeeded("no episode yet: call reset()")
        return self._episode

    def _running_episode(self) -> Episode:
        if self._any_episode().over:
            raise gym.error.ResetNeeded("the episode is over: call reset() before step()")
        return self._any_episode()
