"""Files that are written whole, on disk, beside others that are left alone."""

import os
import signal
import subprocess
import sys

import pytest

from prune_env.storage import files
from prune_env.storage.files import check_file, check_writable, read_file, replacing, writing


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_file_takes_its_place_only_whole(tmp_path):
    file = tmp_path / "mine.txt"
    with pytest.raises(UnicodeEncodeError), replacing(file) as unfinished:
        unfinished.write_text("half and \ud800", encoding="utf-8")
    assert names(tmp_path) == []
    with replacing(file) as unfinished:
        unfinished.write_text("whole")
    assert (names(tmp_path), file.read_text()) == (["mine.txt"], "whole")


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="names of open files")
def test_a_file_is_on_disk_before_its_name_is(tmp_path, monkeypatch):
    """Or the system, when it fails, may leave an empty file under the right name."""
    done, fsync, rename = [], os.fsync, os.replace

    def synced(handle):
        done.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def renamed(self, target):
        done.append("renamed")
        rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(type(tmp_path), "replace", renamed)
    with replacing(tmp_path / "mine.txt") as unfinished:
        unfinished.write_text("whole")
    assert done == [str(unfinished), "renamed", str(tmp_path)]


KILLED = """
import os, signal, sys
from pathlib import Path
from prune_env.storage.files import replacing
with replacing(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("half")
    print("written", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
    unfinished.write_text("whole")
"""


def other_process(file, how):
    command = [sys.executable, "-c", KILLED, str(file), how]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    pytest.importorskip("fcntl")
    alive = other_process(tmp_path / "alive.txt", "live")
    dead = other_process(tmp_path / "dead.txt", "die")
    dead.communicate()
    assert dead.returncode == -signal.SIGKILL
    foreign = tmp_path / ".precious.part"
    foreign.write_text("mine")
    assert len(names(tmp_path)) == 3
    with replacing(tmp_path / "mine.txt") as unfinished:
        unfinished.write_text("whole")
    (left,) = set(names(tmp_path)) - {"mine.txt", foreign.name}
    assert left.startswith(".alive.txt.")
    alive.communicate("")
    assert alive.returncode == 0
    assert (tmp_path / "alive.txt").read_text() == "whole"
    assert names(tmp_path) == [foreign.name, "alive.txt", "mine.txt"]


def test_a_file_that_was_taken_for_abandoned_before_it_was_locked_is_made_anew(
    tmp_path, monkeypatch
):
    lock, taken = files.lock, []

    def too_late(handle, *, wait):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        return lock(handle, wait=wait)

    monkeypatch.setattr(files, "lock", too_late)
    with replacing(tmp_path / "mine.txt") as unfinished:
        unfinished.write_text("whole")
    assert taken
    assert (tmp_path / "mine.txt").read_text() == "whole"


def test_nothing_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("pipe", "a pipe"), (".", "a folder"), ("none", "No such file")):
        with pytest.raises(ValueError, match=rf"`path` must be a file .*{kind}"):
            read_file(tmp_path / name, "path")
    with pytest.raises(ValueError, match="null"):
        check_file(tmp_path / "a\0b", "path")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"mine")
    assert read_file(tmp_path / "link", "path") == b"mine"


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(ValueError, match=r"`out` x cannot be written \(.*\); free some space"),
        writing("`out` x"),
    ):
        check_writable(tmp_path / "file")
    check_writable(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []
