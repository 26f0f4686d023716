"""Write tests/golden/trajectory.json anew: `make golden`.

On one machine a change that is meant to be neutral leaves the file as it is, to the last bit.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from prune_env.env import DataPruningEnv

FILE = Path(__file__).with_name("trajectory.json")
EPISODES = {
    "mlp scores": {"action": "scores", "scenario": "noise:0.3"},
    "mlp mixture": {"action": "mixture", "scenario": "imbalance:10", "refresh_period": 4},
    "mlp weights": {"action": "weights", "scenario": "duplicates:0.5", "reward": "loss"},
    "cnn bins": {"action": "bins", "model": "cnn", "num_samples": 300, "keep_fraction": 0.5},
}


def trajectory(arguments):
    """Every step of an episode under actions drawn from a fixed seed."""
    env = DataPruningEnv("digits", budget=2, observation="summary", **arguments)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    points, terminated = [], False
    while not terminated:
        low, high = env.action_space.low, env.action_space.high
        action = rng.uniform(low, high).astype(np.float32)
        observation, reward, terminated, _, info = env.step(action)
        points.append(
            {
                "reward": reward,
                "observation": observation.tolist(),
                "num_trained": info["num_trained"],
                "work": info["work"],
                "train_loss": info["train_loss"],
                "validation_accuracy": info["validation_accuracy"],
            }
        )
    labels = env._episode.statistics.labels
    return {"points": points, "labels": hashlib.sha256(labels.tobytes()).hexdigest()}


def main():
    """Write the file."""
    torch.set_num_threads(1)
    golden = {name: trajectory(arguments) for name, arguments in EPISODES.items()}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
