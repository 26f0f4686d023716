"""The benchmark of the paper's questions: what it writes, and that it goes on where it was."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from test_sampling import observe

from prune_agents.heuristics import RandomDynamic

ROOT = Path(__file__).parent.parent


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("paper")


def test_a_study_is_written_and_not_run_twice(paper, monkeypatch, tmp_path):
    monkeypatch.setattr(paper, "SOMETIMES", ("random", "ucb"))
    arguments = {"num_samples": 60, "epochs": 3, "seeds": 1, "threads": 1, "device": "cpu"}
    arguments |= {"runs": tmp_path / "runs", "out": tmp_path / "out"}
    paper.main(studies=("sometimes",), **arguments)
    file = tmp_path / "out" / "paper-digits.json"
    study = json.loads(file.read_text())["studies"]["sometimes"]
    assert {row["agent"] for row in study["rows"]} == {"random", "ucb"}
    assert study["evidence"].items() >= {"epochs": 3, "num_samples": 60, "seeds": 1}.items()
    monkeypatch.setattr(paper, "run_episode", None)
    paper.main(studies=("sometimes",), **arguments)
    assert json.loads(file.read_text())["studies"]["sometimes"] == study
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"paper-digits.json", "paper-digits.md", "paper-digits-sometimes.png"}


def test_sometimes_is_neither_all_nor_none_of_the_last_selections(paper, monkeypatch):
    monkeypatch.setattr(paper, "WINDOW", 2)
    chosen = iter([[0, 1], [0, 2], [0, 1], [0, 1]])

    class Given(RandomDynamic):
        def select(self, samples, count):
            return np.array(next(chosen))

    watch = paper.Watch(Given())
    watch.reset(0)
    for epoch in range(4):
        watch.predict(observe(epoch / 5, 4))
    assert watch.shares == [[0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.5, 0, 0.5]]


def test_a_folder_needs_a_name(paper):
    with pytest.raises(SystemExit, match="`name` must be given for a folder"):
        paper.main(task="folder:somewhere")


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "results").glob("*.*")))
def test_results_hold_no_paths(file):
    if file.suffix in (".json", ".md"):
        text = file.read_text(encoding="utf-8")
        paths = ("/tmp", "/home", "/work", "/root", "folder:/", "folder:~")
        assert not any(path in text for path in paths)
