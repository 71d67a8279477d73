"""The filter on a torus small enough to know all laws: proposals, rewards by counting, and plans in each model."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from paper_figures.figure import Scale
from rewardlab.exact.evaluation import policy_return, uniform_policy
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.planning import optimal_policy

__all__ = ["CANDIDATES", "COUNTS", "PROPOSED", "TEMPERATURE", "TEMPERATURES", "World", "law_of", "run_all"]

SIDE, ACTIONS, SLIP, SEEN_COLUMNS, TRANSITIONS, CAP, DISCOUNT = 12, 4, 0.1, 5, 2000, 5.0, 0.95
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
OFFSETS = np.array([(row, column) for row in range(-2, 3) for column in range(-2, 3)])
INTENDED = np.array([int(np.flatnonzero((move == OFFSETS).all(1))[0]) for move in MOVES])
PROPOSED = len(OFFSETS)
CELLS = np.array([(row, column) for row in range(SIDE) for column in range(SIDE)])
CANDIDATES, TEMPERATURE = 10, 0.1
TEMPERATURES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
COUNTS = (1, 2, 5, 10, 20, 50, 100)


def true_law() -> np.ndarray:
    """Probability of each offset given the action, `(4, 25)`: the move, or with the slip one of the other three."""
    law = np.zeros((ACTIONS, PROPOSED))
    law[:, INTENDED] = SLIP / (ACTIONS - 1)
    law[np.arange(ACTIONS), INTENDED] = 1 - SLIP
    return law


@dataclass(frozen=True, eq=False)
class World:
    """Data of some columns, the model that knows nothing of the others, and two dynamics rewards by counting.

    Attributes:
        seen: `(144, 4)` pairs of state and action in the data.
        proposal: `(144, 4, 25)` the model's law of the offset: the data's frequencies, uniform where there are none.
        shared: `(144, 4, 25)` dynamics reward of a table over (action, offset): the same in every state.
        separate: `(144, 4, 25)` that of a table over (state, action, next state), which cannot generalise.
        frequencies: `(4, 25)` the data's law of the offset given the action.
    """

    seen: np.ndarray
    proposal: np.ndarray
    shared: np.ndarray
    separate: np.ndarray
    frequencies: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "World":
        """Draw data in which states and actions are uniform over the seen columns."""
        states = rng.integers(SIDE, size=TRANSITIONS) * SIDE + rng.integers(SEEN_COLUMNS, size=TRANSITIONS)
        actions = rng.integers(ACTIONS, size=TRANSITIONS)
        real = _counted(states, actions, _drawn(true_law()[actions], rng))
        seen = real.sum(-1) > 0
        proposal = np.full_like(real, 1 / PROPOSED)
        proposal[seen] = real[seen] / real[seen].sum(-1, keepdims=True)
        states, actions = rng.integers(SIDE * SIDE, size=TRANSITIONS), rng.integers(ACTIONS, size=TRANSITIONS)
        generated = _counted(states, actions, _drawn(proposal[states, actions], rng))
        shared = np.broadcast_to(_reward(real.sum(0), generated.sum(0)), real.shape)
        frequencies = real.sum(0) / real.sum((0, 2))[:, None]
        return cls(seen, proposal, shared, _reward(real, generated), frequencies)


def _drawn(law: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(len(law))[:, None] >= law.cumsum(1)[:, :-1]).sum(1)


def _counted(states: np.ndarray, actions: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    counts = np.zeros((SIDE * SIDE, ACTIONS, PROPOSED))
    np.add.at(counts, (states, actions, offsets), 1)
    return counts


def _reward(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Capped reward of the best table; 1/2 where neither the data nor the model were ever."""
    from rewardlab.dynamics.reward_formula import optimal_discriminator

    nowhere = (real + generated == 0).astype(float)
    probability = optimal_discriminator(real + nowhere, generated + nowhere)
    return np.minimum(-np.log1p(-np.minimum(probability, 1 - np.exp(-CAP))), CAP)


class _Proposals:
    """The model's candidates, for the library's filter: observations are states, an action a column."""

    output_size = 1

    def __init__(self, law: np.ndarray, count: int):
        import torch

        self.cumulative = torch.tensor(law.cumsum(-1)[..., :-1])
        self.candidate_count = count

    def candidates(self, observations, actions, noise):
        from rewardlab.dynamics.candidates import Candidates

        offsets = self._offsets(observations, actions, noise)
        return Candidates(offsets, offsets[..., 0] * 0)

    def one(self, observations, actions, noise, index):
        from rewardlab.dynamics.candidates import Prediction

        offsets = self._offsets(observations, actions, noise[:, None])[:, 0]
        return Prediction(offsets, offsets[..., 0] * 0)

    def _offsets(self, observations, actions, noise):
        """Offsets stand for next states: they are what the tables look up."""
        import torch

        law = self.cumulative[observations[:, 0].long(), actions[:, 0].long()]
        uniform = torch.special.ndtr(noise[..., 0]).contiguous()
        return torch.searchsorted(law, uniform, right=True).unsqueeze(-1).to(noise.dtype)


def law_of(
    world: World,
    table: np.ndarray | None,
    pairs: np.ndarray,
    draws: int,
    seed: int,
    *,
    rule: str = "softmax",
    **options,
) -> np.ndarray:
    """Frequencies of the offset that the library's filter takes, `(pairs, 25)`.

    Args:
        world: The proposals.
        table: Dynamics rewards `(144, 4, 25)`; None for the plain model.
        pairs: `(pairs, 2)` states and actions.
        draws: How often each is stepped.
        seed: Of the stream.
        rule: Rule of selection.
        options: `count` of candidates and `temperature`.
    """
    import torch

    from rewardlab.dynamics.draws import StepDraws
    from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel

    def never(observations, actions, following):
        return torch.zeros(len(observations), dtype=torch.bool)

    model = _Proposals(world.proposal, options.get("count", CANDIDATES))
    if table is None:
        stepped = PlainModel(model, termination=never)
    else:
        rewards = torch.tensor(np.array(table))

        def judged(observations, actions, following):
            looked_up = rewards[observations[:, 0].long(), actions[:, 0].long()]
            return looked_up.gather(1, following[..., 0].long())

        temperature = options.get("temperature", TEMPERATURE)
        stepped = FilteredModel(
            model, judged, termination=never, selection=rule, temperature=temperature, threshold=None
        )
    generator = torch.Generator().manual_seed(seed)
    found = np.zeros((len(pairs), PROPOSED))
    many = max(1, 200_000 // (len(pairs) * model.candidate_count))
    for first in range(0, draws, many):
        repeats = min(many, draws - first)
        rows = torch.tensor(np.tile(pairs, (repeats, 1)), dtype=torch.float64)
        drawn = StepDraws.sample(len(rows), 1, generator=generator, dtype=torch.float64)
        steps = torch.ones(len(rows), dtype=torch.long)
        taken = stepped.step(rows[:, :1], rows[:, 1:], steps, drawn).next_observations[:, 0].long().numpy()
        np.add.at(found, (np.tile(np.arange(len(pairs)), repeats), taken), 1)
    return found / found.sum(-1, keepdims=True)


def limit_law(proposal: np.ndarray, table: np.ndarray, temperature: float) -> np.ndarray:
    """Law of the softmax over ever more candidates: the proposal times exp(reward / temperature), normalised."""
    weight = proposal * np.exp((table - table.max(-1, keepdims=True)) / temperature)
    return weight / weight.sum(-1, keepdims=True)


def hits(law: np.ndarray, pairs: np.ndarray) -> float:
    """Probability of the intended cell, in the mean over the pairs."""
    return float(law[np.arange(len(pairs)), INTENDED[pairs[:, 1]]].mean())


def as_world(law: np.ndarray) -> FiniteMDP:
    """The torus with a law of offsets `(144, 4, 25)`."""
    following = (CELLS[:, None] + OFFSETS[None]) % SIDE @ np.array([SIDE, 1])
    transition = np.zeros((SIDE * SIDE, ACTIONS, SIDE * SIDE))
    state, action = np.arange(SIDE * SIDE)[:, None, None], np.arange(ACTIONS)[None, :, None]
    np.add.at(transition, (state, action, following[:, None, :]), law)
    return FiniteMDP(transition, DISCOUNT)


def planned(laws: dict[str, np.ndarray], goals: np.ndarray) -> dict[str, tuple[float, float]]:
    """For each model, the share of what planning can win that it loses, and by how much it promises too much.

    A goal pays 1 for every step begun in it. The policy is the best of the model, even between equals, and lives in the
    true torus. 0 is the true optimum, 1 as good as acting at random; the promise is in the same unit.
    """
    true = as_world(np.broadcast_to(true_law(), (SIDE * SIDE, ACTIONS, PROPOSED)))
    reward = np.zeros((len(goals), SIDE * SIDE, ACTIONS))
    reward[np.arange(len(goals)), goals] = 1
    best = optimal_policy(true, reward).expected_return
    room = best - policy_return(true, reward, uniform_policy(true))
    found = {}
    for name, law in laws.items():
        plan = optimal_policy(as_world(law), reward)
        policy = plan.optimal_actions / plan.optimal_actions.sum(-1, keepdims=True)
        reached = policy_return(true, reward, policy)
        found[name] = (float(((best - reached) / room).mean()), float(((plan.expected_return - reached) / room).mean()))
    return found


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a number: `part`, `name`, `x` (temperature or number of candidates), `value`, `seed`."""
    seeds = scale.pick(smoke=2, small=10)
    draws = scale.pick(smoke=10, small=60)
    goals = scale.pick(smoke=3, small=12)
    rows = []
    for seed, sequence in enumerate(np.random.SeedSequence(rng).spawn(seeds)):
        one = _one_seed(np.random.default_rng(sequence), draws, goals)
        rows += [{"seed": seed, **row} for row in one]
    return pd.DataFrame(rows)


def _one_seed(rng: np.random.Generator, draws: int, goals: int) -> list[dict]:
    world = World.sample(rng)
    unseen, known = np.argwhere(~world.seen), np.argwhere(world.seen)
    truth = true_law()[unseen[:, 1]]
    stream = lambda: int(rng.integers(2**31))  # noqa: E731
    rows, laws = [{"part": "unseen", "name": "pairs", "x": np.nan, "value": float((~world.seen).mean())}], {}

    def add(part: str, name: str, value: float, x: float = np.nan) -> None:
        rows.append({"part": part, "name": name, "x": x, "value": float(value)})

    ways = {"plain": (None, "uniform"), "softmax": (world.shared, "softmax"), "argmax": (world.shared, "argmax")}
    ways |= {"control softmax": (world.separate, "softmax"), "control argmax": (world.separate, "argmax")}
    for name, (table, rule) in ways.items():
        law = law_of(world, table, unseen, draws, stream(), rule=rule)
        add("hit", name, hits(law, unseen))
        if table is world.separate:
            continue
        law = _pooled(law, unseen)
        add("variation", name, _apart(law, truth))
        laws[name] = world.proposal.copy()
        laws[name][tuple(unseen.T)] = law
        if table is not None:
            laws[name][tuple(known.T)] = law_of(world, table, known, 5 * draws, stream(), rule=rule)
    laws["limit"] = limit_law(world.proposal, world.shared, TEMPERATURE)
    laws["control limit"] = limit_law(world.proposal, world.separate, TEMPERATURE)
    laws["counted"] = np.where(world.seen[..., None], world.proposal, world.frequencies)
    for name in ("limit", "control limit", "counted"):
        add("variation", name, _apart(laws[name][tuple(unseen.T)], truth))
    for name in ("plain", "softmax", "limit"):
        action = int(np.argmax(MOVES[:, 1] == 1))
        state = unseen[len(unseen) // 2, 0]
        for offset in range(PROPOSED):
            add("law", name, laws[name][state, action, offset], offset)
    for temperature in TEMPERATURES:
        law = law_of(world, world.shared, unseen, draws, stream(), temperature=temperature)
        add("temperature", "softmax", hits(law, unseen), temperature)
    for count in COUNTS:
        for rule in ("softmax", "argmax"):
            law = law_of(world, world.shared, unseen, draws, stream(), rule=rule, count=count)
            add("count", rule, hits(law, unseen), count)
    places = rng.choice(np.flatnonzero(CELLS[:, 1] >= SEEN_COLUMNS), size=goals, replace=False)
    for name, (lost, promise) in planned(laws, places).items():
        add("plan", name, lost)
        add("promise", name, promise)
    return rows


def _pooled(law: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The mean over the pairs of an action: proposal and table are the same in all unseen states."""
    means = np.stack([law[pairs[:, 1] == action].mean(0) for action in range(ACTIONS)])
    return means[pairs[:, 1]]


def _apart(law: np.ndarray, truth: np.ndarray) -> float:
    """Total variation, in the mean over the pairs."""
    return float(np.abs(law - truth).sum(-1).mean() / 2)
