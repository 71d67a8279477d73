"""LIRPG and BiPaRS on the 5 x 5 grid with one weight of the advice, trained from samples, and their results as rows."""

from itertools import product

import gymnasium
import numpy as np
import pandas as pd
import torch

import environments.guided  # noqa: F401 - registers the grid
from environments.guided.exact_grid import guided_grid
from paper_figures.figure import Scale
from rewardlab.exact.evaluation import policy_return
from rewardlab.shaping.sampled import BlendNetwork, OneHot, OneStep, OneStepSettings, SoftmaxPolicy, ToldWeights
from rewardlab.shaping.tabular.barfi import Arm, tabular_barfi

__all__ = ["ADVICE", "METHODS", "ONE_STEP", "STARTS", "part_of", "run_all"]

ADVICE = ("good", "bad")
STARTS = (0.0, 1.0)
ONE_STEP = ("lirpg", "meta_gradient", "carried", "explicit_mapping")
BARFI = ("first_order", "fisher")  # of the tabular learner: its own critic, the same rate, episodes and size of steps
METHODS = (*ONE_STEP, *BARFI)
EPISODES = 16  # of an update
BLEND_RATE = 0.02
RATE = 0.5 * 51  # sums over the steps of an episode are divided by the horizon plus 1


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows by `part`: `run` (one a trained policy; value is its exact primary return) and `weight` (by update)."""
    seeds, updates = scale.pick(smoke=(2, 5), small=(4, 40), paper=(20, 100))
    jobs = [("fixed", "primary", "good", 0.0), *[("fixed", "sum", advice, 1.0) for advice in ADVICE]]
    jobs += [("scalar", *job) for job in product(ONE_STEP, ADVICE, STARTS)]
    jobs += [("linear", "meta_gradient", advice, 0.0) for advice in ADVICE]
    jobs = [(*job, seed) for job in jobs for seed in range(seeds)]
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_run)(*job, updates, rng) for job in jobs)
    else:
        tables = [_run(*job, updates, rng) for job in jobs]
    return pd.concat([*tables, _barfi(seeds, updates, rng)], ignore_index=True)


def part_of(frame: pd.DataFrame, part: str, **where) -> pd.DataFrame:
    """Rows of a part, and of the given values of its columns."""
    found = frame[frame.part == part]
    for column, value in where.items():
        found = found[found[column] == value]
    return found


def _run(kind: str, method: str, advice: str, start: float, seed: int, updates: int, rng: int) -> pd.DataFrame:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer, weights = _trained(kind, method, advice, start, seed, updates, rng)
    finally:
        torch.set_num_threads(threads)
    where = {"kind": kind, "method": method, "advice": advice, "start": start, "seed": seed}
    found = trainer.history.updates
    run = {
        "value": _exact_return(trainer.policy),
        "weight": weights[-1],
        "cosine": _mean(found["cosine"]),
        "aligned": _mean([value > 0 for value in found["alignment"] if np.isfinite(value)]),
    }
    rows = [{"part": "weight", "update": update, "value": value, **where} for update, value in enumerate(weights)]
    return pd.DataFrame([{"part": "run", **run, **where}, *rows])


def _trained(kind, method, advice, start, seed, updates, rng) -> tuple[OneStep, list[float]]:
    first = int(np.random.SeedSequence([rng, seed]).generate_state(1)[0])
    grid = gymnasium.make("rewardlab/GuidedGrid-v0", auxiliary=(advice,), disable_env_checker=True)
    features, shape = OneHot(25), "linear" if kind == "linear" else "scalar"
    blend = BlendNetwork(shape, features.size, learn_bonus=False, start=start)
    told = ToldWeights(features, blend) if method == "explicit_mapping" else features
    settings = OneStepSettings(
        method=method if method in ONE_STEP else "lirpg",
        policy_optimiser="sgd",
        policy_learning_rate=RATE,
        blend_learning_rate=0.0 if kind == "fixed" else BLEND_RATE,
        update_every=EPISODES,
    )
    trainer = OneStep(grid, SoftmaxPolicy(told, 4, rng=first), blend, settings, auxiliary=(advice,), rng=first)
    weights = []
    for update in range(1, updates + 1):
        weights.append(_mean_weight(blend))
        trainer.train(update * EPISODES, progress=False)
    return trainer, [*weights, _mean_weight(blend)]


def _mean_weight(blend: BlendNetwork) -> float:
    with torch.no_grad():
        return float(blend.weights(torch.eye(25, dtype=torch.float64)).mean())


def _exact_return(policy: SoftmaxPolicy) -> float:
    world = guided_grid()
    with torch.no_grad():
        logits = policy.net(policy.features(torch.arange(25, dtype=torch.float64)[:, None]))
    return float(policy_return(world.mdp, world.primary, torch.softmax(logits, -1).numpy()))


def _barfi(seeds: int, updates: int, rng: int) -> pd.DataFrame:
    """The implicit forms, by the tabular learner: all seeds and starts at once."""
    world, rows = guided_grid(), []
    arms = {(kind, start): Arm("blend", start_weight=start, curvature=kind) for kind, start in product(BARFI, STARTS)}
    for advice in ADVICE:
        found = tabular_barfi(
            world.mdp,
            world.primary,
            np.repeat([getattr(world, advice)], len(arms), axis=0),
            list(arms.values()),
            seeds=seeds,
            updates=updates,
            evaluate_every=updates,
            rng=np.random.default_rng([rng, 1]),
        )
        for (place, (kind, start)), seed in product(enumerate(arms), range(seeds)):
            where = {"kind": "tabular", "method": kind, "advice": advice, "start": start, "seed": seed}
            weights = found.weight[place, seed]
            run = {
                "value": found.primary_return[place, seed, -1],
                "weight": weights[-1],
                "cosine": np.nan,
                "aligned": np.nan,
            }
            rows.append({"part": "run", **run, **where})
            rows += [{"part": "weight", "update": u, "value": value, **where} for u, value in enumerate(weights)]
    return pd.DataFrame(rows)


def _mean(values) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else np.nan
