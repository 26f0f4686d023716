"""Learned policies as files: one safetensors file holds the numbers and says what they are for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from prune_agents.learning.columns import SCORER_COLUMNS
from prune_agents.learning.network import Network
from prune_env import ENCODINGS, SUMMARY_COLUMNS, Agent
from prune_env.arguments import check_choice, check_fraction, check_type
from prune_env.storage.fields import parse_json
from prune_env.storage.files import replacing, why_no_file, writing

if TYPE_CHECKING:
    from prune_env import DataPruningEnv

FORMAT = 2
# In files of format 1, samples never seen came last in these actions; now they come first.
_CHANGED = ("mixture", "features", "bins")
_KEY = "prune_env"
_CHECKSUM = "checksum"  # files of format 1 may be without
_PER_SAMPLE = "score"


# Columns that files know by the name of the only metric that there was: so they keep their digest.
_IN_FILES = {"validation_metric": "validation_accuracy", "train_metric": "train_accuracy"}


def observation_columns(observation: str) -> tuple[str, ...]:
    """Names of what a policy is shown: of the run, or of each sample of it.

    Args:
        observation: `summary` or `samples`.
    """
    if observation == "samples":
        return SCORER_COLUMNS
    return tuple(name for name, _ in SUMMARY_COLUMNS)


def action_entries(action: str, *, choose_keep_fraction: bool) -> tuple[str, ...]:
    """Names of what a policy answers.

    Args:
        action: Encoding.
        choose_keep_fraction: Whether there is an entry for how much to keep.
    """
    entries = ENCODINGS[action].entries or (_PER_SAMPLE,)
    return (*entries, "keep_fraction") if choose_keep_fraction else entries


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A network, the environment it is for, and where it comes from.

    Args:
        network: From `columns` to the entries of an action.
        observation: `summary`, or `samples` for a policy that scores sample by sample.
        action: Encoding.
        choose_keep_fraction: Whether the action has an entry for how much to keep.
        columns: What the network is shown, a choice of `observation_columns`.
        provenance: How it was made: command, settings, versions, evaluation; JSON.
    """

    network: Network
    observation: str = "summary"
    action: str = "features"
    choose_keep_fraction: bool = False
    columns: tuple[str, ...] = observation_columns("summary")
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check network against columns and entries."""
        sizes = (len(self.columns), len(self.entries))
        if (self.network.num_inputs, self.network.num_outputs) != sizes:
            raise ValueError(
                f"`network` must take {sizes[0]} inputs and give {sizes[1]} outputs, got "
                f"{self.network.num_inputs} and {self.network.num_outputs}"
            )

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of what the network answers."""
        return action_entries(self.action, choose_keep_fraction=self.choose_keep_fraction)

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What its environment must be made with."""
        return {
            "observation": self.observation,
            "action": self.action,
            "choose_keep_fraction": self.choose_keep_fraction,
        }

    def check(self, env: DataPruningEnv) -> None:
        """Check that an environment is one that the policy is for.

        Args:
            env: The environment.

        Raises:
            ValueError: if it is not; the message says what differs.
        """
        differing = [
            f"{name} {self.env_arguments[name]!r} for the policy and {here!r} here"
            for name, here in env.encodings.items()
            if self.env_arguments[name] != here
        ]
        shape = env.action_space.shape
        if not differing and self.action != "scores" and shape != (len(self.entries),):
            differing = [f"{len(self.entries)} action entries for the policy and {shape} here"]
        if differing:
            raise ValueError(
                f"the environment does not fit the policy: {'; '.join(differing)}; make it with "
                f"{self.env_arguments}"
            )

    def with_provenance(self, provenance: dict[str, Any]) -> Policy:
        """The same policy, saying where it comes from.

        Args:
            provenance: What it says, as JSON.
        """
        return replace(self, provenance=provenance)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with what the policy does; its provenance is no part."""
        return _hash(self._description, self.network.tensors())[:16]

    @property
    def _description(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            **self.env_arguments,
            "columns": tuple(_IN_FILES.get(name, name) for name in self.columns),
            "entries": self.entries,
            "activation": self.network.activation,
            "squash": self.network.squash,
        }

    def act(self, observation: Any) -> np.ndarray:
        """Answer one observation, or a batch of them.

        Args:
            observation: Of an environment that the policy is for, or K of them.

        Returns:
            (A,) or (K, A) float32, the action.
        """
        if self.observation == "samples":
            from prune_agents.learning.scorer import scorer_inputs  # loads Stable-Baselines3

            return self.network(scorer_inputs(observation))[..., 0]
        return self.network(observation[..., _positions(self.columns)])

    def save(self, path: Path | str) -> None:
        """Write the policy, numbers and JSON, to one file, with a checksum of both.

        Args:
            path: A file that is not there yet.

        Raises:
            FileExistsError: if there is one.
            ValueError: if it cannot be written.
        """
        path = Path(path)
        if path.exists():
            raise FileExistsError(f"`path` {path} is there already; name another file")
        description = self._description | {"provenance": self.provenance}
        tensors = {k: np.ascontiguousarray(v) for k, v in self.network.tensors().items()}
        description = parse_json(json.dumps(description, allow_nan=False).encode())
        text = json.dumps(description | {_CHECKSUM: _hash(description, tensors)})
        with writing(f"`path` {path}"), replacing(path) as unfinished:
            unfinished.write_bytes(save(tensors, {_KEY: text}))


def _hash(description: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    hashed = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        hashed.update(f"{name} {values.dtype} {values.shape}".encode())
        hashed.update(np.ascontiguousarray(values).data)
    return hashed.hexdigest()


@cache
def _positions(columns: tuple[str, ...]) -> np.ndarray:
    known = observation_columns("summary")
    return np.array([known.index(name) for name in columns], dtype=np.int64)


def bundled_policy() -> Path:
    """The policy that comes with the package."""
    return Path(str(resources.files("prune_agents.learning") / "bundled.safetensors"))


def load_policy(path: Path | str) -> Policy:
    """Read a policy file. Nothing in it is executed: it is numbers and JSON.

    Args:
        path: The file.

    Raises:
        ValueError: if it is none, is damaged, or its observation columns or action entries are not
            those of this version of prune_env; the message names the file and says which.
    """
    problem = why_no_file(Path(path))
    if problem:
        raise ValueError(f"`path` must be a policy file, got {path} ({problem})")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            described = parse_json((file.metadata() or {})[_KEY].encode())
    except (OSError, SafetensorError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"`path` must be a policy file, got {path} ({error})") from error
    try:
        return _described_policy(tensors, described)
    except (LookupError, AttributeError, TypeError) as error:
        raise ValueError(
            f"`path` {path} is damaged: what it says of itself is incomplete or of other types "
            f"({error!r}); train it anew"
        ) from error
    except ValueError as error:
        raise ValueError(f"`path` {path}: {error}") from error


def _described_policy(tensors: dict[str, np.ndarray], described: dict[str, Any]) -> Policy:
    made = described.get("format")
    if made == 1 and described["action"] in _CHANGED:
        raise ValueError(
            "it was trained where samples never seen came last, and now they come first, so that "
            f"its action {described['action']!r} would do something else; train it anew"
        )
    if made not in (1, FORMAT):
        raise ValueError(f"it has format {made!r} and this version reads 1 and {FORMAT}")
    _check_description(described)
    policy = Policy(
        network=Network.of_tensors(
            tensors, activation=described["activation"], squash=described["squash"]
        ),
        observation=described["observation"],
        action=described["action"],
        choose_keep_fraction=described["choose_keep_fraction"],
        columns=tuple(_present_names(described["columns"])),
        provenance=described["provenance"],
    )
    given = described.pop(_CHECKSUM, None)
    if given != _hash(described, tensors) and (made == FORMAT or given is not None):
        raise ValueError("it was changed after it was written; copy it or train it anew")
    return policy


def _present_names(columns: list[str]) -> list[str]:
    """What the columns named in a file are called now."""
    present = {old: new for new, old in _IN_FILES.items()}
    return [present.get(name, name) for name in columns]


def _check_description(described: dict[str, Any]) -> None:
    observation, action = described["observation"], described["action"]
    if observation not in ("summary", "samples") or action not in ENCODINGS:
        raise ValueError(
            f"it is for observation {observation!r} and action {action!r}, which this version has "
            "not"
        )
    free = described["choose_keep_fraction"]
    check_choice("choose_keep_fraction", free, [False, True])
    check_type("provenance", described["provenance"], dict, "an object")
    check_type("columns", described["columns"], list, "a list of names")
    expected = action_entries(action, choose_keep_fraction=free)
    known = observation_columns(observation)
    names = _present_names(described["columns"])
    problems = [f"column {name!r}" for name in names if name not in known]
    if tuple(described["entries"]) != expected:
        problems.append(f"action entries {described['entries']} against {list(expected)}")
    if problems:
        version = described["provenance"].get("versions", {}).get("prune_env", "unknown")
        raise ValueError(
            f"it does not fit this version of prune_env (made by {version}): "
            f"{'; '.join(problems)}; train it anew"
        )


@dataclass(kw_only=True, eq=False)
class Learned(Agent):
    """Asks a policy trained by `prune-env train`: the bundled one, or that of a file.

    Source: this project

    Args:
        path: Policy file; None is the bundled policy.
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1]; None is the
            environment's. It is only for a policy that does not choose it.

    Attributes:
        digest: Of the policy: sixteen hex digits that change with what it does.

    Raises:
        ValueError: if the file is none of a policy, or it chooses the keep fraction given.
    """

    path: str | None = None
    keep_fraction: float | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Load the policy."""
        if not isinstance(self.path, (str, Path, type(None))):
            raise TypeError(f"`path` must be text, got {self.path!r}; put it in double quotes")
        self.path = None if self.path is None else str(self.path)
        self._take(load_policy(bundled_policy() if self.path is None else self.path))

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the policy is in its file and keeps nothing of an episode."""
        return {}

    @classmethod
    def of(cls, policy: Policy, *, keep_fraction: float | None = None) -> Learned:
        """An agent of a policy that is in no file yet.

        Args:
            policy: What decides.
            keep_fraction: As for the class.
        """
        agent = cls.__new__(cls)
        agent.path, agent.keep_fraction = None, keep_fraction
        agent._take(policy)
        return agent

    def _take(self, policy: Policy) -> None:
        if self.keep_fraction is not None:
            check_fraction("keep_fraction", self.keep_fraction)
            if policy.choose_keep_fraction:
                raise ValueError(
                    f"`keep_fraction` must not be given to a policy that chooses it itself, got "
                    f"{self.keep_fraction}; leave it out"
                )
        self.digest = policy.digest
        self._policy = policy
        super().__post_init__()

    @property
    def reads(self) -> frozenset[str]:
        """Of classes too where there are any; where there are none, all are of one class."""
        return frozenset({"loss", "correct"})

    @property
    def policy(self) -> Policy:
        """What decides."""
        return self._policy

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What its environment must be made with."""
        given = {} if self.keep_fraction is None else {"keep_fraction": self.keep_fraction}
        return self._policy.env_arguments | given

    def reset(self, seed: int) -> None:
        """Do nothing: the policy is deterministic; chance is the environment's.

        Args:
            seed: Is not used.
        """

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Ask the policy.

        Args:
            observation: Of one environment, or of K of them.
            state: Is not used, but handed back.
            episode_start: Is not used.
            deterministic: Is not used: the policy always is.

        Returns:
            An action, (A,) or (K, A), and `state`.
        """
        del episode_start, deterministic
        return self._policy.act(observation), state
