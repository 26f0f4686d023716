"""Check what a wheel and a source distribution hold: `python .ci/contents.py dist`.

The wheel holds the two packages and nothing else, the source distribution every file under version
control.
"""

import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
SOURCES = {"prune_env/": "prune_env/", "agents/prune_agents/": "prune_agents/"}
GENERATED = ("PKG-INFO", "setup.cfg", "prune_env.egg-info/")


def check(what: str, held: set[str], wanted: set[str]) -> None:
    """Exit unless the two are the same; print how many files a folder holds."""
    if held != wanted:
        sys.exit(f"{what} lacks {sorted(wanted - held)} and has {sorted(held - wanted)} too many")
    counts = Counter(str(PurePosixPath(name).parent) for name in held)
    print(what, *(f"  {count:4} {folder}" for folder, count in sorted(counts.items())), sep="\n")


def main(folder: Path) -> None:
    """Compare both with the files that git tracks."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
    packages = {
        target + name.removeprefix(source)
        for source, target in SOURCES.items()
        for name in tracked
        if name.startswith(source)
    }
    check(wheel.name, held, packages)
    with tarfile.open(sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    check(sdist.name, {name for name in names if not name.startswith(GENERATED)}, tracked)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
