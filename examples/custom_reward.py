"""A reward of one's own: accuracy, less a price on the samples that a step trains on."""

import numpy as np

import prune_env

PRICE = 0.02  # of a full epoch, in accuracy


def gain_less_cost(outcome: prune_env.Outcome) -> dict[str, float]:
    """Named parts; the reward is their sum, and `info["reward_parts"]` holds them."""
    return {"gain": outcome.metric_gain, "cost": -PRICE * outcome.time}


env = prune_env.DataPruningEnv(
    "digits",
    scenario="noise:0.3",
    observation="summary",
    action="mixture",
    choose_keep_fraction=True,
    reward=gain_less_cost,
    budget=2,
)
observation, info = env.reset(seed=0)
total, terminated = 0.0, False
while not terminated:
    action = np.zeros(6, dtype=np.float32)  # even shares of five rules, a tenth of the data
    observation, reward, terminated, truncated, info = env.step(action)
    total += reward
print(f"return {total:.3f}, last parts {info['reward_parts']}")
