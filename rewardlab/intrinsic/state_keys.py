"""What is counted of states: their keys, the checks of what comes in, and keys as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rewardlab.intrinsic.interface import Arrivals, Starts

__all__ = [
    "action_bytes",
    "arrival_keys",
    "check_environments",
    "check_pending",
    "check_rows",
    "check_state",
    "pack_keys",
    "start_keys",
    "unpack_keys",
]


def pack_keys(keys: Iterable[bytes]) -> dict[str, np.ndarray]:
    """Keys as two arrays: all bytes in a row, and the length of each."""
    keys = list(keys)
    return {
        "keys": np.frombuffer(b"".join(keys), np.uint8).copy(),
        "lengths": np.fromiter(map(len, keys), np.int64, len(keys)),
    }


def unpack_keys(state: Mapping[str, np.ndarray]) -> list[bytes]:
    """The keys that `pack_keys` was given."""
    joined, ends = np.asarray(state["keys"], np.uint8).tobytes(), np.cumsum(np.asarray(state["lengths"])).tolist()
    return [joined[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def start_keys(starts: Starts, key: str) -> Sequence[bytes]:
    """What is counted of the first states of episodes."""
    if key == "messages":
        return _message_bytes("starts", starts.messages)
    return _given("starts", starts.keys, len(starts.environments))


def arrival_keys(arrivals: Arrivals, key: str) -> Sequence[bytes]:
    """What is counted of the states arrived at."""
    if key == "messages":
        return _message_bytes("arrivals", arrivals.messages)
    if key == "observations":
        if arrivals.next_observations is None:
            raise ValueError("arrivals.next_observations is None, expected observations: they are what is counted")
        return [row.tobytes() for row in np.ascontiguousarray(arrivals.next_observations)]
    return _given("arrivals", arrivals.keys, len(arrivals.valid))


def check_environments(starts: Starts, environments: int) -> None:
    """Do nothing if every environment named exists.

    Raises:
        ValueError: Names the first that does not.
    """
    wrong = [place for place in starts.environments.tolist() if not 0 <= place < environments]
    if wrong:
        raise ValueError(f"starts.environments holds {wrong[0]}, expected 0 to {environments - 1}")


def check_rows(arrivals: Arrivals, environments: int) -> list[bool]:
    """`arrivals.valid` as a list, one a environment.

    Raises:
        ValueError: If arrivals are of another number of environments.
    """
    if len(arrivals.valid) != environments:
        raise ValueError(f"arrivals are of {len(arrivals.valid)} environments, expected {environments}")
    return arrivals.valid.tolist()


def check_state(state: Mapping[str, Any], **expected: object) -> None:
    """Do nothing if the state was made with these settings.

    Raises:
        ValueError: Names the first that differs.
    """
    for name, value in expected.items():
        if state[name] != value:
            raise ValueError(f"the state has {name} {state[name]!r}, this reward {value!r}")


def check_pending(pending: np.ndarray, environments: int) -> list[np.ndarray]:
    """Steps of a state, row by row.

    Raises:
        ValueError: If they are of another number of environments.
    """
    pending = np.asarray(pending)
    if pending.ndim < 2 or pending.shape[1] != environments:
        raise ValueError(f"the state is of {pending.shape[1:][:1]} environments, expected ({environments},)")
    return list(pending)


def _given(name: str, keys: Sequence[bytes] | None, count: int) -> Sequence[bytes]:
    if keys is None:
        raise ValueError(f"{name}.keys is None, expected a key of each state: they are what is counted")
    if len(keys) != count:
        raise ValueError(f"{name}.keys has {len(keys)} keys, expected {count}")
    return keys


def _message_bytes(name: str, messages: np.ndarray | None) -> list[bytes]:
    if messages is None:
        raise ValueError(f"{name}.messages is None, expected messages: they are what is counted")
    return [row.tobytes() for row in np.ascontiguousarray(messages)]


def action_bytes(arrivals: Arrivals) -> list[bytes]:
    """The action of each environment as bytes, all of one length."""
    if arrivals.actions is None:
        raise ValueError("arrivals.actions is None, expected actions: pairs with them are what is counted")
    actions = np.ascontiguousarray(arrivals.actions)
    if len(actions) != len(arrivals.valid):
        raise ValueError(f"arrivals.actions has {len(actions)} rows, expected {len(arrivals.valid)}")
    return [row.tobytes() for row in actions]
