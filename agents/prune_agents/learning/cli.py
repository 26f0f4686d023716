"""`prune-env train`, found by the command line through the entry-point group prune_env.commands."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from prune_env import Seeds, Several, UserError

if TYPE_CHECKING:
    from prune_agents.learning.config import Training
    from prune_agents.learning.judge import Heldout
    from prune_env import Setting

# What trains is imported when it is needed: --help answers at once.

Instances = Annotated[tuple[str, ...], tyro.conf.arg(metavar='"TASK [KEY=VALUE ...]" [...]')]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy, judge it on new seeds beside fixed rules, and write it to one file.

    The rules are `prune_agents.learning.judge.RIVALS`.
    """

    out: Path
    """folder for policy.safetensors, logs (CSV, TensorBoard), learning.png, which is drawn as it
    learns, and checkpoints; goes on where an earlier run of the same settings stopped"""
    algo: Literal["cma", "ppo", "a2c", "sac"] = "cma"
    """cma: a linear policy by an evolution strategy; the others are Stable-Baselines3's"""
    task: Instances = ("digits",)
    """what to train on, each a task with any of model, num_samples, budget and keep_fraction, as
    in "digits model=mlp:128 num_samples=500"; named twice, it counts twice"""
    scenarios: Several = ()
    """to draw from; by default a mixture of clean, noise, imbalance and duplicates"""
    steps: int = 100_000
    """environment steps, in all"""
    num_envs: int = 32
    """environments at once, of every --task at least one (cma has its own number)"""
    action: Literal["features", "mixture", "bins", "compose", "group-features", "scores"] = (
        "features"
    )
    """what the policy decides; compose: corrections to the rule distrust, which the search starts
    from; group-features: shares of the groups of the samples, by what is known of each; scores: a
    network that scores sample by sample (ppo, a2c)"""
    constant: bool = False
    """let the policy see nothing: the best constant action (cma)"""
    worst_weight: float = 0.0
    """add so many times what the worst scenario is below the rule (cma, with --action compose)"""
    reward: str = "rate"
    """rate, gain, loss, terminal or step-rate"""
    choose_keep_fraction: bool = False
    """let the policy choose how much to keep"""
    seed: int = 0
    """of everything"""
    eval_task: Instances = ()
    """what to judge on, written as --task; by default what was trained on"""
    eval_scenarios: Several = ("clean", "noise:0.3", "imbalance:30", "duplicates:0.9")
    """what to judge on"""
    eval_seeds: Seeds = ("16",)
    """episodes of each agent in each scenario: how many, on seeds that training never draws, or
    those seeds themselves, from 2147483648 on; 0 for none"""
    watch: float = 0.1
    """share of --steps that is spent besides on how the policy fares as it learns beside fixed
    rules, on validation data: for learning.png and TensorBoard; 0 draws returns alone"""
    parts: int = 1
    """that a generation is cut into; networks are trained jointly within a part (cma)"""
    jobs: int = 1
    """processes that play the parts, at most --parts; the policy stays the same (cma)"""
    threads: int | None = None
    """CPU threads of torch; by default 1 for mlps and all cores for other networks"""

    def __call__(self) -> None:
        """Train, judge, write, and print the comparison."""
        from prune_agents.learning.train import POLICY, train
        from prune_env import Setting, spec_value, tune_process
        from prune_env.arguments import check_count

        try:
            check_count("num_envs", self.num_envs)
            instances = tuple(map(Setting.parse, self.task))
            judged = tuple(map(Setting.parse, self.eval_task)) or tuple(dict.fromkeys(instances))
            Setting.check_names((*instances, *judged))
            training = self._training(instances)
            tune_process(
                {instance.network for instance in (*instances, *judged)}, threads=self.threads
            )
            policy = train(
                training,
                self.out,
                heldout=self._heldout(judged),
                watch=self.watch,
                jobs=self.jobs,
                command=shlex.join(["prune-env", *sys.argv[1:]]),
            )
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(str(error)) from error
        if "evaluation" in policy.provenance:
            from prune_env import evaluation_table

            print(evaluation_table(policy.provenance["evaluation"]))
        file = self.out / POLICY
        spec = shlex.quote(f"learned:path={spec_value(str(file))}")
        print(f"\nwritten to {file}; use it as --agents {spec}")

    def _training(self, instances: tuple[Setting, ...]) -> Training:
        from prune_agents.learning.cma import CMA
        from prune_agents.learning.config import (
            ALGORITHMS,
            TRAINING_SCENARIOS,
            Training,
            for_corrections,
        )

        algorithm = ALGORITHMS[self.algo]()
        if self.action == "compose":
            algorithm = for_corrections(algorithm)
        if self.worst_weight:
            if not isinstance(algorithm, CMA):
                raise ValueError(f"`worst_weight` goes with algo cma, got {self.algo!r}")
            algorithm = replace(algorithm, worst_weight=self.worst_weight)
        if self.parts != 1:
            if not isinstance(algorithm, CMA):
                raise ValueError(f"`parts` goes with algo cma, got {self.algo!r}")
            algorithm = replace(algorithm, parts=self.parts)
        if self.constant:
            if not isinstance(algorithm, CMA):
                raise ValueError(f"`constant` goes with algo cma, got {self.algo!r}")
            algorithm = replace(algorithm, columns=())
        return Training(
            algorithm=algorithm,
            instances=instances,
            scenarios=self.scenarios or TRAINING_SCENARIOS,
            steps=self.steps,
            num_envs=max(self.num_envs, len(instances)),
            action=self.action,
            observation="samples" if self.action == "scores" else "summary",
            reward=self.reward,
            choose_keep_fraction=self.choose_keep_fraction,
            seed=self.seed,
        )

    def _heldout(self, instances: tuple[Setting, ...]) -> Heldout | None:
        from prune_agents.learning.judge import FIRST_SEED, Heldout
        from prune_env import parse_seeds

        if self.eval_seeds == ("0",):
            return None
        seeds = parse_seeds(self.eval_seeds, "eval_seeds", first=FIRST_SEED)
        return Heldout(instances=instances, scenarios=self.eval_scenarios, seeds=seeds)
