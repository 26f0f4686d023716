"""What MkDocs is told besides mkdocs.yml: pages from elsewhere, a reference, links between them.

Links in the documents are those of the repository, so that they work on a code host too. Here they
are turned into links of the site; what the site does not show is linked on the code host.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = "https://github.com/prune-env/prune-env/blob/main/"
RAW = "https://raw.githubusercontent.com/prune-env/prune-env/main/"
NOTEBOOK = "examples/tour.ipynb"
# Pages of the site that are not in docs/: where they are in the repository.
ELSEWHERE = {
    "start.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
STUBS = {
    "prune_env": "prune_env/__init__.pyi",
    "prune_agents": "agents/prune_agents/__init__.pyi",
}
SHOWN_RESULTS = (".md", ".png")
RESULTS = "results/"


def from_elsewhere() -> dict[str, str]:
    """Files of the site that lie outside docs/, by their place in the site."""
    results = sorted((ROOT / "benchmarks" / "results").iterdir())
    return ELSEWHERE | {
        f"{RESULTS}{file.name}": f"benchmarks/results/{file.name}"
        for file in results
        if file.suffix in SHOWN_RESULTS
    }


def sections(stub: Path) -> dict[str, list[tuple[str, str]]]:
    """Public names of a stub and the modules they are from, by the comment above them."""
    found: dict[str, list[tuple[str, str]]] = {}
    names: list[tuple[str, str]] = []
    for line in stub.read_text(encoding="utf-8").splitlines():
        if title := re.match(r"# ([A-Z].*)\.$", line):
            names = found.setdefault(title[1], [])
        elif name := re.match(r"from \.(\S+) import (\w+) as", line):
            names.append((name[1], name[2]))
    return {title: names for title, names in found.items() if names}


def reference() -> dict[str, str]:
    """Pages of the reference, made from the docstrings of what the packages' stubs name."""
    pages = {}
    for package, stub in STUBS.items():
        for place, (title, names) in enumerate(sections(ROOT / stub).items()):
            head = title.partition(";")[0]
            slug = re.sub(r"[^a-z]+", "-", head.lower()).strip("-")
            blocks = [f"::: {package}.{module}.{name}" for module, name in names]
            text = f"# {head}\n\nImported from `{package}`.\n\n"
            pages[f"reference/{package}/{place:02}-{slug}.md"] = text + "\n\n".join(blocks) + "\n"
    return pages


def notebook(text: str) -> str:
    """A notebook with its outputs as Markdown."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                picture = "".join(data["image/png"]).replace("\n", "")
                parts.append(f'<img alt="" src="data:image/png;base64,{picture}">')
            elif shown := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
                parts.append(f"```text\n{shown}\n```")
    return "\n\n".join(parts) + "\n"


def in_site(path: str) -> str | None:
    """Where a file of the repository is in the site; None if it is not."""
    if path == NOTEBOOK:
        return "tour.md"
    places = {there: here for here, there in from_elsewhere().items()}
    if path.startswith("docs/") and (ROOT / path).is_file() and not path.endswith(".py"):
        return path.removeprefix("docs/")
    return places.get(path)


def in_repository(page: str) -> str:
    """Where a page of the site is in the repository."""
    return NOTEBOOK if page == "tour.md" else from_elsewhere().get(page, f"docs/{page}")


def moved(link: str, page: str) -> str:
    """A link of the repository as one of the site.

    Args:
        link: as it stands in the page.
        page: the page that it stands in, of the site.
    """
    host = next((start for start in (REPOSITORY, RAW) if link.startswith(start)), "")
    if not host and re.match(r"[a-z]+:|#", link):
        return link
    path, _, anchor = link.removeprefix(host).partition("#")
    if not host:
        folder = posixpath.dirname(in_repository(page))
        path = posixpath.normpath(posixpath.join(folder, path))
    target = in_site(path)
    if target is None:
        return REPOSITORY + path if not host and (ROOT / path).exists() else link
    relative = posixpath.relpath(target, posixpath.dirname(page) or ".")
    return relative + (f"#{anchor}" if anchor else "")


def rewritten(markdown: str, page: str) -> str:
    """A page's text with its links moved, those in code apart."""
    pieces = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        piece
        if piece.startswith("```")
        else re.sub(r"\]\(([^)\s]+)\)", lambda m: f"]({moved(m[1], page)})", piece)
        for piece in pieces
    )


def present(nav: list[Any], pages: set[str]) -> list[Any]:
    """A navigation without the pages that are not there, and with all those of a folder."""
    kept: list[Any] = []
    for entry in nav:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            below = present(target, pages)
        elif target.endswith("/"):
            below = of_folder(target, pages)
        else:
            kept += [entry] if target in pages else []
            continue
        kept += [{title: below}] if below else []
    return kept


def of_folder(folder: str, pages: set[str]) -> list[Any]:
    """Pages of a folder, its README first, and folders in it; results are called by their files."""
    inside = sorted(page for page in pages if page.startswith(folder) and page.endswith(".md"))
    inside.sort(key=lambda page: not page.endswith("/README.md"))
    entries: list[Any] = []
    for page in inside:
        name, slash, _ = page.removeprefix(folder).partition("/")
        if not slash:
            own = folder != RESULTS or name == "README.md"
            entries.append(page if own else {name.removesuffix(".md"): page})
        elif not any(name in entry for entry in entries):
            entries.append({name: of_folder(f"{folder}{name}/", pages)})
    return entries


def on_files(files: Any, config: Any) -> Any:
    """MkDocs has found the files in docs/: add the others, then make the navigation."""
    from mkdocs.structure.files import File

    for here, there in from_elsewhere().items():
        files.append(File.generated(config, here, abs_src_path=str(ROOT / there)))
    for here, text in reference().items():
        files.append(File.generated(config, here, content=text))
    text = notebook((ROOT / NOTEBOOK).read_text(encoding="utf-8"))
    files.append(File.generated(config, "tour.md", content=text))
    config.nav = present(config.nav, {file.src_uri for file in files})
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn a page's links into those of the site."""
    return rewritten(markdown, page.file.src_uri)
