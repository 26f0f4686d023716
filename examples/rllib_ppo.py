"""RLlib's PPO on the environment as it is: `pip install "prune-env[ray]"`, then run this file."""

import sys

from ray.rllib.algorithms.ppo import PPOConfig

import prune_env

iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 20
prune_env.tune_process(["mlp"])
config = (
    PPOConfig()
    .environment(
        "prune_env:prune_env/DataPruningSummary-v0",  # a worker imports what is before the colon
        env_config={"task": "digits", "scenario": ["clean", "noise:0.3"], "action": "features"},
    )
    .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
    .training(gamma=1.0, train_batch_size_per_learner=256, minibatch_size=64, num_epochs=10)
    .debugging(seed=0)
)
algorithm = config.build_algo()
for iteration in range(iterations):
    found = algorithm.train()["env_runners"]
    steps, mean = found["num_env_steps_sampled_lifetime"], found["episode_return_mean"]
    print(f"{iteration + 1}: {steps:.0f} steps, accuracy gained per full epoch: {mean:.4f}")
algorithm.stop()
