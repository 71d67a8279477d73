"""Messages as a game gives them."""

import numpy as np

from rewardlab.intrinsic.message_text import MESSAGE_BYTES

__all__ = ["rows"]


def rows(*messages: bytes) -> np.ndarray:
    """`(n, 256)` uint8, zero-padded."""
    padded = [list(message.ljust(MESSAGE_BYTES, b"\x00")) for message in messages]
    return np.array(padded, dtype=np.uint8).reshape(-1, MESSAGE_BYTES)
