"""Labels on disk, one line each: what a killed training must not lose and must not ask for twice."""

import fcntl
import json
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from rewardlab.intrinsic.annotation.annotators import UNKNOWN, check_labels
from rewardlab.intrinsic.annotation.order import check_item
from rewardlab.intrinsic.interface import Item

FORMAT = "rewardlab labels, version 1"

__all__ = ["LabelJournal"]


class LabelJournal:
    """A file that labels are appended to, each on the disk before anybody sees it.

    The first line names the format and the annotator; every other line holds a number, an item and its label. The
    numbers grow, so a checkpoint that knows how many labels it had seen finds the rest. A last line that was cut short
    by a kill is removed when the file is opened; nothing else may be damaged.

    Args:
        path: The file; made, with its folders, where there is none.
        identity: Hash of the annotator and the goal: labels of one are no labels of another.

    Raises:
        ValueError: If the file is no journal, of another annotator, damaged (names the line), or in use by another
            process.
    """

    def __init__(self, path: str | Path, identity: str):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = FileIO(self.path, "a+")
        self._unsaved = b""
        try:
            self._lock()
            self.entries: list[tuple[int, Item, int]] = self._read(identity)
        except BaseException:
            self._file.close()
            raise

    @property
    def next_number(self) -> int:
        """One more than the last number in the file."""
        return self.entries[-1][0] + 1 if self.entries else 0

    def append(self, entries: Sequence[tuple[int, Item, int]]) -> None:
        """Write entries and bring them to the disk.

        Raises:
            OSError: If the disk is full or gone; the next call tries these entries again, before its own.
        """
        self.entries.extend(entries)
        self._unsaved += b"".join(
            json.dumps({"number": number, "item": item, "label": label}).encode() + b"\n"
            for number, item, label in entries
        )
        self._write()

    def close(self) -> None:
        """Close the file; another process may open it."""
        self._file.close()

    def _write(self) -> None:
        while self._unsaved:
            self._unsaved = self._unsaved[self._file.write(self._unsaved) :]
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{self.path} is in use already; give each training its own journal") from None

    def _read(self, identity: str) -> list[tuple[int, Item, int]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # a kill cut the last line short
            self._file.truncate(len(whole))
        header = {"format": FORMAT, "annotator": identity}
        if not whole:
            self._unsaved = json.dumps(header).encode() + b"\n"
            self._write()
            return []
        first, *lines = whole.splitlines()
        found = _parsed(first)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"{self.path} does not begin as a journal of labels ({FORMAT!r}); it was left as it is")
        if found != header:
            raise ValueError(f"{self.path} holds labels of another annotator or goal; give this one its own journal")
        entries: list[tuple[int, Item, int]] = []
        for place, line in enumerate(lines, start=2):
            entry = _parsed(line)
            try:
                number, item, label = entry["number"], check_item("item", entry["item"]), entry["label"]
                check_labels("label", [label], 1, 1 if isinstance(item, str) else UNKNOWN)
                if entries and number <= entries[-1][0]:
                    raise ValueError(f"number {number} follows {entries[-1][0]}")
            except (TypeError, KeyError, ValueError) as error:
                raise ValueError(f"{self.path} is damaged in line {place}: {error}") from None
            entries.append((number, item, label))
        return entries


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
