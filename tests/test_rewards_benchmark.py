"""The benchmark of the rewards: what it writes, and that it goes on where it was."""

import json

import pytest
import rewards
from conftest import unaligned

from prune_agents.learning.gradient import PPO


def test_a_result_is_written_and_says_what_it_was_judged_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(rewards, "REWARDS", ("rate",))
    monkeypatch.setattr(rewards, "PPO", lambda: PPO(n_steps=2, batch_size=64, n_epochs=1))
    arguments = {"task": "blobs budget=1", "steps": 64, "runs": tmp_path / "r", "out": tmp_path}
    rewards.Rewards(**arguments, seeds=("2",))()
    record = json.loads((tmp_path / "rewards.json").read_text())
    assert record["heldout"]["num_seeds"] == 2
    assert [row["choose_keep_fraction"] for row in record["rows"]] == [False, True]
    assert record["rows"][0]["against"].keys() >= set(rewards.RIVALS)
    assert "| rate | chosen | 0 | " in unaligned(capsys.readouterr().out)
    monkeypatch.setattr(rewards, "evidence", lambda device: {})
    rewards.Rewards(**arguments, seeds=("2",))()
    with pytest.raises(ValueError, match="num_seeds 2 there and 3 here"):
        rewards.Rewards(**arguments, seeds=("3",))()
