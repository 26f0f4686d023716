"""Write what documents say of the code, from the code: `python -m docs.site.pages`.

The pages of the decision problem in docs/environments/, and that of every agent. A test holds that
they are up to date.
"""

from __future__ import annotations

from pathlib import Path

from docs.site import agents, environments

DOCS = Path(__file__).parent.parent


def texts() -> dict[Path, str]:
    """Every document that is made from the code."""
    made = environments.pages() | {"every-agent.md": agents.page()}
    return {DOCS / name: text for name, text in made.items()}


def main() -> None:
    """Write those that have changed."""
    for file, text in texts().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"written: {file.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
