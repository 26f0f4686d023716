"""What the documents show of results, and the marks that it stands between."""

import json
from pathlib import Path

import documents
import gymnasium
import pytest

import prune_env  # noqa: F401  # registers the ids

ROOT = Path(__file__).parent.parent
MARKS = {
    "docs/demo.md": ("demo",),
    "docs/speed.md": ("speed",),
    "docs/learned.md": ("summary", "learners"),
}


def test_a_document_is_filled_between_its_marks_again_and_again(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("a\n\n<!-- x -->\nold\n<!-- end of x -->\n\nb\n")
    for text in ("one", "two"):
        documents.fill(document, "x", text)
    assert document.read_text() == "a\n\n<!-- x -->\n\ntwo\n\n<!-- end of x -->\n\nb\n"
    with pytest.raises(ValueError, match=r"page.md must hold <!-- y --> and <!-- end of y -->"):
        documents.fill(document, "y", "three")
    assert "three" not in document.read_text()


@pytest.mark.parametrize(("name", "marks"), MARKS.items())
def test_the_documents_have_their_marks(name, marks):
    page = (ROOT / name).read_text()
    for mark in marks:
        assert page.index(f"<!-- {mark} -->") < page.index(f"<!-- end of {mark} -->")


def test_the_documents_show_the_speed_that_was_measured():
    shown = documents.speed(documents.RESULTS / "speed-cpu.json")
    rows = json.loads((documents.RESULTS / "speed-cpu.json").read_text())["rows"]
    assert len(shown.splitlines()) == len(rows) + 2
    assert shown in (ROOT / "docs" / "speed.md").read_text()


def test_reward_thresholds_are_the_returns_that_were_measured():
    measured = json.loads((documents.RESULTS / "returns.json").read_text())
    (rows,) = (rows for name, rows in measured["returns"].items() if "default" in name)
    means = {row["id"]: row["return"]["mean"] for row in rows if row["policy"] == "stalest"}
    assert len(means) == 3
    for name, mean in means.items():
        assert gymnasium.spec(f"prune_env/{name}").reward_threshold == round(mean, 4)
