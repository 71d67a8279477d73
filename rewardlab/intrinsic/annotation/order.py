"""What waits for a label, and in which order it is taken."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rewardlab.checks import as_generator, check_choice, check_scalar
from rewardlab.intrinsic.interface import Item

ORDERS = ("lifo", "fifo", "random")

__all__ = ["ORDERS", "AnnotationQueue", "check_item"]


def check_item(name: str, item: object) -> Item:
    """Return `item` if it is a message or a pair of messages; a list of two texts becomes a pair.

    Raises:
        TypeError: Says what came instead.
    """
    if isinstance(item, str):
        return item
    if isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item):
        return (item[0], item[1])
    raise TypeError(f"{name}: expected a message or a pair of messages, got {item!r:.80}")


class AnnotationQueue:
    """Messages, or pairs of messages, that wait for a label.

    Without duplicates an item waits once, however often it is asked for; asked for again, it counts as new under
    "lifo" (it moves to the top, where a stack with duplicates would have it) and keeps its place otherwise.

    Args:
        order: "lifo": the newest first, as in the published code; "fifo": the oldest first; "random": any, uniformly.
        capacity: How many items may wait. When more come, "lifo" forgets the oldest (they would be taken last) and the
            other orders refuse the newcomers.
        duplicates: Whether one item may wait several times, as in the published code, where a message can therefore be
            labelled twice.
        rng: Seed or generator of the order "random".

    Source: the annotation queue of arXiv 2410.23022, which is a stack; the orders beside it and waiting once are ours.
    """

    def __init__(
        self,
        order: str = "lifo",
        capacity: int = 10_000_000,
        duplicates: bool = False,
        rng: int | np.random.Generator = 0,
    ):
        check_choice("order", order, ORDERS)
        self.order, self.duplicates = order, bool(duplicates)
        self.capacity = int(check_scalar("capacity", capacity, low=1, whole=True))
        self._rng = as_generator(rng)
        self._items: OrderedDict[object, Item] = (
            OrderedDict()
        )  # key -> item, oldest first; without duplicates key = item
        self._bag: list[Item] = []  # the order "random" draws from a list: its keys only say what waits
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._bag) if self.order == "random" else len(self._items)

    def push(self, items: Iterable[Item]) -> int:
        """Let items wait, the last one being the newest.

        Returns:
            How many were dropped for want of room, newcomers or older ones. An item that already waits is not dropped.
        """
        dropped = 0
        for item in items:
            if not self.duplicates and item in self._items:
                if self.order == "lifo":
                    self._items.move_to_end(item)
                continue
            if len(self) >= self.capacity:
                dropped += 1
                if self.order != "lifo":
                    continue
                self._items.popitem(last=False)
            self._append(item)
        return dropped

    def pop(self, count: int) -> list[Item]:
        """Take up to `count` items, in the order in which they are due."""
        check_scalar("count", count, low=0, whole=True)
        count = min(count, len(self))
        if self.order != "random":
            return [self._items.popitem(last=self.order == "lifo")[1] for _ in range(count)]
        taken = []
        for _ in range(count):
            place = int(self._rng.integers(len(self._bag)))
            self._bag[place], self._bag[-1] = self._bag[-1], self._bag[place]
            taken.append(self._bag.pop())
            self._items.pop(taken[-1], None)
        return taken

    def put_back(self, items: Sequence[Item]) -> None:
        """Undo a `pop`: the items are due next again, in the same order, whatever the capacity."""
        for item in reversed(items):
            if self.duplicates or item not in self._items:
                self._append(item)
                if self.order == "fifo":
                    self._items.move_to_end(next(reversed(self._items)), last=False)
            elif self.order != "random":
                self._items.move_to_end(item, last=self.order == "lifo")

    def state_dict(self) -> dict:
        """All that is needed to go on: the items, oldest first, and the generator."""
        items = self._bag if self.order == "random" else list(self._items.values())
        return {
            "order": self.order,
            "duplicates": self.duplicates,
            "items": [item if isinstance(item, str) else list(item) for item in items],
            "rng": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If the state is of another order, or of a queue with duplicates where this one has none.
        """
        for name in ("order", "duplicates"):
            if state[name] != getattr(self, name):
                raise ValueError(f"the state has {name} {state[name]!r}, this queue {getattr(self, name)!r}")
        items = [check_item(f"items[{place}]", item) for place, item in enumerate(state["items"])]
        self._items.clear()
        self._bag.clear()
        for item in items:
            self._append(item)
        self._rng.bit_generator.state = state["rng"]

    def _append(self, item: Item) -> None:
        self._pushed += 1
        if self.order == "random":
            self._bag.append(item)
            if not self.duplicates:
                self._items[item] = item
        else:
            self._items[self._pushed if self.duplicates else item] = item
