"""Messages as text and as small whole numbers: every distinct message of a game gets an id on first sight."""

import re
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from rewardlab.checks import check_scalar

__all__ = ["EMPTY", "MESSAGE_BYTES", "MessageTable", "decode_message", "simplified"]

MESSAGE_BYTES = 256  # NetHack's message line
EMPTY = 0  # the id of the message that says nothing

_AS_ONE = np.dtype(f"S{MESSAGE_BYTES}")  # a row as one item: NumPy then drops the zeros at its end, and those only
_CACHED = 65_536  # bytes whose simplified text is remembered
_CHOICES = re.compile(r" ?\[[^\]]*\]")
_NUMBERS = re.compile(r"[0-9]+ ?")


def decode_message(message: bytes | UInt8[np.ndarray, " bytes"]) -> str:
    """Text of a message: every byte but zero is one character (latin-1), so no message can fail to decode.

    Args:
        message: Bytes as the game gives them, zero-padded; zeros inside are dropped too.

    Example:
        >>> decode_message(b"You kill the newt!" + bytes(238))
        'You kill the newt!'

    Source: ONI (arXiv 2410.23022), as released.
    """
    return bytes(message).replace(b"\x00", b"").decode("latin-1")


def simplified(text: str) -> str:
    """Text without bracketed choices and without numbers, which make endless messages of one.

    Example:
        >>> simplified("What do you want to eat? [fgi or ?*]")
        'What do you want to eat?'
        >>> simplified("$ - 12 gold pieces.")
        '$ - gold pieces.'
    """
    return _NUMBERS.sub("", _CHOICES.sub("", text))


class MessageTable:
    """Ids of distinct messages in the order of first sight; 0 is always the empty message.

    Two messages are one if their bytes agree, as in the released code of ONI, or with `simplify` if their simplified
    texts do, which changes what the episodic counts count. Memory grows with distinct messages only (about 0.3 kB
    each). Beyond `maximum` of them an unseen message gets id 0, so it is neither annotated nor paid, and is counted
    in `refused`; known messages go on as before.

    Args:
        simplify: Take messages for one that differ in bracketed choices or numbers only.
        maximum: Most distinct messages to keep, the empty one included.

    Attributes:
        texts: Text of each id, simplified if so asked.
        raw: Bytes of each id as first seen, without the zeros at the end.
        refused: Steps whose message found no room.
    """

    def __init__(self, *, simplify: bool = False, maximum: int = 1_000_000) -> None:
        self.simplify = bool(simplify)
        self.maximum = int(check_scalar("maximum", maximum, low=1, whole=True))
        self._clear()

    def __len__(self) -> int:
        return len(self.texts)

    def ids(self, messages: UInt8[np.ndarray, "n 256"]) -> Int[np.ndarray, " n"]:
        """Id of each message, int64; unseen ones get a new id.

        Raises:
            TypeError: If they are no bytes.
            ValueError: If the shape is not `(n, 256)`.
        """
        return np.array(self.lookup(messages), dtype=np.int64)

    def lookup(self, messages: UInt8[np.ndarray, "n 256"]) -> list[int]:
        """The same ids as a list, for callers that go on in Python; about 0.2 microseconds a message."""
        if not isinstance(messages, np.ndarray) or messages.dtype != np.uint8:
            came = messages.dtype if isinstance(messages, np.ndarray) else type(messages).__name__
            raise TypeError(f"messages: expected a NumPy array of uint8, got {came}")
        if messages.ndim != 2 or messages.shape[1] != MESSAGE_BYTES:
            raise ValueError(f"messages has shape {messages.shape}, expected (n, {MESSAGE_BYTES})")
        if messages.strides[1] != 1:
            messages = np.ascontiguousarray(messages)
        keys = messages.view(_AS_ONE)[:, 0].tolist()
        ids = list(map(self._id_of.get, keys))
        if None in ids:
            ids = list(map(self._id_of_unseen, keys))
        return ids

    def state_dict(self) -> dict[str, Any]:
        """Messages in the order of their ids."""
        raw = [key.decode("latin-1") for key in self.raw]
        return {"raw": raw, "simplify": self.simplify, "refused": self.refused}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give every message the id it had.

        Raises:
            ValueError: If the state is of a table that simplifies and this one does not, or the other way round.
        """
        if state["simplify"] != self.simplify:
            raise ValueError(f"state has simplify {state['simplify']}, expected {self.simplify} as this table")
        self._clear()
        for key in state["raw"][1:]:
            self._add(key.encode("latin-1"))
        self.refused = int(state["refused"])

    def _clear(self) -> None:
        self.texts: list[str] = [""]
        self.raw: list[bytes] = [b""]
        self.refused = 0
        self._id_of: dict[bytes, int] = {b"": EMPTY}
        self._id_of_text: dict[str, int] = {"": EMPTY}  # with `simplify` only; `_id_of` is its cache then

    def _id_of_unseen(self, key: bytes) -> int:
        if (id_ := self._id_of.get(key)) is not None:
            return id_
        if not self.simplify:
            return self._add(key)
        id_ = self._id_of_text.get(simplified(decode_message(key)))
        if id_ is None:
            return self._add(key)
        self._remember(key, id_)
        return id_

    def _add(self, key: bytes) -> int:
        text = decode_message(key)
        text = simplified(text) if self.simplify else text
        if len(self.texts) >= self.maximum:
            self.refused += 1
            return EMPTY
        id_ = len(self.texts)
        self.texts.append(text)
        self.raw.append(key)
        self._remember(key, id_)
        if self.simplify:
            self._id_of_text[text] = id_
        return id_

    def _remember(self, key: bytes, id_: int) -> None:
        if self.simplify and len(self._id_of) >= _CACHED:  # endless bytes for few texts
            self._id_of = {b"": EMPTY}
        self._id_of[key] = id_
