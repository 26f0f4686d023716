"""`evaluate_policy` of Stable-Baselines3 on one of the paper's bandits."""

from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from prune_agents import EpsilonGreedy, JointVecEnv

agent = EpsilonGreedy(epsilon=0.3)
envs = VecMonitor(JointVecEnv(4, task="digits", scenario="clean", budget=2, **agent.env_arguments))
envs.seed(0)
mean, deviation = evaluate_policy(agent, envs, n_eval_episodes=8)
print(f"accuracy gained per full epoch: {mean:.3f} +- {deviation:.3f}")
