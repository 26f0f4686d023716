"""The ledger of claims."""

from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "claims.md"


def page(results: Path) -> str:
    return ""
