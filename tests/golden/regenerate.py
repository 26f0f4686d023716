"""Write tests/golden/trajectory.json anew: `make golden`.

On one machine a change that is meant to be neutral leaves the file as it is, to the last bit.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from prune_env.decision.observation import SUMMARY_COLUMNS
from prune_env.env import DataPruningEnv
from prune_env.experiment.provenance import evidence
from prune_env.problem.tasks import get_task

FILE = Path(__file__).with_name("trajectory.json")
# Loss weights of up to 10 at the peak learning rate are chaotic, one rounding grows to 0.1 in an
# epoch, and so is the cnn at its own, to 3e-4 in four; weights of up to 2 and a tenth are not.
RATES = {"mlp": 0.1, "cnn": 0.02}
EPISODES = {
    "mlp scores": {"action": "scores", "scenario": "noise:0.3"},
    "mlp mixture": {"action": "mixture", "scenario": "imbalance:10", "refresh_period": 4},
    "mlp weights": {"action": "weights", "max_weight": 2.0, "scenario": "duplicates:0.5"},
    "mlp rule": {"action": "rule", "scenario": "noise:0.2+imbalance:5", "reward": "loss"},
    "cnn bins": {"action": "bins", "model": "cnn", "num_samples": 300, "keep_fraction": 0.5},
}
COUNTS = ("num_selected", "num_trained", "num_scored", "num_updates", "epoch")
FLOATS = ("work", "train_loss", "validation_loss", "validation_metric")


def trajectory(arguments):
    """Every step of an episode under actions drawn from a fixed seed."""
    others = dict(arguments)
    model = others.pop("model", "mlp")
    task = get_task("digits").with_model(model)
    task = replace(task, recipe=replace(task.recipe, learning_rate=RATES[model]))
    env = DataPruningEnv(task, budget=2, observation="summary", precision="float32", **others)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    points, terminated = [], False
    while not terminated:
        observation, reward, terminated, _, info = env.step(_action(env.action_space, rng))
        counts = {name: info[name] for name in COUNTS}
        floats = {f"info {name}": info[name] for name in FLOATS} | {"reward": reward}
        # By name: a column that is added leaves the others as they are.
        names = (name for name, _ in SUMMARY_COLUMNS)
        floats |= dict(zip(names, observation.tolist(), strict=True))
        points.append({"counts": counts, "floats": floats})
    statistics = env._episode.pruner.statistics
    exact = {"labels": statistics.labels, "times_seen": statistics.times_seen}
    digests = {name: hashlib.sha256(v.tobytes()).hexdigest() for name, v in exact.items()}
    return {"points": points, "digests": digests}


def _action(space, rng):
    if hasattr(space, "n"):
        return int(rng.integers(space.n))
    return rng.uniform(space.low, space.high).astype(np.float32)


def main():
    """Write the file."""
    torch.set_num_threads(1)
    golden = {name: trajectory(arguments) for name, arguments in EPISODES.items()}
    text = json.dumps({"made_on": evidence(torch.device("cpu"))} | golden, indent=1)
    FILE.write_text(text + "\n")


if __name__ == "__main__":
    main()
