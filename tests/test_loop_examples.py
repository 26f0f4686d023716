"""The examples of loops run as a user would run them, where what they show is installed."""

import re
import runpy
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "loops"
# What each needs besides, and what it prints.
SHOWN = {
    "accumulation": ((), r"^134 of 134 updates, accuracy 0\.9"),
    "mixed_precision": ((), r"^0 losses not finite, accuracy 0\.9"),
    "regression": ((), r"^ucb        explains 5\d %$"),
    "stateful_loader": (("torchdata",), r"^31 \+ 13 = 44 updates, same weights: True$"),
    "with_accelerate": (("accelerate",), r"^6\.0 full epochs, accuracy 0\.9"),
    "with_lightning": (("lightning",), r"^134 updates, accuracy 0\.9"),
    "with_transformers": (("transformers", "accelerate"), r"^225 updates, accuracy (0\.9|1)"),
    "wrong_labels": (("pandas", "pyarrow", "cleanlab"), r"^9\d % of the wrong labels found$"),
}


def test_all_examples_are_known_here():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(SHOWN)


@pytest.mark.filterwarnings("ignore")  # of the packages shown
@pytest.mark.parametrize("name", SHOWN)
def test_it_runs(name, capsys):
    packages, shown = SHOWN[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in packages:
            pytest.importorskip(package)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert re.search(shown, capsys.readouterr().out, re.MULTILINE)


def test_the_lines_that_the_document_shows_are_those_of_the_examples():
    page = (ROOT / "docs" / "own-loop.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 4
    texts = [file.read_text(encoding="utf-8") for file in EXAMPLES.glob("*.py")]
    lines = {line.strip() for text in texts for line in text.splitlines()}
    for line in "".join(blocks).splitlines():
        assert line.strip() in lines
