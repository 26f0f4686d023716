"""Tables of a comparison."""

import numpy as np
import pytest

from prune_env.experiment.report import NOTES, summary_table

PARTS = ("train", "scoring", "selection", "evaluation")


def make_row(**fields):
    return {
        "task": "digits",
        "scenario": "clean",
        "agent": "ucb",
        "seeds": [0, 1, 2],
        "test_metric": {"mean": 0.91234, "low": 0.9, "high": 0.925},
        "against": "short",
        "over": {"mean": 0.0123, "low": -0.01, "high": 0.03},
        "work": 5.004,
        "seconds": dict(zip(PARTS, (1.5, 0.25, 0.125, 3.0), strict=True)),
        "work_to_reference": 2.5,
        "seconds_to_reference": 0.75,
        "num_reached_reference": 1,
        "num_diverged": 0,
    } | fields


def cells(text):
    """The cells of the Markdown table in `text`, by line, without the rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def row_of(**fields):
    header, row = cells(summary_table([make_row(**fields)]))
    return dict(zip(header, row, strict=True))


def test_a_row_by_hand():
    assert row_of() == {
        "agent": "ucb",
        "accuracy": "91.23 ±1.25",
        "over short": "+1.23 ±2.00",
        "work": "5.00",
        "seconds": "1.88",
        "val.": "3.00",
        "to reference": "2.50, 0.75s 1/3",
    }


@pytest.mark.parametrize(
    ("fields", "column", "cell"),
    [
        ({"scoring_work": 2.5}, "work", "5.00+2.5"),
        ({"test_metric": {"mean": 0.5, "low": None, "high": None}}, "accuracy", "50.00"),
        ({"over": {"mean": -0.02, "low": -0.03, "high": -0.01}}, "over short", "-2.00 ±1.00*"),
        ({"over": {"mean": 0.02, "low": 0.01, "high": 0.03}}, "over short", "+2.00 ±1.00*"),
        ({"over": {"mean": 0.02, "low": None, "high": None}}, "over short", "+2.00"),
        ({"over": None}, "over short", ""),
        ({"work_to_reference": None, "num_reached_reference": 0}, "to reference", "-"),
        ({"work_to_reference": 0.0}, "to reference", "0.00, 0.75s 1/3"),
        ({"seconds_to_reference": None}, "to reference", "2.50 1/3"),
        ({"num_diverged": 2}, "agent", "ucb (2 diverged)"),
    ],
)
def test_what_is_missing_or_went_wrong_is_shown(fields, column, cell):
    assert row_of(**fields)[column] == cell


def test_what_is_no_share_of_what_is_right_is_not_in_per_cent():
    row = row_of(metric="r2")
    assert row["r2"] == "0.9123 ±0.0125"
    assert row["over short"] == "+0.0123 ±0.0200"
    assert row_of(metric="token accuracy")["token accuracy"] == "91.23 ±1.25"


def test_each_table_names_its_metric():
    text = summary_table([make_row(), make_row(task="diabetes", metric="r2")])
    headers = [line for line in text.splitlines() if line.startswith("| agent")]
    assert [header.split("|")[2].strip() for header in headers] == ["accuracy", "r2"]


def test_without_a_base_there_is_no_column_of_differences():
    assert not [name for name in row_of(against=None, over=None) if name.startswith("over")]


def test_the_best_comes_first():
    means = np.random.default_rng(0).permutation([0.5, 0.7, 0.9, 0.8])
    rows = [
        make_row(agent=f"{mean}", test_metric={"mean": mean, "low": None, "high": None})
        for mean in means
    ]
    assert [row[0] for row in cells(summary_table(rows))[1:]] == ["0.9", "0.8", "0.7", "0.5"]


def test_a_table_is_aligned_has_one_rule_and_fits():
    rows = [
        make_row(agent="loss-proportional", scoring_work=51.67),
        make_row(over={"mean": -0.2, "low": -0.3, "high": -0.1}),
    ]
    text = summary_table(rows)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-", ":", " "}
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith(NOTES)


def test_a_long_name_is_cut_and_spelt_out_below():
    names = ["epsilon-greedy:refresh=forward-only,period=4", "ucb+anneal+rescale"]
    names.append("ucb:refresh=forward-only,period=4")
    text = summary_table([make_row(agent=name) for name in names])
    assert [row[0] for row in cells(text)[1:]] == [
        "epsilon-greedy:r.. [1]",
        "ucb+anneal+rescale",
        "ucb:refresh=forw.. [2]",
    ]
    assert f"\n\n[1] {names[0]}\n[2] {names[2]}\n\n" in text
    assert max(map(len, text.splitlines())) <= 100


def test_each_task_and_scenario_has_a_table_with_its_seeds():
    rows = [make_row(), make_row(task="mnist", seeds=[7]), make_row(agent="full")]
    rows.append(make_row(scenario="noise:0.3"))
    first, second, third, _ = summary_table(rows).split("\n\n")[::2]
    assert first == "digits, clean, seeds 0-2"
    assert second == "mnist, clean, seeds 7"
    assert third == "digits, noise:0.3, seeds 0-2"
    blocks = summary_table(rows).split("\n\n")[1::2]
    assert [len(cells(block)) - 1 for block in blocks[:3]] == [2, 1, 1]


def test_agents_of_different_seeds_say_theirs():
    text = summary_table([make_row(seeds=[0, 1, 2, 3, 4]), make_row(agent="rs2", seeds=[0, 1, 7])])
    assert text.startswith("digits, clean\n\n")
    assert [row[0] for row in cells(text)] == ["agent", "ucb, seeds 0-4", "rs2, seeds 0-1, 7"]


def test_what_would_break_a_markdown_table_is_escaped():
    text = summary_table([make_row(agent="a|b\nc"), make_row()])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert "| a\\|b c |" in lines[2]
    assert len({len(line) for line in lines}) == 1
