"""Put results into the documents that show them: `python benchmarks/documents.py`.

Between two marks `<!-- NAME -->` and `<!-- end of NAME -->` stands what was measured last: the
tables of `make demo` (runs/demo) and those of `make bench`; and what agents must be told. Whole
pages that are made from the code are written by `python -m docs.site.pages`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from prune_env.experiment import catalogue
from prune_env.experiment.report import markdown, summary_table

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = Path(__file__).parent / "results"
DEMO = ROOT / "runs" / "demo"


def fill(document: Path, mark: str, text: str) -> None:
    """Put a text between the marks of a document, in place of what is there.

    Raises:
        ValueError: if the document lacks them.
    """
    start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, found, rest = document.read_text(encoding="utf-8").partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{document} must hold {start} and {end}")
    document.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def speed(file: Path) -> str:
    """The table of a speed result, goals beside the figures."""
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    cells = [
        (
            row["row"],
            row["goal"],
            f"{row['median']:.3g} {row['unit']}",
            f"{row['low']:.3g} to {row['high']:.3g}",
        )
        for row in rows
    ]
    return markdown([("what", "goal", "median", "range"), *cells])


def main() -> None:
    """Fill the documents, and replace the picture that the README shows."""
    rows = json.loads((DEMO / "summary.json").read_text(encoding="utf-8"))
    fill(DOCS / "demo.md", "demo", summary_table(rows))
    shutil.copyfile(DEMO / "accuracy-digits-noise_0.3.png", DOCS / "demo-noise.png")
    fill(DOCS / "agents.md", "needs", catalogue.text("needs"))
    fill(DOCS / "speed.md", "speed", speed(RESULTS / "speed-cpu.json"))


if __name__ == "__main__":
    main()
