"""Full fine-tunes: everybody from the same weights, in turn, and what cannot serve is said so."""

import json
import warnings

import finetune
import pytest
from tuning.tasks import digits, package_folder

from prune_env.experiment.intervals import mean_interval


def test_a_result_is_written_with_every_seed_and_who_is_apart(tmp_path, capsys):
    agents = ("full", "short", "learned")
    finetune.FineTune(
        name="tiny", tasks=("digits",), agents=agents, seeds=("3",), cut=64, out=tmp_path
    )()
    record = json.loads((tmp_path / "tiny.json").read_text())
    (task,) = record["tasks"]
    assert (task["loop"], task["num_samples"]) == ("plain PyTorch", 64)
    assert [row["work"] for row in task["rows"]] == [20, 10, 10]
    whole, *halves = task["rows"]
    assert whole["of_full"] == [1, 1, 1]
    for row in halves:
        mine = [one["after"]["accuracy"] for one in task["records"] if one["agent"] == row["agent"]]
        assert row["accuracy"] == mean_interval(mine)
    learned = [one for one in task["records"] if one["agent"] == "learned"]
    assert all(one["seconds_aside"] > 0 for one in learned)
    assert "not distinguishable: `learned`" in capsys.readouterr().out
    assert "| learned" in (tmp_path / "tiny.md").read_text()


def test_everybody_begins_at_the_same_weights_and_the_first_turns_with_the_seed(
    monkeypatch, tmp_path
):
    begun = []
    plain = finetune.LOOPS["plain PyTorch"]

    def watched(run):
        begun.append((run.seed, run.network[2].weight[0, 0].item(), run.sampler.agent.settings))
        plain(run)

    monkeypatch.setitem(finetune.LOOPS, "plain PyTorch", watched)
    agents = ("full", "short", "random")
    records = finetune.played(digits(None).cut(64), agents, (4, 7), tmp_path)
    order = ["full", "short", "random", "short", "random", "full"]
    assert [record["agent"] for record in records] == order
    assert len(begun) == 7  # the first is not counted
    assert len({weight for seed, weight, _ in begun if seed == 4}) == 1
    assert len({weight for _, weight, _ in begun}) == 2
    assert len(list(tmp_path.glob("digits-*.pt"))) == 2


def test_who_is_apart_from_the_shortened_schedule_is_told_by_the_interval():
    rows = [
        {"agent": name, "over_short": {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}}
        for name, mean in (("full", 0.05), ("short", 0.0), ("a", 0.02), ("b", -0.02), ("c", 0.005))
    ]
    rows.append({"agent": "d", "refused": "`correct` must be given, since d reads it"})
    said = finetune.stated({"name": "x", "loop": "y", "rows": rows})
    assert "`full` +5.0 ± 1.0 over `short`" in said
    assert "ahead of `short`: `a`; behind it: `b`; not distinguishable: `c`." in said


def test_a_package_for_data_alone_is_named_where_it_is_missing():
    with pytest.raises(SystemExit, match="`pip install some-words`"):
        package_folder("no_such_module", "some-words")


def test_an_agent_that_reads_correctness_is_refused_for_tokens(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("trl")
        pytest.importorskip("datasets")
        finetune.FineTune(
            name="t", tasks=("topics",), agents=("full", "short", "learned"), seeds=("1",), cut=32,
            out=tmp_path,
        )()  # fmt: skip
    (task,) = json.loads((tmp_path / "t.json").read_text())["tasks"]
    assert "`correct` must be given, since Learned reads it" in task["rows"][2]["refused"]
    assert task["rows"][0]["work"] == 4
