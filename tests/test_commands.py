"""`prune-env train` as a user types it."""

import shlex

import pytest
from conftest import unaligned

from prune_agents.learning.policy import load_policy
from prune_env.experiment.agents import make_agent
from prune_env.experiment.cli import main

SMALL = ["train", "--task", "blobs budget=1", "--steps", "60", "--scenarios", "clean"]


def test_train_writes_a_policy_that_compare_takes(tmp_path, capsys):
    out = tmp_path / "run"
    main([*SMALL, "--out", str(out), "--eval-seeds", "2", "--eval-scenarios", "clean"])
    shown = capsys.readouterr().out
    assert "Against the best single rival" in shown
    assert "| epsilon-greedy:epsilon=0.3 |" in unaligned(shown)
    file = out / "policy.safetensors"
    assert f"learned:path={file}" in shown
    assert load_policy(file).provenance["settings"]["steps"] == 60
    agents = ["--agents", "random", f"learned:path={file}"]
    main(["compare", "--task", "blobs", "--epochs", "4", "--seeds", "1", *agents])
    assert f"learned:path={file}" in capsys.readouterr().out


def test_the_hint_can_be_typed_whatever_the_folder_is_called(tmp_path, capsys):
    out = tmp_path / "a+b, c"
    main([*SMALL, "--out", str(out), "--eval-seeds", "0"])
    hint = capsys.readouterr().out.partition("use it as --agents ")[2]
    (spec,) = shlex.split(hint)
    agent = make_agent(spec, keep_fraction=0.25)
    assert agent.path == str(out / "policy.safetensors")


def test_a_constant_ppo_of_other_encodings(tmp_path, capsys):
    for name, flags in {
        "constant": ["--constant", "--action", "mixture"],
        "free": ["--algo", "ppo", "--num-envs", "8", "--action", "bins", "--choose-keep-fraction"],
    }.items():
        main([*SMALL, *flags, "--out", str(tmp_path / name), "--eval-seeds", "0"])
        policy = load_policy(tmp_path / name / "policy.safetensors")
        assert (policy.columns == ()) == (name == "constant")
        assert policy.choose_keep_fraction == (name == "free")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "blob"], "`task` must be one of"),
        (["--scenarios", "mist"], "`scenario` must be one of"),
        (["--constant", "--algo", "ppo"], "`constant` goes with algo cma, got 'ppo'"),
        (["--reward", "fame"], "`reward` must be one of"),
        (["--reward", "step-rate", "--choose-keep-fraction"], "`min_keep_fraction` must be given"),
        (["--steps", "0"], "`steps` must be at least 1"),
        (["--num-envs", "-5"], "`num_envs` must be at least 1, got -5"),
        (["--eval-seeds", "-1"], "`eval_seeds` must be one number, how many"),
        (["--eval-scenarios", "nois:1"], "`scenario` must be one of"),
        (["--eval-task", "blobs num_samples=1000"], "`num_samples` must be"),
        (["--task", "folder:nowhere"], "nowhere"),
        (["--task", "folder:A/p", "--eval-task", "folder:B/p"], "must differ in their own names"),
    ],
)
def test_bad_input_is_one_clear_line(flags, message, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main([*SMALL, "--out", str(tmp_path / "run"), *flags])
    assert str(stopped.value).startswith("prune-env: error: ")
    assert message in str(stopped.value)
    assert not (tmp_path / "run").exists()
