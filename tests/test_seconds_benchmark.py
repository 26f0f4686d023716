"""Seconds at equal work: everybody plays in turn, and is held against the shortened schedule."""

import json

import pytest
import seconds

from prune_env.experiment.comparison import Comparison


def test_the_order_turns_with_the_seed_and_the_first_episode_is_not_counted(monkeypatch):
    played = []
    plain = seconds.run_episode

    def watched(env, agent, *, seed):
        played.append((type(agent).__name__, seed))
        return plain(env, agent, seed=seed)

    monkeypatch.setattr(seconds, "run_episode", watched)
    comparison = Comparison(
        tasks=("blobs",),
        scenarios=("clean",),
        agents=("full", "short", "random"),
        seeds=(4, 7),
        epochs=2.0,
        keep_fraction=0.5,
    )
    records = seconds.play(comparison)
    assert [record.key[2:] for record in records] == [
        *(("full", 4), ("short", 4), ("random", 4)),
        *(("short", 7), ("random", 7), ("full", 7)),
    ]
    assert len(played) == 7


def test_a_result_is_written_with_ratios_by_seed(tmp_path, capsys):
    seconds.Seconds(
        name="tiny",
        task="blobs",
        agents=("full", "short", "random"),
        seeds=("3",),
        epochs=4.0,
        keep_fraction=0.5,
        out=tmp_path,
    )()
    record = json.loads((tmp_path / "seconds-tiny.json").read_text())
    assert {"device", "instructions", "precision", "threads", "versions", "cores"} <= set(record)
    rows = {row["agent"]: row for row in record["rows"]}
    assert rows["short"]["ratio_to_short"] == [1.0, 1.0, 1.0]
    expected = [
        a / b
        for a, b in zip(
            rows["full"]["seconds_in_all"], rows["short"]["seconds_in_all"], strict=True
        )
    ]
    assert rows["full"]["ratio_to_short"] == pytest.approx(expected)
    assert rows["full"]["num_reached_reference"] == 3
    assert "| random" in capsys.readouterr().out
    assert "| random" in (tmp_path / "seconds-tiny.md").read_text()
