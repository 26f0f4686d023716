"""The benchmark of the paper's questions: what it writes, and that it goes on where it was."""

import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import paper_report
import pytest
import rewards
import scenarios
import scenarios_report
import sometimes
from conftest import blob_task, unaligned

from prune_agents.learning import judge as heldout
from prune_agents.learning.train import train
from prune_env.env import DataPruningEnv

ROOT = Path(__file__).parent.parent


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("paper")


def test_a_study_is_written_and_not_run_twice(paper, monkeypatch, tmp_path):
    arguments = {"num_samples": 60, "epochs": 4.4, "seeds": ("2",), "threads": 1, "device": "cpu"}
    arguments |= {"runs": tmp_path / "runs", "out": tmp_path / "out"}
    paper.main(studies=("sometimes",), **arguments)
    file = tmp_path / "out" / "paper-digits.json"
    study = json.loads(file.read_text())["studies"]["sometimes"]
    assert [(row["scenario"], row["agent"]) for row in study["rows"]] == [
        (scenario, rule) for scenario in ("clean", "noise:0.3") for rule in sometimes.ALL_RULES
    ]
    for row in study["rows"]:
        assert row["seeds"] == [0, 1]
        assert len(row["sometimes"]) == 2  # of four epochs
        for shares in zip(row["never"], row["sometimes"], row["always"], strict=True):
            assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert study["evidence"].items() >= {"epochs": 4.4, "num_samples": 60, "seeds": [0, 1]}.items()
    monkeypatch.setattr(sometimes, "shares", None)
    paper.main(studies=("sometimes",), **arguments)
    assert json.loads(file.read_text())["studies"]["sometimes"] == study
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"paper-digits.json", "paper-digits.md", "paper-digits-sometimes.png"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # Means 8 9 1 2, then 1.6 9 7.4 2: the top two are 0 and 1, then 1 and 2.
        ("epsilon-greedy", [[0.5, 0, 0.5], [0.25, 0.5, 0.25]]),
        # The last two surprises are 8 and 8: 0 and 2 have 0.8 x 64 more.
        ("ucb", [[0.5, 0, 0.5], [0.25, 0.5, 0.25]]),
        # Nearest on either side are 1 and 2, then 0 and 2.
        ("boundary", [[0.5, 0, 0.5], [0.25, 0.5, 0.25]]),
    ],
)
def test_sometimes_is_important_at_some_and_not_at_all_of_the_scorings(rule, expected, monkeypatch):
    monkeypatch.setattr(sometimes, "KEPT", 0.5)
    scorer = sometimes._Scorer(rule, 4, 0)
    for losses, margins in (
        ([8, 9, 1, 2], [5.0, -1, 2, -9]),
        ([0, 9, 9, 2], [1.0, 7, -3, 8]),
    ):
        scorer.score(np.array(losses, np.float32), np.array(margins))
    assert scorer.shares == expected


def test_ucbs_important_samples_are_those_of_its_mean_and_variance(monkeypatch):
    monkeypatch.setattr(sometimes, "KEPT", 0.5)
    picked = {}
    for rule in ("epsilon-greedy", "ucb"):
        scorer = sometimes._Scorer(rule, 4, 0)
        for losses in ([8, 9, 1, 2], [0, 9, 9, 2]):
            scorer.score(np.array(losses, np.float32), np.zeros(4))
        picked[rule] = scorer._times.tolist()
    assert picked == {"epsilon-greedy": [1, 2, 1, 0], "ucb": [2, 1, 1, 0]}


def test_the_samples_are_scored_in_a_full_training_that_no_rule_has_a_part_in():
    def trained(rules):
        env = DataPruningEnv(blob_task(), device="cpu")
        found = sometimes.shares(env, rules, epochs=6, seed=3)
        assert env._episode.pruner.work == 0  # nothing is charged to anybody
        return found

    alone, together = trained(("ucb",)), trained(sometimes.ALL_RULES)
    assert alone["ucb"] == together["ucb"]
    assert {len(curve) for curve in together.values()} == {3}
    for curve in together.values():
        never, part, always = np.transpose(curve)
        assert (np.diff(never) <= 0).all()
        assert (np.diff(part) >= 0).all()
        assert (np.diff(always) <= 0).all()


def test_what_only_chance_finds_important_is_sometimes_by_the_binomial_law(monkeypatch):
    scorer = sometimes._Scorer("chance", 20_000, 0)
    for _ in range(4):
        scorer.score(np.zeros(20_000, np.float32), np.zeros(20_000))
    assert scorer.shares[-1] == pytest.approx([0.7**4, 1 - 0.7**4 - 0.3**4, 0.3**4], abs=0.01)


def row(agent, **fields):
    """A row of a summary."""
    return {
        "agent": agent,
        "scenario": "clean",
        "test_metric": {"mean": 0.9, "low": 0.8, "high": 1.0},
        "test_accuracies": [0.8, 1.0],
        "num_samples": 100,
        "num_selected": 120.0,
        "num_trained": 120.0,
        "num_unseen": 100.0,
        "num_epochs": 12.0,
        "work": 1.2,
        "scoring_work": 0.0,
        "seconds": {"train": 1.0, "scoring": 0.0, "selection": 0.0},
    } | fields


def test_tables_say_what_share_of_the_picks_were_first_visits(paper):
    bandits = [row("ucb"), row("ucb:refresh=forward-only,period=4", num_unseen=10)]
    long = unaligned(paper_report.TABLES["sensitivity"](bandits)).splitlines()
    assert long[0].split(" | ")[5] == "first visits (no loss known) [%]"
    assert [line.split(" | ")[5] for line in long[2:]] == ["83", "8"]
    rules = [row(agent["agent"], scenario=s) for agent in bandits for s in paper_report.CONDITIONS]
    table = paper_report.TABLES["rules"](
        rules + [row("random", scenario=s) for s in paper_report.CONDITIONS]
    )
    assert "| ucb | 10.0 / 10.0, 83, 12 |" in unaligned(table)
    kept = [
        row("ucb", keep_fraction=k, num_unseen=12 * place)
        for place, k in enumerate(paper_report.KEPT)
    ]
    pruning = unaligned(paper_report.TABLES["pruning"](kept)).splitlines()
    assert pruning[0].endswith("visits (no loss known) at 30, 50, 70, 90 % [% of picks] |")
    assert pruning[2].endswith("| 0, 10, 20, 30 |")


def test_tables_of_earlier_records_say_that_first_visits_are_not_known():
    table = unaligned(paper_report.TABLES["sensitivity"]([row("ucb", num_unseen=None)]))
    assert table.splitlines()[2].split(" | ")[5] == "?"


def test_rcap_is_called_the_theorem_variant_wherever_it_may_lead():
    for study in ("rules", "sensitivity", "pruning"):
        rows = [
            row(agent, scenario=scenario, keep_fraction=kept)
            for agent in ("rcap", "rcap:temperature=2+anneal", "random")
            for scenario in paper_report.CONDITIONS
            for kept in paper_report.KEPT
        ]
        table = unaligned(paper_report.TABLES[study](rows))
        assert "| rcap (theorem variant) |" in table
        assert "| rcap:temperature=2+anneal (theorem variant) |" in table
        assert "| random |" in table


def test_every_table_with_the_papers_bandits_shows_them_by_fresh_losses_too(paper):
    fresh = {f"{agent}:refresh=forward-only,period=4" for agent in ("epsilon-greedy", "ucb")}
    for names in (paper.DYNAMIC, paper.MODIFIED, paper.SENSITIVITY, heldout.RIVALS):
        assert fresh <= set(names)
    demo = (ROOT / "docs" / "demo.md").read_text().split("prune-env compare", 1)[1].split("```")[0]
    assert fresh <= set(demo.split())
    tens = {f"{agent}:refresh=forward-only,period=10" for agent in ("epsilon-greedy", "ucb")}
    assert tens <= set(paper.SENSITIVITY)


def test_the_strongest_fixed_rule_is_in_every_default_list(paper, monkeypatch):
    strongest = "stalest+class-balance:1"
    for names in (paper.DYNAMIC, paper.MODIFIED, heldout.RIVALS, rewards.RIVALS):
        assert strongest in names
    assert strongest in scenarios.Scenarios(name="any").agents
    assert strongest in scenarios_report.BASES
    assert strongest in inspect.signature(train).parameters["rivals"].default
    asked = {}
    monkeypatch.setattr(
        paper.Setting, "rows", lambda self, study, agents, **_: asked.update({study: tuple(agents)})
    )
    setting = paper.Setting(
        task="digits", epochs=1, num_samples=None, seeds=(0,), device="cpu", runs=Path("runs")
    )
    for study in (paper.rules, paper.charged, paper.modifiers):
        study(setting)
    assert [strongest in agents for agents in asked.values()] == [True] * 3
    assert strongest in (ROOT / "docs" / "agents.md").read_text()


def test_a_folder_needs_a_name(paper):
    with pytest.raises(SystemExit, match="`name` must be given for a folder"):
        paper.main(task="folder:somewhere")


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "results").glob("*.*")))
def test_results_hold_no_paths(file):
    if file.suffix in (".json", ".md"):
        text = file.read_text(encoding="utf-8")
        paths = ("/tmp", "/home", "/work", "/root", "folder:/", "folder:~")
        assert not any(path in text for path in paths)
