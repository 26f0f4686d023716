"""Training a policy: a run, its held-out evaluation, and one file that says all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune_agents.learning.config import Training
from prune_agents.learning.gradient import CHECKPOINT
from prune_agents.learning.judge import RIVALS, Heldout, basis, judge, report
from prune_agents.learning.policy import Learned, Policy, load_policy
from prune_agents.learning.runs import GENERATIONS, run
from prune_agents.learning.watch import SHARE, Plan
from prune_env import evidence, make_agent
from prune_env.devices import resolve_device
from prune_env.storage.folders import claim_folder, differences, lock_folder

POLICY = "policy.safetensors"
HELDOUT = "heldout/cells.jsonl"


def train(
    training: Training,
    out: Path,
    *,
    heldout: Heldout | None = None,
    rivals: tuple[str, ...] = RIVALS,
    watch: float = SHARE,
    jobs: int = 1,
    command: str = "prune_agents.learning.train.train",
) -> Policy:
    """Train a policy, judge it, and write it with its provenance to `out`/policy.safetensors.

    Goes on where an earlier run of the same settings in `out` stopped, to the same policy, bit for
    bit, as if it had not; a policy that is there already is read, not made anew, and must have been
    judged on the same.

    Args:
        training: what and how.
        out: folder for the policy, checkpoints and logs (CSV and TensorBoard).
        heldout: judged on at the end; None judges nothing.
        rivals: agents judged beside it.
        watch: share of `training.steps`, in [0, 1], spent besides on how policies fare as it goes
            beside fixed rules, on validation data and seeds that no training draws, for
            `learning.png` and TensorBoard; less is spent where that does not go up evenly, and
            nothing where it is too little. 0 draws the returns of the training alone. The policy
            is the same whatever it is.
        jobs: processes that play the parts of a generation of CMA, at most as many as these; the
            policy is the same whatever it is.
        command: what the provenance names as having made it.

    Returns:
        The policy.

    Raises:
        ValueError: if `out` is in use or holds something else, its policy was judged on something
            else, or an argument does not fit; nothing was trained then.
    """
    for name in rivals if heldout is not None else ():
        make_agent(name, keep_fraction=training.instances[0].keep_fraction)
    for checked in (training, heldout):
        if checked is not None:
            checked.check()
    Plan.within(training, watch)
    training.check_jobs(jobs)
    with lock_folder(out):
        return _train(training, out, heldout, rivals, watch, jobs, command)


def _train(
    training: Training,
    out: Path,
    heldout: Heldout | None,
    rivals: tuple[str, ...],
    watch: float,
    jobs: int,
    command: str,
) -> Policy:
    made_on = evidence(resolve_device("auto"))
    claim_folder(out, training.settings | made_on, (POLICY, CHECKPOINT, GENERATIONS))
    file = out / POLICY
    if file.exists():
        held = load_policy(file)
        if heldout is not None:
            _check_judged(held.provenance.get("evaluation", {}), heldout, rivals, file)
        return held
    policy, seconds = run(training, out, watch, jobs)
    provenance: dict[str, Any] = {
        "command": command,
        "settings": training.settings,
        "seconds": round(seconds, 3),
        **made_on,
    }
    if heldout is not None:
        provenance["evaluation"] = _evaluate(policy, heldout, rivals, out)
    finished = policy.with_provenance(provenance)
    finished.save(file)
    return finished


def _check_judged(
    evaluation: dict[str, Any], heldout: Heldout, rivals: tuple[str, ...], file: Path
) -> None:
    instances = sorted(name for name in evaluation.get("cases", ()) if name != "all")
    there = evaluation | {"cases": instances}
    here = _judged_on(heldout, rivals) | {
        "cases": sorted({instance.name for instance in heldout.instances})
    }
    differing = differences({name: there.get(name) for name in here}, here)
    if differing:
        raise ValueError(
            f"`heldout` must be what {file} was judged on ({differing}); name another "
            "folder, or remove that file to judge anew without training again"
        )


def _judged_on(heldout: Heldout, rivals: tuple[str, ...]) -> dict[str, Any]:
    return heldout.settings | {"rivals": list(rivals)}


def _evaluate(
    policy: Policy, heldout: Heldout, rivals: tuple[str, ...], out: Path
) -> dict[str, Any]:
    agents = {"learned": Learned.of(policy), **dict.fromkeys(rivals)}
    file = out / HELDOUT
    claim_folder(file.parent, basis(agents), (file.name,))
    accuracies = judge(heldout, agents, file)
    return _judged_on(heldout, rivals) | {"cases": report(accuracies, "learned", rivals)}
