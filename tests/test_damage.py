"""Files that were damaged are refused by name, or do not matter; see `damage.py` for the counts."""

import os

import pytest
from damage import FAULTS, SUBJECTS, count

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and alarms")
subjects = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


def check(subject, folder, thoroughness):
    seen = []
    counts = count(subject, folder, thoroughness, show=seen.append)
    assert sum(counts.values()) > 2 * thoroughness
    assert not seen
    assert not any(counts[what] for what in FAULTS)


@subjects
def test_damage_is_refused_by_name_or_healed(subject, tmp_path):
    check(subject, tmp_path, 4)


@pytest.mark.slow
@subjects
def test_much_damage_is_refused_by_name_or_healed(subject, tmp_path):
    check(subject, tmp_path, 100)
