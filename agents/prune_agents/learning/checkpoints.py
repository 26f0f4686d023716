"""Checkpoints of gradient training: tensors and numbers, checked before they are used."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn
from torch.optim import Optimizer

from prune_env.storage.archives import read_archive, write_archive
from prune_env.storage.files import check_file, writing

_STEPS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a training stands between two of its rounds: all that the next one depends on.

    Attributes:
        run: which training it is of.
        steps: of the environments, taken so far.
        rounds: done so far.
        seconds: taken so far.
        networks: state of each, by name.
        optimisers: state of each, by name.
        others: tensors and numbers: moments of observations and returns, and what an off-policy
            algorithm remembers.
    """

    run: str
    steps: int
    rounds: int
    seconds: float
    networks: dict[str, dict[str, Tensor]]
    optimisers: dict[str, dict[str, Any]]
    others: dict[str, Any]

    @classmethod
    def of(
        cls, model: BaseAlgorithm, envs: VecNormalize, *, run: str, rounds: int, seconds: float
    ) -> Checkpoint:
        """The present state, whose tensors are the model's own: to be written at once."""
        return cls(
            run=run,
            steps=model.num_timesteps,
            rounds=rounds,
            seconds=seconds,
            networks={name: dict(one.state_dict()) for name, one in _networks(model).items()},
            optimisers={name: one.state_dict() for name, one in _optimisers(model).items()},
            others={name: _numbers(one) for name, one in _moments(envs).items()} | _memory(model),
        )

    def put_into(self, model: BaseAlgorithm, envs: VecNormalize) -> None:
        """Undo `of`, in a model of the same settings."""
        for name, network in _networks(model).items():
            network.load_state_dict(self.networks[name])
        for name, optimiser in _optimisers(model).items():
            optimiser.load_state_dict(self.optimisers[name])
        for name, moments in _moments(envs).items():
            held = self.others[name]
            moments.mean, moments.var = held["mean"].numpy(), held["variance"].numpy()
            moments.count = held["count"]
        _put_memory(model, self.others)
        model.num_timesteps = self.steps

    def after_a_step(self, model: BaseAlgorithm) -> Checkpoint:
        """The same with optimisers that have taken a step, for the names and shapes in them."""
        taken = {name: _after_a_step(one) for name, one in _optimisers(model).items()}
        return replace(self, optimisers=taken)

    def write(self, file: Path) -> None:
        """Write it; it is on disk when this returns.

        Raises:
            ValueError: if it cannot be written.
        """
        with writing(f"`out` {file}"):
            write_archive(file, lambda unfinished: torch.save(self._fields, unfinished))

    @property
    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def read_checkpoint(file: Path, like: Checkpoint) -> Checkpoint:
    """A checkpoint of a file. Nothing in it is executed, and it holds numbers and tensors alone.

    Args:
        file: written by `Checkpoint.write`.
        like: of the same training when it was new, `after_a_step`: what is read must have the same
            names, types and shapes.

    Raises:
        ValueError: if it is no file, is damaged, or is of another training; the message names it.
    """
    check_file(file, "out")
    state: Any = read_archive(file, lambda whole: torch.load(whole, weights_only=True))
    try:
        if not isinstance(state, dict):
            raise ValueError("it was changed after it was written, or written by another version")
        if state.get("run") != like.run:
            raise ValueError("it is of another training")
        _check_like(like._fields, state, "it")
    except ValueError as error:
        raise ValueError(
            f"`out` {file} is damaged ({error}); remove it to train from the beginning, or name "
            "another folder"
        ) from error
    return Checkpoint(**state)


def _check_like(expected: Any, got: Any, name: str) -> None:
    """Raise ValueError unless both have the same structure, and what was read is finite."""
    if type(got) is not type(expected):
        types = type(expected).__name__, type(got).__name__
        raise ValueError(f"{name} must be of type {types[0]}, got {types[1]}")
    if isinstance(expected, Tensor):
        _check_tensor(expected, got, name)
    elif isinstance(expected, float):
        if not math.isfinite(got):
            raise ValueError(f"{name} must be finite, got {got}")
    elif isinstance(expected, dict):
        _check_names(expected, got, name)
        for key, value in got.items():
            _check_like(expected[key], value, f"{name}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        if len(got) != len(expected):
            raise ValueError(f"{name} must have {len(expected)} entries, got {len(got)}")
        for index, pair in enumerate(zip(expected, got, strict=True)):
            _check_like(*pair, f"{name}[{index}]")


def _check_tensor(expected: Tensor, got: Tensor, name: str) -> None:
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        kinds = [f"{one.dtype} of shape {tuple(one.shape)}" for one in (expected, got)]
        raise ValueError(f"{name} must be {kinds[0]}, got {kinds[1]}")
    if not torch.isfinite(got).all():
        raise ValueError(f"{name} must be finite")


def _check_names(expected: dict[Any, Any], got: dict[Any, Any], name: str) -> None:
    # An optimiser that has not taken a step yet has no state.
    if got.keys() != expected.keys() and not (name.endswith("['state']") and not got):
        differing = sorted(map(repr, got.keys() ^ expected.keys()))
        raise ValueError(f"{name} must have other entries: {', '.join(differing)}")


def _networks(model: Any) -> dict[str, nn.Module]:
    return {"policy": model.policy}


def _optimisers(model: Any) -> dict[str, Optimizer]:
    if not isinstance(model, SAC):
        return {"policy": model.policy.optimizer}
    assert model.ent_coef_optimizer is not None
    return {
        "actor": model.actor.optimizer,
        "critic": model.critic.optimizer,
        "entropy": model.ent_coef_optimizer,
    }


def _after_a_step(optimiser: Optimizer) -> dict[str, Any]:
    other = copy.deepcopy(optimiser)
    for group in other.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    other.step()
    return other.state_dict()


def _moments(envs: VecNormalize) -> dict[str, Any]:
    moments: dict[str, Any] = {"returns": envs.ret_rms}
    return moments | {"observations": envs.obs_rms} if envs.norm_obs else moments


def _numbers(moments: Any) -> dict[str, Any]:
    mean, variance = torch.as_tensor(moments.mean), torch.as_tensor(moments.var)
    return {"mean": mean, "variance": variance, "count": float(moments.count)}


def _memory(model: Any) -> dict[str, Any]:
    """What an off-policy algorithm remembers of its steps, and how much it explores."""
    if not isinstance(model, SAC):
        return {}
    assert model.replay_buffer is not None
    assert model.log_ent_coef is not None
    buffer = model.replay_buffer
    steps: dict[str, Any] = {name: torch.from_numpy(getattr(buffer, name)) for name in _STEPS}
    place = {"position": buffer.pos, "full": buffer.full}
    return {"replay": steps | place, "entropy": model.log_ent_coef.detach()}


def _put_memory(model: Any, others: dict[str, Any]) -> None:
    """Undo `_memory`."""
    if not isinstance(model, SAC):
        return
    buffer, replay = model.replay_buffer, others["replay"]
    assert buffer is not None
    assert model.log_ent_coef is not None
    for name in _STEPS:
        getattr(buffer, name)[:] = replay[name].numpy()
    buffer.pos, buffer.full = replay["position"], replay["full"]
    model.log_ent_coef.data.copy_(others["entropy"])
