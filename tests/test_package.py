"""What is installed: the version, what is needed for it, and what is not."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import structure

import prune_env
from prune_env.experiment.cli import main
from prune_env.extras import extra

ROOT = Path(__file__).parent.parent
# Packages that are imported by another name than they are installed by.
CALLED = {
    "PIL": "pillow",
    "pygame": "gymnasium",  # its extra classic-control names the one that it goes with
    "lazy_loader": "lazy-loader",
    "sklearn": "scikit-learn",
    "stable_baselines3": "stable-baselines3",
}
EXTRAS = ("train", "plots", "tables", "hf", "lightning", "transformers", "ray", "dask", "slurm")
REQUIRED = importlib.metadata.requires("prune-env") or []


def requirements(extra_name=None):
    """Names of the packages that an extra brings, or that everybody gets."""
    marker = f'extra == "{extra_name}"' if extra_name else None
    of_it = [line for line in REQUIRED if (marker in line if marker else "extra ==" not in line)]
    return {re.split(r"[^\w.-]", line)[0].lower() for line in of_it}


def test_the_version_is_that_of_the_changelog():
    assert importlib.metadata.version("prune-env") == prune_env.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == prune_env.__version__


def test_everything_that_is_imported_is_required():
    """Of the packages themselves, at the top of a file or within a function."""
    allowed = requirements().union(*map(requirements, EXTRAS))
    own = {"prune_env", "prune_agents"} | sys.stdlib_module_names
    own |= {"IPython"}  # asked for in a notebook alone, whose kernel has it
    for folder in structure.PACKAGES.values():
        for file in folder.rglob("*.py"):
            for name in {name.split(".")[0] for name in structure.imported(file)} - own:
                assert CALLED.get(name, name) in allowed, f"{file} imports {name}"


def test_what_only_an_extra_brings_is_never_imported_at_the_top():
    only = set().union(*map(requirements, EXTRAS))
    for folder in structure.PACKAGES.values():
        for file in folder.rglob("*.py"):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                names = [alias.name for alias in getattr(node, "names", [])]
                of_what = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    assert not {name.split(".")[0] for name in of_what} & only, file


def test_a_missing_extra_is_named():
    with (
        pytest.raises(
            gym.error.DependencyNotInstalled,
            match=r"a picture needs the extra 'plots' \(No module named 'no_such'\): pip install "
            r"'prune-env\[plots\]'",
        ),
        extra("plots", "a picture"),
    ):
        import no_such  # type: ignore[import-not-found]  # noqa: F401


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_an_integration_names_its_extra(name, monkeypatch):
    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"prune_env.integrations.{name}", raising=False)
    missing = gym.error.DependencyNotInstalled
    with pytest.raises(missing, match=rf"pip install 'prune-env\[{name}\]'"):
        importlib.import_module(f"prune_env.integrations.{name}")


def test_extras_named_are_extras_that_there_are():
    there = set(importlib.metadata.metadata("prune-env").get_all("Provides-Extra") or ())
    for folder in structure.PACKAGES.values():
        for file in folder.rglob("*.py"):
            named = re.findall(r'with extra\("(\w+)"', file.read_text(encoding="utf-8"))
            assert set(named) <= there, file


@pytest.mark.parametrize(
    ("lacking", "algorithm"), [("cma", "cma"), ("tensorboard", "cma"), ("tensorboard", "ppo")]
)
def test_training_names_what_it_lacks_before_it_starts(lacking, algorithm, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, lacking, None)
    command = ["train", "--algo", algorithm, "--task", "blobs budget=1", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"training needs .*pip install 'prune-env\[train\]'"):
        main(command)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_without_matplotlib_has_all_but_its_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    main(["run", "--task", "blobs", "--epochs", "4", "--out", str(tmp_path)])
    shown = capsys.readouterr()
    assert "no pictures: a picture of a comparison needs the extra 'plots'" in shown.err
    assert {file.name for file in tmp_path.iterdir()} >= {"episodes.jsonl", "summary.json"}


# As where Stable-Baselines3 is not installed: neither importable nor known to importlib.metadata.
WITHOUT = """
import importlib.abc, importlib.metadata, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("stable_baselines3", "sb3_contrib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

found = importlib.metadata.Distribution.from_name

def from_name(name):
    if name.replace("_", "-") in ("stable-baselines3", "sb3-contrib"):
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

sys.meta_path.insert(0, Blocked())
importlib.metadata.Distribution.from_name = from_name
"""
USED = """
import gymnasium as gym, numpy as np, torch
import prune_env
from prune_env.experiment.cli import main

env = gym.make("prune_env/DataPruning-v0", task="digits", budget=1.0)
env.reset(seed=0)
env.step(env.action_space.sample())

sampler = prune_env.PruningSampler(60, batch_size=10, agent="ucb", budget=1.0, keep_fraction=0.5)
for _, indices in sampler.loader(np.arange(60)):
    sampler.record(indices, torch.ones(len(indices)))

main(["list"])
main(["run", "--agents", "random", "ucb", "infobatch", "learned", "--epochs", "4"])
assert "stable_baselines3" not in sys.modules
try:
    import prune_agents.learning.vec_env
except ModuleNotFoundError as error:
    print("without", error.name)
"""


def test_all_but_learning_works_without_stable_baselines3(tmp_path):
    command = [sys.executable, "-W", "error", "-c", WITHOUT + USED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "cannot be loaded" not in done.stdout + done.stderr
    assert "| infobatch " in done.stdout
    assert done.stdout.endswith("without stable_baselines3\n")
