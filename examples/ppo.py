"""PPO on the summary of a training's losses: sixteen decisions an episode, 32 trainings at once."""

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import prune_env
from prune_agents import JointVecEnv

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 25_000
prune_env.tune_process(["mlp"])
envs = VecMonitor(
    JointVecEnv(
        32, task="digits", scenario=["clean", "noise:0.3", "imbalance:30"], action="features"
    )
)
model = PPO(
    "MlpPolicy",
    envs,
    n_steps=16,
    batch_size=128,
    gamma=1.0,
    policy_kwargs={"log_std_init": -1.0},
    device="cpu",
    seed=0,
)
model.learn(steps)
returns = [episode["r"] for episode in model.ep_info_buffer or ()]
print(f"accuracy gained per full epoch: {sum(returns) / len(returns):.4f}")
