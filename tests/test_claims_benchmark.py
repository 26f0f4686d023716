"""The ledger of claims: every published rule is in it, and verdicts follow from intervals."""

import json
import time

import claims
import claims_report
import pytest
from claims_made import AGENTS, BASES, CLAIMS, Claim

from prune_env.experiment.agents import agent_entries, make_agent
from prune_env.experiment.comparison import Comparison

# What no author has published as it is here.
OURS = {
    *("full", "short", "static-random", "stalest", "stratified", "distrust", "learned"),
    *("highest", "lowest", "middle", "forgotten"),
}


def test_every_published_rule_is_in_the_ledger_and_plays():
    assert {claim.rule for claim in CLAIMS} == set(agent_entries()) - OURS
    for spec in AGENTS:
        make_agent(spec, keep_fraction=0.3)
    for claim in CLAIMS:
        assert bool(claim.agents) != bool(claim.untested)


def test_what_is_not_sure_is_marked():
    for claim in CLAIMS:
        assert ("(S" in claim.made) == ("(S)" in claim.where)
        assert bool(claim.made) == (claim.where != "no figure of its authors is noted")


def result(low, high, **row):
    over = {"short": {"mean": (low + high) / 2, "low": low, "high": high}}
    rows = [{"scenario": "clean", "agent": "x", "over": over} | row]
    return {"name": "tiny", "rows": rows, "unpaid": {}}


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.001, 0.02), "reproduced"),
        ((-0.001, 0.02), "not told apart"),
        ((-0.02, -0.001), "contradicted here"),
    ],
)
def test_a_verdict_follows_from_the_interval(interval, word):
    claim = Claim(rule="x", source="y", agents=("x",))
    assert claims_report.verdict(claim, "x", result(*interval)) == word
    absent = result(*interval, agent="other")
    assert claims_report.verdict(claim, "x", absent) == "not tested at this scale"
    elsewhere = result(*interval, scenario="noise:0.3")
    assert claims_report.verdict(claim, "x", elsewhere) == "not tested at this scale"


def test_a_ledger_is_played_and_written(tmp_path, monkeypatch):
    plain = time.perf_counter
    # What `grand` trains beforehand is more than everybody has.
    agents = ("ucb", "grand:networks=1,epochs=2,cost=charged")
    arguments = {"agents": agents, "seeds": ("3",), "epochs": 4.0, "keep_fraction": 0.5}
    claims.Claims(
        name="tiny", task="blobs", out=tmp_path, document=tmp_path / "claims.md", **arguments
    )()
    assert time.perf_counter is plain
    found = json.loads((tmp_path / "claims-tiny.json").read_text())
    assert {row["agent"] for row in found["rows"]} == {*BASES, "ucb"}
    assert "of a budget of 2" in found["unpaid"][agents[1]]
    for row in found["rows"]:
        assert len(row["test_metrics"]) == len(row["seconds_over_short"]) == 3
        if row["agent"] == "short":
            assert row["seconds_over_short"] == [1, 1, 1]
        else:
            assert row["over"]["short"]["low"] <= row["over"]["short"]["mean"]
    page = (tmp_path / "claims.md").read_text()
    for shown in ("### ucb", "| ucb ", "could not pay on tiny", "3 seeds, CPU seconds"):
        assert shown in page


def test_the_order_turns_and_every_seed_is_measured_anew(monkeypatch):
    played, plain = [], claims.run_episode

    def watched(env, agent, *, seed):
        played.append((type(agent).__name__, seed, id(env)))
        return plain(env, agent, seed=seed)

    monkeypatch.setattr(claims, "run_episode", watched)
    comparison = Comparison(
        tasks=("blobs",),
        scenarios=("clean",),
        agents=("full", "short"),
        seeds=(4, 7),
        epochs=4.0,
        keep_fraction=0.5,
        clock="wall",
    )
    records, unpaid = claims.play(comparison)
    assert unpaid == {}
    assert [one.key[2:] for one in records] == [
        ("full", 4),
        ("short", 4),
        ("short", 7),
        ("full", 7),
    ]
    assert len(played) == 5
    assert len({env for _, _, env in played}) >= 4


def test_the_ledger_is_that_of_the_results():
    assert claims_report.DOCUMENT.read_text() == claims_report.page(claims.RESULTS)
    assert len(list(claims.RESULTS.glob("claims-*.json"))) >= 1
