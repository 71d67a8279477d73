"""Rows of JSON files whose fields are asked for by name and kind, with errors that say where."""

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FormatError", "Row", "read_rows"]

_LFS_POINTER = "version https://git-lfs"
_GZIP = b"\x1f\x8b"


class FormatError(ValueError):
    """A file that is not in the form it was read as; names file, row and field."""


@dataclass(frozen=True, slots=True)
class Row:
    """A JSON object, and where it stands.

    Args:
        where: For messages: the file, the row, and the fields down to here.
        fields: The object.
    """

    where: str
    fields: dict[str, Any]

    def error(self, field: str, expected: str) -> FormatError:
        """What to raise about a field: what was expected, and what it is."""
        if field not in self.fields:
            return FormatError(f"{self.where} has no field {field!r}; it has {', '.join(map(repr, self.fields))}")
        found = json.dumps(self.fields[field])
        found = found if len(found) <= 60 else found[:57] + "..."
        return FormatError(f"{self.where}, field {field!r}: expected {expected}, got {found}")

    def any_of(self, field: str, *kinds: type) -> Any:
        """The field, which must be of one of these JSON kinds."""
        if field not in self.fields or not isinstance(self.fields[field], kinds):
            raise self.error(field, " or ".join(_KINDS[kind] for kind in kinds))
        return self.fields[field]

    def text(self, field: str) -> str:
        """A string."""
        return self.any_of(field, str)

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.any_of(field, list)
        if not all(isinstance(value, str) for value in values):
            raise self.error(field, "a list of strings")
        return tuple(values)

    def label(self, field: str) -> str:
        """An id: a string, or a whole number, which becomes one."""
        value = self.fields.get(field)
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise self.error(field, "a string or a whole number")
        return str(value)

    def whole(self, field: str) -> int:
        """A whole number."""
        value = self.fields.get(field)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(field, "a whole number")
        return value

    def number(self, field: str) -> float:
        """A finite number, or a string that spells one."""
        try:
            value = math.nan if isinstance(self.fields.get(field), bool) else float(self.fields.get(field))
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise self.error(field, "a number")
        return value

    def choice(self, field: str, choices: Sequence) -> Any:
        """One of a few values."""
        if field not in self.fields or self.fields[field] not in choices:
            raise self.error(field, "one of " + ", ".join(json.dumps(choice) for choice in choices))
        return self.fields[field]

    def row(self, field: str) -> "Row":
        """An object inside this one."""
        return Row(f"{self.where}, field {field!r}", self.any_of(field, dict))

    def rows(self, field: str) -> tuple["Row", ...]:
        """A list of objects."""
        values = self.any_of(field, list)
        if not all(isinstance(value, dict) for value in values):
            raise self.error(field, "a list of objects")
        return tuple(Row(f"{self.where}, field {field!r}[{index}]", value) for index, value in enumerate(values))


_KINDS = {str: "a string", list: "a list", dict: "an object"}


def read_rows(path: str | Path) -> tuple[Row, ...]:
    """All rows of a file that holds a JSON list of objects, or an object a line; gzipped or not.

    Raises:
        FormatError: If it is neither, is empty, or is a Git LFS pointer.
        OSError: If it cannot be read.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: expected JSON text, gzipped or not ({error})") from None
    if text.startswith(_LFS_POINTER):
        raise FormatError(f"{path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`")
    values = _as_list(text, path) if text.lstrip().startswith("[") else _as_lines(text, path)
    if not values:
        raise FormatError(f"{path} has no rows, expected at least one")
    for where, value in values:
        if not isinstance(value, dict):
            raise FormatError(f"{where}: expected an object, got {json.dumps(value)[:60]}")
    return tuple(Row(where, value) for where, value in values)


def _as_list(text: str, path: Path) -> list[tuple[str, Any]]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path} is not valid JSON: {error}") from None
    return [(f"{path}, row {index}", value) for index, value in enumerate(values)]


def _as_lines(text: str, path: Path) -> list[tuple[str, Any]]:
    values = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: a string may hold other line breaks
        if line.strip():
            try:
                values.append((f"{path}, line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise FormatError(f"{path}, line {number} is not valid JSON: {error}") from None
    return values
