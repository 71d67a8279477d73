"""The arms of the sampled-BARFI figure, trained on the grid with good and with bad advice, and its results as rows."""

import numpy as np
import pandas as pd

from environments.guided.exact_grid import guided_grid
from rewardlab.shaping.tabular.barfi import Arm, BlendRuns, tabular_barfi

UPDATES, EVERY, DRAWN = 200, 2, 4  # updates; from one exact evaluation to the next; to the next that is drawn
SOLVED, STUCK = 0.8, 0.5  # primary return that counts as learned, and as not learned

BLENDS = {
    f"{curvature} {weight:g} {step:g}": Arm("blend", start_weight=weight, blend_step=step, curvature=curvature)
    for curvature in ("first_order", "fisher")
    for weight in (0.0, 1.0)
    for step in (0.05, 0.2)
}
HASTY = {"learning_rate": 2.0, "entropy": 0.002}
FAILING = {"start_weight": 1.0, "blend_step": 0.05}
ARMS = {
    "primary": Arm("primary"),
    "naive": Arm("naive"),
    "potential": Arm("potential"),
    "kept": Arm("potential_kept"),
    "published": Arm("action_potential"),
    "primary bare": Arm("primary", baseline=False),
    "potential bare": Arm("potential", baseline=False),
    **BLENDS,
    "hasty primary": Arm("primary", **HASTY),
    "hasty naive": Arm("naive", **HASTY),
    "hasty first_order": Arm("blend", **HASTY, **FAILING),
    "hasty fisher": Arm("blend", **HASTY, **FAILING, curvature="fisher"),
}
BARFI, STARTED = "first_order 0 0.2", "first_order 1 0.05"  # the headline, and the one that starts on the heuristic
CURVES = ("primary", "naive", "potential", "published", BARFI, STARTED, "hasty primary", "hasty first_order")
NOISY = (STARTED, "fisher 1 0.05", "primary bare", "potential bare")  # which differ from seed to seed: more seeds
TIMES = 4  # as many seeds
ADVICE = ("good", "bad")


def train_all(seeds: int, rng: int) -> pd.DataFrame:
    """As `train`, of all arms, and with further seeds of those that need them."""
    first, second = np.random.SeedSequence(rng).spawn(2)
    more = train({arm: ARMS[arm] for arm in NOISY}, (TIMES - 1) * seeds, np.random.default_rng(second))
    return pd.concat([train(ARMS, seeds, np.random.default_rng(first)), more.assign(seed=more.seed + seeds)])


def train(arms: dict[str, Arm], seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows by part: `run` (one a trained policy), and by update `return`, `weight` and `size` (of hyper-gradients)."""
    world, count = guided_grid(), len(arms)
    auxiliary = np.repeat([getattr(world, advice) for advice in ADVICE], count, axis=0)
    found = tabular_barfi(
        world.mdp,
        world.primary,
        auxiliary,
        list(arms.values()) * len(ADVICE),
        potential=auxiliary[:, 0, 0],  # both heuristics depend on the next state alone
        seeds=seeds,
        updates=UPDATES,
        evaluate_every=EVERY,
        rng=rng,
    )
    names = pd.DataFrame([(advice, arm) for advice in ADVICE for arm in arms], columns=["advice", "arm"])
    return pd.concat([_runs(found, names), *_by_update(found, names)], ignore_index=True)


def _runs(found: BlendRuns, names: pd.DataFrame) -> pd.DataFrame:
    solved = found.primary_return >= SOLVED
    columns = {
        "value": found.primary_return[..., -1],
        "solved": np.where(solved.any(-1), found.evaluated[solved.argmax(-1)], UPDATES),
        "weight": found.weight[..., -1],
        "cosine": _mean(found.cosine),
    }
    return _rows("run", columns, names)


def _by_update(found: BlendRuns, names: pd.DataFrame) -> list[pd.DataFrame]:
    drawn = np.arange(0, UPDATES + 1, DRAWN)
    curves = names.arm.isin(CURVES).to_numpy()
    blends = names.arm.isin([arm for arm in ARMS if ARMS[arm].method == "blend"]).to_numpy()
    bins = np.abs(found.hypergradient[blends]).reshape(blends.sum(), -1, UPDATES // 10, 10)
    at = np.isin(found.evaluated, drawn)
    return [
        _series("return", found.primary_return[curves][..., at], names[curves], drawn),
        _series("weight", found.weight[blends][..., drawn], names[blends], drawn),
        _series("size", _mean(bins), names[blends], np.arange(5, UPDATES, 10)),
    ]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what there is; NaN where there is nothing."""
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(axis=-1)
    return np.divide(total, there.sum(axis=-1), out=np.full(total.shape, np.nan), where=there.any(axis=-1))


def _series(part: str, values: np.ndarray, names: pd.DataFrame, updates: np.ndarray) -> pd.DataFrame:
    frame = _rows(part, {"value": values}, names)
    return frame.assign(update=np.tile(updates, len(frame) // len(updates)))


def _rows(part: str, columns: dict[str, np.ndarray], names: pd.DataFrame) -> pd.DataFrame:
    """Columns of values (arms, seeds, ...), laid out flat, with the advice, the arm and the seed of each."""
    shape = next(iter(columns.values())).shape
    arm, seed = (np.indices(shape)[axis].ravel() for axis in (0, 1))
    labels = {"advice": names.advice.to_numpy()[arm], "arm": names.arm.to_numpy()[arm], "seed": seed}
    return pd.DataFrame({"part": part, **labels, **{name: values.ravel() for name, values in columns.items()}})


def part_of(frame: pd.DataFrame, part: str, **where) -> pd.DataFrame:
    """The rows of a part, and of it those with these entries, by seed."""
    found = frame[frame.part == part]
    for column, value in where.items():
        found = found[found[column] == value]
    return found.sort_values("seed", kind="stable")
