"""The program: what it prints, writes, refuses and resumes."""

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from PIL import Image

from prune_agents.rules import baselines as heuristics
from prune_env.experiment.cli import COMMANDS, _commands, main

SMALL = ["--epochs", "2", "--num-samples", "100", "--device", "cpu", "--threads", "1"]


def test_compare_prints_a_table_and_writes_its_folder(tmp_path, capsys):
    out = tmp_path / "demo"
    options = ["--scenarios", "clean", "noise:0.3", "--agents", "full", "short", "random"]
    options += ["--seeds", "2", "--keep-fraction", "0.5", "--out", str(out)]
    main(["compare", "--task", "digits", *options, *SMALL])
    shown = capsys.readouterr().out
    assert shown.count("| random ") == 2
    assert "digits, clean, seeds 0-1\n" in shown
    assert "digits, noise:0.3, seeds 0-1\n" in shown
    assert {file.name for file in out.iterdir()} == {
        "episodes.jsonl",
        "summary.json",
        "settings.json",
        "kept",
        ".lock",
        "accuracy-digits-clean.png",
        "accuracy-digits-noise_0.3.png",
    }
    rows = json.loads((out / "summary.json").read_text())
    assert [row["agent"] for row in rows] == ["full", "short", "random"] * 2


def test_run_shows_one_episode_and_resumes_to_nothing(tmp_path, capsys):
    arguments = ["run", "--agents", "ucb:c=2", "--seeds", "7-7", *SMALL, "--out", str(tmp_path)]
    main(arguments)
    first = capsys.readouterr().out
    episodes = (tmp_path / "episodes.jsonl").read_bytes()
    assert json.loads(episodes)["seed"] == 7
    main(arguments)
    assert capsys.readouterr().out == first
    assert (tmp_path / "episodes.jsonl").read_bytes() == episodes


AGENTS = """rs2 infobatch seta orderdp repb ies pdd rcap kakurenbo loss-proportional highest lowest
middle stalest forgotten forgetting el2n grand aum ccs full short static-random random
epsilon-greedy ucb small-loss rho-loss"""


def test_all_agents_play(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    main(["compare", "--task", "digits", "--agents", "all", "--seeds", "1", *SMALL])
    shown = capsys.readouterr().out
    assert all(f"| {name} " in shown for name in AGENTS.split())
    assert "diverged" not in shown


@pytest.mark.parametrize("what", ["all", "tasks", "scenarios", "encodings", "agents", "modifiers"])
def test_list_names_what_there_is(what, capsys):
    main(["list", what])
    shown = capsys.readouterr().out
    expected = {
        "tasks": [
            "digits",
            "mnist",
            "fashion_mnist",
            "cifar10",
            "cifar100",
            "corpora",
            "folder:PATH",
            "hf:PATH?target=COLUMN",
        ],
        "scenarios": [
            "clean",
            "noise:F",
            "confusion:F",
            "imbalance:R",
            "tail:R",
            "duplicates:F",
            "validation-noise:F",
        ],
        "encodings": ["mask", "scores", "weights", "mixture", "features", "bins"],
        "agents": AGENTS.split(),
        "modifiers": ["anneal", "warm-up", "class-balance", "rescale"],
    }
    for section, names in expected.items():
        if what in ("all", section):
            assert all(f"\n  {name} " in shown for name in names)
        else:
            assert f"{section}:" not in shown


def test_list_shows_arguments_with_their_defaults_in_lines_that_fit(capsys):
    main(["list"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "epsilon=0.1, period=1, decay=0.8, refresh=train, first=inf" in shown
    assert "share=0.125, data=full" in shown
    for line in re.findall(r"^ {22}(\w+=.*)$", shown, re.MULTILINE):
        for argument in line.rstrip(",").split(", "):
            assert re.fullmatch(r"\w+=[\w.-]+", argument)


BAD = [
    (["--task", "nothing"], "`task` must be one of"),
    (["--task", "folder:/nowhere"], "`task` folder /nowhere does not exist"),
    (["--agents", "nobody"], "`agent` must be one of"),
    (["--agents", "ucb+nothing"], "`modifier` must be one of"),
    (["--agents", "el2n:cost=charged"], "charges 51.67 full epochs for its scores"),
    (["--scenarios", "fog"], "`scenario` must be one of"),
    (["--keep-fraction", "0"], "`keep_fraction` must be in"),
    (["--keep-fraction", "1.5"], "did you pass a percentage"),
    (["--keep-fraction", "nan"], "`keep_fraction` must be in"),
    (["--epochs", "0.002"], "`epochs` must afford every agent a step, got 0.002"),
    (["--epochs", "-1"], "`epochs` must be finite and above 0"),
    (["--seeds", "0"], "`seeds` must be at least 1"),
    (["--seeds", "9" * 23], "`seeds` must be at most 1,000,000 seeds"),
    (
        ["--scenarios", "noise:0.30", "noise:0.3"],
        "'noise:0.30' and 'noise:0.3', which are the same",
    ),
    (["--model", f"mlp:{10**12}"], "`model` 'mlp:1000000000000' must fit into memory"),
    (["--device", "meta"], "`device` must be a device that is there, got 'meta'"),
    (["--threads", "0"], "`threads` must be at least 1"),
    (["--jobs", "0"], "`jobs` must be at least 1"),
    (["--jobs", "2", "--clock", "wall"], "`jobs` must be 1 with clock 'wall', got 2"),
    (["--jobs", "2", "--timing"], "`jobs` must be 1 with `timing`, got 2"),
    (["--jobs", "999", "--threads", "2"], "`jobs` times threads must be at most the"),
    (["--model", "lenet"], "`model` must be one of"),
    (["--num-samples", "1000000"], "`num_samples` must be at most"),
    (["--device", "cuda:99"], "`device` must be a device that is there"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_clear_line_and_nothing_is_written(arguments, message, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as error:
        main(["compare", "--seeds", "1", "--out", str(out), *arguments])
    assert str(error.value).startswith("prune-env: error: ")
    assert message in str(error.value)
    assert not out.exists()


def test_a_bad_seed_is_refused_before_the_folder_is_taken(tmp_path):
    with pytest.raises(SystemExit, match=r"`seeds` must be one number, how many, or .* got .x."):
        main(["run", "--seeds", "x", "--out", str(tmp_path / "out"), *SMALL])
    assert not (tmp_path / "out").exists()


def test_pictures_too_small_for_the_network_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    for number, kind in enumerate(("train/a", "train/b", "test/a", "test/b")):
        (tmp_path / "G" / kind).mkdir(parents=True)
        for shade in range(3):
            picture = Image.new("RGB", (8, 8), (20 * shade, 60 * number, 0))
            picture.save(tmp_path / "G" / kind / f"{shade}.png")
    with pytest.raises(SystemExit, match="error: `model` 'cnn' needs pictures of at least 8 x 8"):
        main(["run", "--task", f"folder:{tmp_path}/G@4", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_what_goes_wrong_in_an_episode_is_one_line(monkeypatch):
    action = np.full(3, 7), None
    monkeypatch.setattr(heuristics.RandomDynamic, "predict", lambda *_, **__: action)
    with pytest.raises(SystemExit, match="error: `agent` 'random' on digits, clean, seed 0: "):
        main(["run", *SMALL])


def test_a_command_that_cannot_be_loaded_is_named(capsys):
    entry = EntryPoint("odd", "no_such_module:Odd", COMMANDS)
    assert _commands([entry]) == {}
    assert "command 'odd' (no_such_module:Odd) cannot be loaded" in capsys.readouterr().err


def test_an_out_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="`out` must be a folder that can be written"):
        main(["run", *SMALL, "--out", str(tmp_path / "file" / "out")])
    assert (tmp_path / "file").read_text() == "mine"


def test_results_of_other_settings_are_left_alone(tmp_path):
    main(["run", *SMALL, "--out", str(tmp_path)])
    before = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(SystemExit, match=r"results of other settings .*keep_fraction 0\.25 there"):
        main(["run", *SMALL, "--keep-fraction", "0.5", "--out", str(tmp_path)])
    assert {
        file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()
    } == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "compare"),
        (["compare", "--help"], "--keep-fraction"),
        (["run", "--help"], "(3-7, or 900000 900001)"),
        (["train", "--help"], "--algo"),
        (["list"], "stalest"),
        (["list", "agents"], "el2n"),
    ],
)
def test_the_module_is_the_program_and_help_and_list_need_no_torch(arguments, expected):
    code = (
        f"import sys; sys.argv = ['prune-env', *{arguments!r}]\n"
        "import runpy\n"
        "try: runpy.run_module('prune_env', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print({'torch', 'stable_baselines3', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert expected in done.stdout
    assert done.stdout.endswith("set()\n")
