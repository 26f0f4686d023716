"""The rooms of CONTRIBUTING.md: all of them are listed, and imports go only downward."""

import re
from pathlib import Path

import pytest
import structure

ROOT = Path(__file__).parent.parent
FILES = structure.modules(structure.PACKAGES)
ARROWS = structure.arrows(FILES)
# From `- `room`, `room` (what it is)` in the list of each package, the lowest first.
LISTS = {
    package: [
        re.findall(r"`([\w/.]+)`", line.split(" (")[0])
        for line in re.findall(rf"^- (`{package}/.*)", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    ]
    for package in structure.PACKAGES
}
FLOOR = {
    room.removesuffix(".py").rstrip("/").replace("/", "."): floor
    for floors in LISTS.values()
    for floor, rooms in enumerate(floors)
    for room in rooms
}


def test_every_room_is_listed_and_every_room_listed_is_there():
    assert set(FLOOR) == {structure.room_of(module) for module in FILES}


@pytest.mark.parametrize("room", FLOOR)
def test_imports_go_only_downward(room):
    package = room.split(".")[0]
    for other in structure.between_rooms(ARROWS).get(room, ()):
        if other.split(".")[0] == package:
            assert FLOOR[other] < FLOOR[room], f"{room} must not import {other}"


def test_no_modules_import_each_other_in_a_circle():
    structure.floors(set(FILES), ARROWS)


def test_a_circle_would_be_found():
    with pytest.raises(ValueError, match="in a circle: a -> b -> a"):
        structure.floors({"a", "b"}, {"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize("module", [module for module in FILES if module.startswith("prune_env.")])
def test_the_environment_knows_no_agent(module):
    packages = {name.split(".")[0] for name in structure.imported(FILES[module])}
    assert not packages & {"prune_agents", "agents", "stable_baselines3"}


@pytest.mark.parametrize(
    "module", [module for module in FILES if module.startswith("prune_agents")]
)
def test_the_agents_import_public_names_of_the_environment_alone(module):
    names = [name for name in structure.imported(FILES[module]) if name.startswith("prune_env")]
    assert not [name for name in names if "._" in name]


@pytest.mark.parametrize("module", FILES)
def test_no_file_outgrows_its_description(module):
    assert len(FILES[module].read_text().splitlines()) < 400
