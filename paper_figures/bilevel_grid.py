"""Advice, good and bad, taken as it is, as a potential, or as far as it deserves: every agent solved exactly."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.guided.exact_grid import GuidedGrid, guided_grid
from paper_figures.bilevel_grid_panels import draw_arms, draw_landscape, draw_visits
from paper_figures.figure import Claim, Scale, Verdict
from rewardlab.exact import occupancy, policy_return, potential_shaping
from rewardlab.shaping.bilevel.blend_optimiser import BlendResult, optimise_blend
from rewardlab.shaping.bilevel.blends import per_state_blend, scalar_blend
from rewardlab.shaping.bilevel.hypergradient import solve_inner

TITLE = "Bi-level blends, solved exactly"

TEMPERATURE = 0.03
ADVICE = ("good", "bad")
PRIMARY, NAIVE, POTENTIAL, TRUST, BY_STATE, DISCOUNT = (
    "primary only",
    "naive sum",
    "as a potential",
    "learned trust",
    "learned trust, one weight a state",
    "learned trust and discount",
)
ARMS = (PRIMARY, NAIVE, POTENTIAL, TRUST, BY_STATE, DISCOUNT)
WORLDS = {"smoke": 4, "small": 40, "paper": 200}
CLOSE, FAILS, LEAST_SHARE = 0.01, 0.5, 0.9
EXPECTED = {  # from an independent calculation of the same grid
    ("good", PRIMARY): 0.8632, ("good", NAIVE): 0.9158, ("good", POTENTIAL): 0.8632,
    ("good", TRUST): 0.9156, ("good", BY_STATE): 0.9157,
    ("bad", PRIMARY): 0.8632, ("bad", NAIVE): -0.0987, ("bad", POTENTIAL): 0.8632,
    ("bad", TRUST): 0.8664, ("bad", BY_STATE): 0.8662,
}  # fmt: skip
_LIMITS = (
    "Agents are solved exactly at temperature 0.03 in a 5 x 5 grid (slip and trap of the random grids are drawn). "
    "What comes out with the trap in the middle was known before the thresholds were written. Nothing is sampled, so "
    "nothing is said about how fast anyone learns. The published curves are of sampled agents in other worlds."
)
_PAPER = "2310.19007"

CLAIMS = (
    Claim(
        id="keeps-good-rejects-bad",
        paper=_PAPER,
        title="A learned blend uses good advice and survives bad advice",
        says="The agent of the learned blend earns nearly what the better of the naive sum and the primary reward "
        "alone earns, under good advice and under bad advice.",
        threshold=f"within {CLOSE:g} of the better of the two in at least {LEAST_SHARE:.0%} of random grids, whether "
        "the advice is good or bad (refuted below half of them)",
        published="robust to misspecified auxiliary rewards (curves, no number read)",
        limits=_LIMITS,
    ),
    Claim(
        id="naive-sum-misaligns",
        paper=_PAPER,
        title="Adding bad advice to the reward ruins the agent",
        says="The agent of primary plus bad advice earns far less primary return than one without advice.",
        threshold=f"at least {FAILS:g} less in at least {LEAST_SHARE:.0%} of random grids (refuted below half of them)",
        published="plain addition can misalign (figure 1, no number)",
        limits=f"{_LIMITS} The trap is built to be worth more than the goal.",
    ),
    Claim(
        id="potentials-hurt",
        paper=_PAPER,
        title="Potential-based shaping often hurts",
        says="An agent that is shaped by the advice as a potential of the state does worse than one without advice.",
        threshold="primary return at least 0.001 lower in at least half of random grids, good and bad advice alike "
        "(refuted if it never differs by more than 1e-9)",
        published="often hurts performance (curves, no number read)",
        limits="For an agent that solves its task a potential of the state can neither help nor harm, exactly; what "
        "sampled agents suffer is another matter, and the published code shapes by a potential of the action. A "
        "theorem, known beforehand.",
    ),
    Claim(
        id="discount-repairs",
        paper=_PAPER,
        title="Learning the agent's discount as well repairs more",
        says="Under bad advice, the agent whose discount is learned together with the trust earns more than the one "
        "whose trust alone is learned.",
        threshold=f"at least {CLOSE:g} more on the grid with the trap in the middle, and not {CLOSE:g} less in "
        f"{LEAST_SHARE:.0%} of random grids (refuted if less on that grid)",
        published="also learns the discount (no number read)",
        limits=f"{_LIMITS} Most of the gain is the discount's own: with no advice at all, an agent at discount 0.9 "
        "earns 0.910 here, as a shorter horizon leaves less to the regulariser.",
    ),
    Claim(
        id="one-weight-suffices",
        paper=_PAPER,
        title="One weight is enough",
        says="A single learned weight does as well as one weight in every state.",
        threshold=f"within {CLOSE:g} in at least {LEAST_SHARE:.0%} of random grids for either advice (refuted if the "
        "weights by state earn that much more in at least half)",
        published="a reviewer's remark on a related method: a scalar may suffice",
        limits=_LIMITS,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows of four kinds: what each arm earns, the return over the weight, the ascent's path, and visits."""
    generator = np.random.default_rng(rng)
    count = WORLDS.get(scale.name, WORLDS["paper"])
    rows = []
    for world in range(count + 1):
        rows += _arms(_middle() if world == 0 else _drawn(generator), world)
    rows += _landscape(_middle()) + _visits(_middle())
    return pd.DataFrame(rows)


def _middle() -> GuidedGrid:
    return guided_grid()


def _drawn(rng: np.random.Generator) -> GuidedGrid:
    """A grid with another slip, and the trap in any cell but the first and the last."""
    row, column = divmod(int(rng.integers(1, 24)), 5)
    return guided_grid(slip=float(rng.uniform(0.0, 0.3)), trap=(row, column))


def _arms(world: GuidedGrid, index: int) -> list[dict]:
    rows = []
    for name in ADVICE:
        advice = getattr(world, name)
        fixed = {
            PRIMARY: world.primary,
            NAIVE: world.primary + advice,
            POTENTIAL: world.primary + potential_shaping(world.mdp, _potential(world, name)),
        }
        found = {arm: _earned(world, reward) for arm, reward in fixed.items()}
        found |= {arm: result.primary_return for arm, result in _learned(world, name).items()}
        rows += [{"kind": "arm", "world": index, "advice": name, "arm": arm, "earned": found[arm]} for arm in ARMS]
    return rows


def _potential(world: GuidedGrid, name: str) -> np.ndarray:
    """The advice about a cell, as a potential of it; 0 where the episode ends."""
    return np.where(world.mdp.terminal, 0.0, getattr(world, name)[0, 0])


def _learned(world: GuidedGrid, name: str) -> dict[str, BlendResult]:
    mdp, advice = world.mdp, getattr(world, name)
    one, many = scalar_blend(mdp, world.primary, advice), per_state_blend(mdp, world.primary, advice)
    return {
        TRUST: optimise_blend(mdp, one, world.primary, temperature=TEMPERATURE),
        BY_STATE: optimise_blend(mdp, many, world.primary, temperature=TEMPERATURE),
        DISCOUNT: optimise_blend(mdp, one, world.primary, temperature=TEMPERATURE, learn_discount=True),
    }


def _earned(world: GuidedGrid, reward: np.ndarray, temperature: float = TEMPERATURE) -> float:
    policy = solve_inner(world.mdp, reward, temperature).policy
    return float(policy_return(world.mdp, world.primary, policy))


def _landscape(world: GuidedGrid) -> list[dict]:
    """The primary return over the weight at each temperature of the ascent, and the points that it went through."""
    rows = []
    for name in ADVICE:
        advice = getattr(world, name)
        path = _learned(world, name)[TRUST].path
        places = zip(path.temperature, path.weights[:, 0], path.primary_return, strict=True)
        rows += [
            {"kind": "path", "advice": name, "step": step, "temperature": t, "weight": w, "earned": earned}
            for step, (t, w, earned) in enumerate(places)
        ]
        weights = np.linspace(-4.5, 2, 131)
        for temperature in np.unique(path.temperature):
            rewards = world.mdp.state_action_reward(world.primary + weights[:, None, None, None] * advice)
            policy = solve_inner(world.mdp, rewards[..., None] + np.zeros(25), temperature).policy
            earned = policy_return(world.mdp, world.primary, policy)
            rows += [
                {"kind": "landscape", "advice": name, "temperature": temperature, "weight": w, "earned": value}
                for w, value in zip(weights, earned, strict=True)
            ]
    return rows


def _visits(world: GuidedGrid) -> list[dict]:
    """How many steps each agent spends in each cell, under bad advice."""
    policies = {
        NAIVE: solve_inner(world.mdp, world.primary + world.bad, TEMPERATURE).policy,
        TRUST: _learned(world, "bad")[TRUST].inner.policy,
    }
    rows = []
    for arm, policy in policies.items():
        visits = world.grid.draw(occupancy(world.mdp, policy).sum(-1))
        rows += [
            {"kind": "visits", "arm": arm, "row": row, "column": column, "visits": visits[row, column]}
            for row, column in np.ndindex(visits.shape)
        ]
    return rows


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 8.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.02))
    draw_arms(above.subplots(1, 2, sharey=True), frame[frame.kind == "arm"], ARMS, EXPECTED)
    axes = below.subplots(1, 4, width_ratios=(1.6, 1.6, 1, 1))
    for name, place in zip(ADVICE, axes[:2], strict=True):
        draw_landscape(place, frame[frame.advice == name], name)
    draw_visits(axes[2:], frame[frame.kind == "visits"], (NAIVE, TRUST))
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """What each arm earns with the trap in the middle, beside an independent calculation, and in random grids."""
    arms = frame[frame.kind == "arm"]
    ours = arms[arms.world == 0].set_index(["advice", "arm"]).earned
    drawn = arms[arms.world > 0].groupby(["advice", "arm"], sort=False).earned
    expected = pd.Series(EXPECTED).reindex(ours.index)
    return pd.DataFrame(
        {"ours": ours, "expected": expected, "random grids, mean": drawn.mean(), "lowest": drawn.min()}
    ).reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    arms = frame[frame.kind == "arm"]
    by_world = arms[arms.world > 0].pivot(index="world", columns=["advice", "arm"], values="earned")
    grid = arms[arms.world == 0].set_index(["advice", "arm"]).earned
    good, bad = by_world["good"], by_world["bad"]
    close = np.logical_and.reduce([part[TRUST] >= part[[NAIVE, PRIMARY]].max(axis=1) - CLOSE for part in (good, bad)])
    potential = max(float((part[POTENTIAL] - part[PRIMARY]).abs().max()) for part in (good, bad))
    hurt = np.logical_and.reduce([part[PRIMARY] - part[POTENTIAL] >= 1e-3 for part in (good, bad)]).mean()
    gain = float(grid["bad", DISCOUNT] - grid["bad", TRUST])
    kept = float((bad[DISCOUNT] >= bad[TRUST] - CLOSE).mean())
    alike = np.logical_and.reduce([(part[TRUST] - part[BY_STATE]).abs() <= CLOSE for part in (good, bad)])
    better_by_state = np.logical_or.reduce([part[BY_STATE] - part[TRUST] > CLOSE for part in (good, bad)])
    return {
        "keeps-good-rejects-bad": _by_share(
            close.mean(),
            "grids within 0.01 of the better of naive and primary",
            "A learned weight is positive for good advice and negative for bad",
        ),
        "naive-sum-misaligns": _by_share(
            float((bad[PRIMARY] - bad[NAIVE] >= FAILS).mean()),
            "grids in which bad advice costs at least 0.5",
            f"With the trap in the middle the sum earns {grid['bad', NAIVE]:.3f}, no advice {grid['bad', PRIMARY]:.3f}",
        ),
        "potentials-hurt": Verdict(
            "refuted" if potential < 1e-9 else "supported" if hurt >= 0.5 else "undecided",
            f"largest difference {potential:.1e}",
            potential,
            None,
            "An agent that solves its task is not moved by a potential of the state.",
        ),
        "discount-repairs": Verdict(
            "refuted" if gain < 0 else "supported" if gain >= CLOSE and kept >= LEAST_SHARE else "undecided",
            f"{gain:+.3f} primary return with the trap in the middle; not worse in {kept:.0%} of random ones",
            gain,
            None,
            f"Trust and discount together earn {grid['bad', DISCOUNT]:.3f}, trust alone {grid['bad', TRUST]:.3f}.",
        ),
        "one-weight-suffices": Verdict(
            "refuted" if better_by_state.mean() >= 0.5 else "supported" if alike.mean() >= LEAST_SHARE else "undecided",
            f"within {CLOSE:g} in {alike.mean():.0%} of grids",
            float(alike.mean()),
            None,
            "A weight in every state gains next to nothing over a single one.",
        ),
    }


def _by_share(share: float, what: str, sentence: str) -> Verdict:
    outcome = "supported" if share >= LEAST_SHARE else "refuted" if share < 0.5 else "undecided"
    return Verdict(outcome, f"{share:.0%} of {what}", float(share), None, f"{sentence}.")
