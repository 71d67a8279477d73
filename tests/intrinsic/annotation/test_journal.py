"""Labels on disk."""

import json
import os

import pytest

from rewardlab.intrinsic.annotation.journal import LabelJournal

ENTRIES = [(0, "You kill it!\n\u2028", 1), (1, ("a", "b"), 3), (5, "caf\xe9 \udcff\x00", 0)]


def test_entries_come_back(tmp_path):
    journal = LabelJournal(tmp_path / "new" / "labels", "me")
    assert journal.entries == []
    journal.append(ENTRIES[:2])
    journal.append(ENTRIES[2:])
    journal.close()
    assert LabelJournal(tmp_path / "new" / "labels", "me").entries == ENTRIES


def test_every_cut_leaves_the_labels_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    path = tmp_path / "labels"
    journal = LabelJournal(path, "me")
    journal.append(ENTRIES)
    journal.close()
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        cut = LabelJournal(path, "me")
        whole = max(0, sum(end <= length for end in ends) - 1)
        assert cut.entries == ENTRIES[:whole]
        cut.append([(7, "next", 1)])
        cut.close()
        again = LabelJournal(path, "me")
        assert again.entries == [*ENTRIES[:whole], (7, "next", 1)]
        again.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{]", "line 3"),
        (b'{"number": 1, "item": "a"}', "line 3: 'label'"),
        (b'{"number": 1, "item": "a", "label": 2}', r"line 3: label\[0\] is 2"),
        (b'{"number": 1, "item": ["a", "b"], "label": 4}', r"line 3: label\[0\] is 4"),
        (b'{"number": 1, "item": ["a"], "label": 1}', "line 3: item: expected a message or a pair"),
        (b'{"number": 0, "item": "a", "label": 1}', "line 3: number 0 follows 0"),
    ],
)
def test_damage_is_named_and_left_alone(tmp_path, line, words):
    path = tmp_path / "labels"
    journal = LabelJournal(path, "me")
    journal.append(ENTRIES[:1])
    journal.close()
    content = path.read_bytes() + line + b"\n" + json.dumps({"number": 9, "item": "b", "label": 0}).encode() + b"\n"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        LabelJournal(path, "me")
    assert path.read_bytes() == content


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "labels"
    LabelJournal(path, "me").close()
    with pytest.raises(ValueError, match="of another annotator or goal"):
        LabelJournal(path, "you")
    path.write_text("dear diary\n")
    with pytest.raises(ValueError, match="does not begin as a journal of labels"):
        LabelJournal(path, "me")
    assert path.read_text() == "dear diary\n"


def test_a_journal_has_one_writer_also_within_a_process(tmp_path):
    first = LabelJournal(tmp_path / "labels", "me")
    with pytest.raises(ValueError, match="is in use already"):
        LabelJournal(tmp_path / "labels", "me")
    first.close()
    LabelJournal(tmp_path / "labels", "me").close()
