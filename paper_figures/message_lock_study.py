"""Every reward tried on the talking lock: messages annotated well, badly, late and in another order; rooms counted.

The earlier numbers come with a description that leaves some things open. Read here so: entering the last of 16 rooms
wins (15 right actions); where messages are paid, each transition is learned at once with the labels known then, and
exploration falls from 1 to .05 over 200 episodes; where rooms are counted, exploration is .05 throughout and an episode
is learned at its end; equal values are chosen among at random. Where ties go to the first action instead, counts of
pairs win .31 and the product takes until episode 65, in 12 seeds: nearer to the earlier numbers.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from environments.message_lock.learning import LearnerSettings, first_window, learn_locks
from environments.message_lock.lock import MessageLock
from environments.message_lock.rewards import LockReward
from paper_figures.figure import Scale

__all__ = ["BONUSES", "MESSAGES", "NEVER", "ROWS", "Row", "run_all"]

NEVER = np.inf
WINDOW = 20  # episodes a point of a curve


@dataclass(frozen=True)
class Row:
    """A reward, and what an earlier calculation found with six seeds: success at the end, and first good window.

    NaN where it gives none; infinite where the window was never reached.
    """

    name: str
    reward: LockReward
    success: float = np.nan
    first: float = np.nan


def _heard(name: str, success: float = np.nan, first: float = np.nan, **options) -> Row:
    return Row(name, LockReward(**{"source": "retrieval", **options}), success, first)


def _counted(name: str, source: str, found: dict[float, tuple[float, float]], **options) -> list[Row]:
    return [
        Row(f"{name}, b = {b:g}", LockReward(source=source, coefficient=b, memory=False, **options), *values)
        for b, values in found.items()
    ]


MESSAGES = (
    _heard("reward at the end only", 0.00, NEVER, source="none"),
    *(_heard(f"every room paid, exponent {e:g}", 1.00, 50, source="oracle", exponent=e) for e in (0.5, 1.0, 2.0, 3.0)),
    _heard("every room paid, exponent 0", 1.00, 63, source="oracle", exponent=0.0),
    _heard("annotator right always", 1.00, 52),
    _heard("annotator 90% right", 1.00, 61, accuracy=0.9),
    _heard("annotator 80% right", 0.99, 87, accuracy=0.8),
    _heard("annotator 60% right", 0.16, NEVER, accuracy=0.6),
    _heard("annotator 50% right", 0.00, NEVER, accuracy=0.5),
    _heard("labels 20 episodes late", first=63, delay=20),
    _heard("labels 100 episodes late", first=265, delay=100),
    _heard("labels 400 episodes late", first=539, delay=400),
    _heard("1 label an episode, newest first", first=151, labels=1),
    _heard("1 label an episode, oldest first", first=207, labels=1, order="fifo"),
    _heard("90% right, exponent 1", 1.00, accuracy=0.9, exponent=1.0),
    _heard("90% right, exponent 0", 0.67, accuracy=0.9, exponent=0.0),
    _heard("80% right, exponent 1", 1.00, accuracy=0.8, exponent=1.0),
    _heard("80% right, exponent 0", 0.66, accuracy=0.8, exponent=0.0),
    _heard("room alone, exponent 3", 0.00, memory=False),
    _heard("room alone, exponent 0", 1.00, memory=False, exponent=0.0),
    _heard("room alone, every room paid, exponent 3", source="oracle", memory=False),
    _heard("room alone, every room paid, exponent 0", source="oracle", memory=False, exponent=0.0),
)
NO_BONUS = Row("no bonus", LockReward(source="none", memory=False), 0.00, NEVER)
BONUSES = (
    *_counted("1/sqrt N(s, a)", "state_actions", {0.1: (0.30, 769), 1.0: (0.24, 770), 5.0: (0.03, NEVER)}),
    *_counted("1/sqrt N(s')", "states", {0.1: (0.91, 543), 1.0: (0.91, 552), 5.0: (0.78, 638)}),
    *_counted("first visit", "first_visits", {0.1: (0.00, NEVER), 1.0: (0.00, NEVER), 5.0: (np.nan, np.nan)}),
    *_counted("product of both", "product", {0.1: (1.00, 77), 1.0: (1.00, 77), 5.0: (1.00, 77)}),
    *_counted("RND, rate .001", "novelty", {1.0: (0.07, NEVER)}),
    *_counted("RND, rate .01", "novelty", {1.0: (0.48, 708)}, learning_rate=1e-2),
    *_counted("RND, 4 steps, first visits", "novelty", {1.0: (0.93, 287)}, steps=4, gated=True),
)
ROWS = (*MESSAGES, NO_BONUS, *BONUSES)


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Everything measured, tidy: row, measure, seed, episode, value.

    Measures: "success" (share of the last quarter's episodes won, random actions included), "first" (first episode
    of the first 50 of which 40 are won, infinite if there are none), "curve" (share won, 20 episodes a point).
    """
    seeds = scale.pick(smoke=2, small=16, paper=64)
    episodes = scale.pick(smoke=120, small=800)
    learning = LearnerSettings(episodes=episodes)
    steady = LearnerSettings(episodes=episodes, exploration_episodes=0, update="episode")
    falling = LearnerSettings(episodes=episodes, update="episode")
    parts = ((MESSAGES, learning), ((NO_BONUS,), falling), (BONUSES, steady))
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_part)(rows, each, seeds, rng) for rows, each in parts)
    else:
        tables = [_part(rows, each, seeds, rng) for rows, each in parts]
    return pd.concat(tables, ignore_index=True)


def _part(rows: tuple[Row, ...], settings: LearnerSettings, seeds: int, rng: int) -> pd.DataFrame:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        won = learn_locks(MessageLock(), [row.reward for row in rows], settings, seeds=seeds, rng=rng)
    finally:
        torch.set_num_threads(threads)
    measured = {"success": won[..., -settings.episodes // 4 :].mean(-1), "first": first_window(won)}
    found = [
        {"row": row.name, "measure": name, "seed": seed, "episode": 0, "value": values[place, seed]}
        for name, values in measured.items()
        for place, row in enumerate(rows)
        for seed in range(seeds)
    ]
    points = won.reshape(len(rows), seeds, -1, WINDOW).mean(-1)
    found += [
        {"row": row.name, "measure": "curve", "seed": seed, "episode": point * WINDOW, "value": value}
        for place, row in enumerate(rows)
        for seed in range(seeds)
        for point, value in enumerate(points[place, seed])
    ]
    return pd.DataFrame(found)
