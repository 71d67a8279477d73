"""An annotator beside training, in the same process and on the clock of the environment: exact and repeatable."""

import math
from collections import deque
from collections.abc import Mapping, Sequence

from rewardlab.checks import as_generator, check_scalar
from rewardlab.intrinsic.annotation.annotators import annotate_items
from rewardlab.intrinsic.annotation.order import AnnotationQueue, check_item
from rewardlab.intrinsic.interface import Annotator, Item

__all__ = ["DelayedAnnotator"]


class DelayedAnnotator:
    """A source of labels with a budget and a delay, both counted in ticks of environment steps.

    At each tick the annotator labels up to `labels_per_tick` of the items that wait; what it does not use is lost, as
    with a server that stood idle. The labels arrive `delay_ticks` later. Ticks pass when `collect` is called.

    Args:
        annotator: Who labels.
        labels_per_tick: Labels a tick; fractions add up (0.5 is one label every second tick).
        delay_ticks: Ticks between the labelling and the arrival of a label.
        tick_steps: Environment steps of a tick.
        order, capacity, duplicates: Of the queue, see `AnnotationQueue`. Without duplicates an item that was labelled
            but has not arrived is not asked about again.
        goal: Goal given to the annotator.
        seed: Seed of the order "random" and of the annotator's generator.

    Examples:
        >>> from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
        >>> source = DelayedAnnotator(OracleAnnotator(), labels_per_tick=1)
        >>> source.submit(["You see here a dart.", "You kill the newt!"])
        >>> source.collect(step=999), source.collect(step=1000), source.collect(step=2000)
        ([], [('You kill the newt!', 1)], [('You see here a dart.', 0)])
    """

    def __init__(
        self,
        annotator: Annotator,
        *,
        labels_per_tick: float,
        delay_ticks: int = 0,
        tick_steps: int = 1000,
        order: str = "lifo",
        capacity: int = 10_000_000,
        duplicates: bool = False,
        goal: str = "",
        seed: int = 0,
    ):
        if isinstance(annotator, type):
            name = annotator.__name__
            raise TypeError(f"annotator: expected an annotator, got the class {name}; make one: {name}(...)")
        self.annotator, self.goal = annotator, goal
        self.labels_per_tick = check_scalar("labels_per_tick", labels_per_tick, low=0, open_low=True)
        self.delay_ticks = check_scalar("delay_ticks", delay_ticks, low=0, whole=True)
        self.tick_steps = check_scalar("tick_steps", tick_steps, low=1, whole=True)
        order_rng, self._rng = as_generator(seed).spawn(2)
        self.queue = AnnotationQueue(order, capacity, duplicates, order_rng)
        self._delayed: deque[tuple[int, Item, int]] = deque()  # tick of arrival, item, label; oldest first
        self._on_the_way: set[Item] = set()
        self._tick = 0
        self._counts = {"submitted": 0, "dropped": 0, "annotated": 0, "delivered": 0}

    @property
    def waiting(self) -> int:
        """Items that were asked about and have not arrived: in the queue, or labelled and delayed."""
        return len(self.queue) + len(self._delayed)

    def submit(self, items: Sequence[Item]) -> None:
        """Ask about items; what does not fit into the queue is dropped and counted."""
        items = [check_item(f"items[{place}]", item) for place, item in enumerate(items)]
        self._counts["submitted"] += len(items)
        if not self.queue.duplicates:
            items = [item for item in items if item not in self._on_the_way]
        self._counts["dropped"] += self.queue.push(items)

    def collect(self, step: int) -> list[tuple[Item, int]]:
        """The labels that have arrived by environment step `step`, each delivered once.

        Raises:
            ValueError: If `step` lies before the tick of an earlier call.
        """
        tick = check_scalar("step", step, low=0, whole=True) // self.tick_steps
        if tick < self._tick:
            raise ValueError(f"step is {step}, expected at least {self._tick * self.tick_steps}: time runs forwards")
        budget = math.floor(self.labels_per_tick * tick) - math.floor(self.labels_per_tick * self._tick)
        self._tick = tick
        items = self.queue.pop(budget)
        if items:
            try:
                labels = annotate_items(self.annotator, items, self.goal, self._rng)
            except BaseException:
                self.queue.put_back(items)
                raise
            self._counts["annotated"] += len(items)
            arrival = tick + self.delay_ticks
            self._delayed.extend((arrival, item, label) for item, label in zip(items, labels, strict=True))
            self._on_the_way.update(items)
        arrived = []
        while self._delayed and self._delayed[0][0] <= tick:
            _, item, label = self._delayed.popleft()
            self._on_the_way.discard(item)
            arrived.append((item, label))
        self._counts["delivered"] += len(arrived)
        return arrived

    def statistics(self) -> dict[str, float]:
        """Counts so far (submitted, dropped, annotated, delivered) and how many wait."""
        return {**{name: float(count) for name, count in self._counts.items()}, "waiting": float(self.waiting)}

    def state_dict(self) -> dict:
        """All that is needed to go on: what waits, what is delayed, the clock, the counts and the generator."""
        return {
            "queue": self.queue.state_dict(),
            "delayed": [
                [arrival, item if isinstance(item, str) else list(item), label]
                for arrival, item, label in self._delayed
            ],
            "tick": self._tick,
            "counts": dict(self._counts),
            "rng": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If the state's queue has another order, or duplicates where this one has none.
        """
        self.queue.load_state_dict(state["queue"])
        self._delayed = deque(
            (arrival, check_item("delayed", item), label) for arrival, item, label in state["delayed"]
        )
        self._on_the_way = {item for _, item, _ in self._delayed}
        self._tick = state["tick"]
        self._counts = dict(state["counts"])
        self._rng.bit_generator.state = state["rng"]

    def close(self) -> None:
        """Nothing to let go of."""
