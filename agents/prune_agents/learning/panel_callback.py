"""What an environment keeps, in the logs of somebody's own training with Stable-Baselines3."""

from __future__ import annotations

from numbers import Real
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image

from prune_env import Snapshot
from prune_env.arguments import check_count
from prune_env.extras import extra

STEP_COLUMNS = ("keep_fraction", "num_unseen", "train_loss", "train_metric")
END_COLUMNS = ("validation_metric", "validation_loss", "epoch", "work")
_MOST_GROUPS = 20  # of which shares are logged
_NO_PICTURES = ("stdout", "log", "json", "csv")


class PanelCallback(BaseCallback):
    """Logs the panel of a running episode, shares of the classes in it, and keys of `info`.

    To whatever logger the model has: pictures go to TensorBoard alone. Means over all environments
    since the last dump are `pruning/` with a key of `info`: of every step `keep_fraction`,
    `num_unseen`, `train_loss` and `train_metric`, of the ends of episodes `validation_metric`,
    `validation_loss`, `epoch` and `work`. Every so many steps the first environment's panel is
    `pruning/panel`, half-way through its episode, and `kept share/` has for each of up to twenty
    classes or groups its share in what was trained on until then.

        model = PPO("MlpPolicy", envs, tensorboard_log="runs/tensorboard")
        model.learn(20_000, callback=PanelCallback(every=2_000))

    Args:
        every: steps of the environments between panels, at least 1; None draws none.
        verbose: as for Stable-Baselines3.

    Raises:
        ValueError: if `every` is less than 1; as the training starts, if the environments are none
            of prune_env.
        DependencyNotInstalled: as the training starts, if panels need what is not there.
    """

    def __init__(self, every: int | None = 2_000, verbose: int = 0):
        super().__init__(verbose)
        if every is not None:
            check_count("every", every)
        self._every, self._due = every, 0

    def _on_training_start(self) -> None:
        if self._every is None:
            return
        if not self.training_env.has_attr("snapshot"):
            raise ValueError(
                "`PanelCallback` goes with environments of prune_env, which have a `snapshot`, got "
                f"{self.training_env}"
            )
        with extra("plots", "a panel in the logs"):
            import matplotlib.figure  # noqa: F401  # before anything is trained

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        dones = self.locals["dones"]
        for info, done in zip(infos, dones, strict=True):
            for name in (*STEP_COLUMNS, *(END_COLUMNS if done else ())):
                if isinstance(info.get(name), Real):
                    self.logger.record_mean(f"pruning/{name}", float(info[name]))
        # Of an episode that has ended nothing is left: its environment was reset within the step.
        midway = not dones[0] and infos[0].get("progress", 0.0) >= 0.5
        if self._every is not None and midway and self.num_timesteps >= self._due:
            self._due = (self.num_timesteps // self._every + 1) * self._every
            (now,) = self.training_env.env_method("snapshot", indices=[0])
            self._show(now)
        return True

    def _show(self, now: Snapshot) -> None:
        image = Image(now.picture(), "HWC")
        self.logger.record("pruning/panel", image, exclude=_NO_PICTURES)
        for name, share in logged_shares(now):
            self.logger.record(f"kept share/{name}", share, exclude=("stdout", "log"))


def logged_shares(now: Snapshot) -> list[tuple[str, float]]:
    """Of each class or group its share in what was trained on so far; none where they are many.

    Args:
        now: of a training run.
    """
    if len(now.group_names) > _MOST_GROUPS:
        return []
    return list(zip(now.group_names, now.seen_shares.tolist(), strict=False))
