"""Rooms, floors and arrows of the packages: `python benchmarks/structure.py`.

A room is a folder of a package, or a module beside the folders. An arrow goes from a room to
another that it imports, at the top of a file or within a function; imports for type checkers alone
do not count. A floor is as high as the longest way down from it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import tyro

ROOT = Path(__file__).parent.parent
PACKAGES = {"prune_env": ROOT / "prune_env", "prune_agents": ROOT / "agents" / "prune_agents"}
Arrows = dict[str, set[str]]


def imported(file: Path) -> Iterator[str]:
    """Names that a file imports, dotted; those of `from x import y` as x.y too."""
    for node in _without_type_checking(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _without_type_checking(node)


def modules(packages: dict[str, Path]) -> dict[str, Path]:
    """Files by dotted name; a package's own `__init__` is left out, since it only hands on."""
    return {
        ".".join([name, *file.relative_to(folder).with_suffix("").parts]): file
        for name, folder in packages.items()
        for file in sorted(folder.rglob("*.py"))
        if file.name != "__init__.py"
    }


def room_of(module: str) -> str:
    """`package.folder`, or `package.module` for one beside the folders."""
    return ".".join(module.split(".")[:2])


def arrows(files: dict[str, Path]) -> Arrows:
    """What each module imports of the others."""
    found: Arrows = defaultdict(set)
    for module, file in files.items():
        for name in imported(file):
            parts = name.split(".")
            known = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
            target = next((one for one in known if one in files), None)
            if target not in (None, module):
                found[module].add(str(target))
    return found


def between_rooms(found: Arrows) -> Arrows:
    """The same between rooms."""
    rooms: Arrows = defaultdict(set)
    for module, targets in found.items():
        here = room_of(module)
        rooms[here] |= {room_of(target) for target in targets} - {here}
    return rooms


def floors(rooms: set[str], found: Arrows) -> dict[str, int]:
    """Height of each room.

    Raises:
        ValueError: if rooms import each other in a circle.
    """
    heights: dict[str, int] = {}

    def height(room: str, way: tuple[str, ...]) -> int:
        if room in way:
            raise ValueError(f"rooms import each other in a circle: {' -> '.join([*way, room])}")
        if room not in heights:
            below = [height(other, (*way, room)) for other in found.get(room, ())]
            heights[room] = 1 + max(below, default=0)
        return heights[room]

    return {room: height(room, ()) for room in sorted(rooms)}


def main(*, root: Path = ROOT) -> None:
    """Count and list.

    Args:
        root: a checkout of the project.
    """
    packages = {"prune_env": root / "prune_env", "prune_agents": root / "agents" / "prune_agents"}
    for name, folder in packages.items():
        files = modules({name: folder})
        by_module = arrows(files)
        rooms = {room_of(module) for module in files}
        by_room = between_rooms(by_module)
        heights = floors(rooms, by_room)
        print(
            f"{name}: {len(files)} modules with {sum(map(len, by_module.values()))} arrows; "
            f"{len(rooms)} rooms on {max(heights.values())} floors with "
            f"{sum(map(len, by_room.values()))} arrows"
        )
        for floor in range(max(heights.values()), 0, -1):
            here = sorted(room for room, height in heights.items() if height == floor)
            print(f"  {floor}  " + ", ".join(room.split(".")[1] for room in here))


if __name__ == "__main__":
    tyro.cli(main)
