"""JSON lines: each whole or not there, none changed unseen, none lost."""

import json
import os

import pytest

from prune_env.storage.lines import append_line, read_lines

RECORD = {"a": 1, "b": {"c": [1.5, "ä"]}}


@pytest.fixture
def file(tmp_path):
    for number in range(3):
        append_line(tmp_path / "mine.jsonl", RECORD | {"number": number})
    return tmp_path / "mine.jsonl"


def numbers(file):
    return [record["number"] for record in read_lines(file)]


def test_there_and_back(file):
    assert read_lines(file) == [RECORD | {"number": number} for number in range(3)]
    assert read_lines(file.with_name("none")) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="names of open files")
def test_a_line_is_on_disk_when_append_returns(file, monkeypatch):
    synced, fsync = [], os.fsync

    def watched(handle):
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), os.fstat(handle).st_size))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    append_line(file, RECORD)
    assert synced == [(str(file), file.stat().st_size)]
    new = file.with_name("new.jsonl")
    append_line(new, RECORD)
    assert [name for name, _ in synced[1:]] == [str(new), str(new.parent)]


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace('"number": 1', '"number": 7'),
        lambda line: line.replace('"number": 1', '"humber": 1'),
        lambda line: line.replace("1.5", "1.25"),
        lambda line: line.replace("\\u00e4", "a"),
        lambda line: line.replace('"a": 1, ', ""),
    ],
)
def test_a_line_that_was_changed_is_refused_by_number(file, change):
    lines = file.read_text().splitlines()
    changed = change(lines[1])
    assert changed != lines[1]
    file.write_text("\n".join([lines[0], changed, lines[2], ""]))
    message = "mine.jsonl, line 2 is damaged .it was changed after .* if you changed it yourself"
    with pytest.raises(ValueError, match=message):
        read_lines(file)
    meant = json.loads(changed)
    del meant["digest"]
    file.write_text("\n".join([lines[0], json.dumps(meant), lines[2], ""]))
    assert len(read_lines(file)) == 3


def test_a_line_that_is_only_written_otherwise_is_the_same(file):
    """As other tools write it: spaces, the order of names, characters beyond ASCII."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    before = read_lines(file)
    texts = [
        json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        for record in records
    ]
    file.write_text("\r\n".join(texts) + "\r\n", encoding="utf-8", newline="")
    assert read_lines(file) == before


def test_lines_of_earlier_versions_have_no_digest(tmp_path):
    (tmp_path / "old").write_text('{"a": 1}\n{"a": 2}\n')
    assert read_lines(tmp_path / "old") == [{"a": 1}, {"a": 2}]


def test_reading_writes_nothing_wherever_the_file_ends(file):
    whole = file.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        os.utime(file, ns=(1, 1))
        # A record is there when its last brace is.
        assert len(read_lines(file)) == sum(end - 1 <= cut for end in ends)
        assert (file.read_bytes(), file.stat().st_mtime_ns) == (whole[:cut], 1)
    assert [name.name for name in file.parent.iterdir()] == [file.name]


def test_the_next_line_loses_nothing_wherever_the_file_ended(file):
    whole = file.read_bytes()
    torn = file.with_name("mine.jsonl.torn")
    for cut in (*range(1, len(whole), 5), len(whole) - 2, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:cut])
        before = read_lines(file)
        append_line(file, {"number": 9})
        assert read_lines(file) == [*before, {"number": 9}]
        kept = b"".join(line + b"\n" for line in file.read_bytes().split(b"\n")[: len(before)])
        lost = torn.read_bytes() if torn.exists() else b""
        assert (kept + lost).rstrip(b"\n") == whole[:cut].rstrip(b"\n")
        torn.unlink(missing_ok=True)


def test_a_last_line_longer_than_a_block_is_found(tmp_path):
    file = tmp_path / "long.jsonl"
    append_line(file, {"text": "x" * 200_000})
    file.write_bytes(file.read_bytes() + b'{"text": "' + b"y" * 200_000)
    append_line(file, {"text": "z"})
    assert [record["text"][0] for record in read_lines(file)] == ["x", "z"]
    assert len((tmp_path / "long.jsonl.torn").read_bytes()) == 200_011


@pytest.mark.parametrize("last", ["7", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_last_line_that_is_whole_and_wrong_is_refused(file, last):
    file.write_text(file.read_text() + last)
    with pytest.raises(ValueError, match="line 4 is damaged"):
        read_lines(file)


def test_what_json_lacks_is_not_written(file):
    before = file.read_bytes()
    for bad in (float("nan"), "\ud800"):
        with pytest.raises(ValueError, match=r"not JSON compliant|half a surrogate"):
            append_line(file, {"a": bad})
    assert file.read_bytes() == before


def test_a_folder_or_a_pipe_in_its_place_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, kind in ((".", "a folder"), ("pipe", "a pipe")):
        for use in (read_lines, lambda file: append_line(file, RECORD)):
            with pytest.raises(ValueError, match=f"`out` must be a file .*{kind}"):
                use(tmp_path / name)
