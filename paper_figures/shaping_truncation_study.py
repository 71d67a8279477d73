"""What shaping gone wrong does: worlds small enough that the wrong value is known beforehand, and who learns it."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from rewardlab.adapters.shaping_gymnasium import VectorPotentialShaping
from rewardlab.exact import FiniteMDP, policy_return
from rewardlab.shaping.rule import OnTruncation, shaping_reward
from rewardlab.shaping.tabular.q_learning import q_learning

DISCOUNT = 0.9
PAID_FOREVER, POTENTIAL = 1.0, 5.0  # one room that pays for ever: its value is 10, and 5 less the potential
PAYS, POTENTIALS = (0.7, 1.0), (0.0, 6.0)  # two rooms: the better one has the potential
TRACE = 0.95  # PPO's lambda
RIGHT_ROOM = 1


class Rooms(gymnasium.Env):
    """Every action leads to the room of its number, which pays; the observation is the room, one-hot, and no clock."""

    def __init__(self, pays: tuple[float, ...]) -> None:
        self.pays, self.room = pays, 0
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (len(pays),), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(pays))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin in one of the rooms."""
        super().reset(seed=seed)
        self.room = int(self.np_random.integers(len(self.pays)))
        return self._seen(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Go to a room."""
        self.room = int(action)
        return self._seen(), self.pays[self.room], False, False, {}

    def _seen(self) -> np.ndarray:
        return np.eye(len(self.pays), dtype=np.float32)[self.room]


def rooms_mdp(pays: tuple[float, ...]) -> tuple[FiniteMDP, np.ndarray]:
    """The same rooms as a finite world, and their reward."""
    count = len(pays)
    transition = np.tile(np.eye(count), (count, 1, 1))
    return FiniteMDP(transition, DISCOUNT), np.broadcast_to(np.array(pays), transition.shape).copy()


def target_bias(kept: OnTruncation) -> float:
    """By how much the target of the last step before the limit is off, by the rule itself."""
    ahead = PAID_FOREVER / (1 - DISCOUNT) - POTENTIAL
    shaping = shaping_reward(POTENTIAL, POTENTIAL, discount=DISCOUNT, bootstraps=kept == "keep")
    return PAID_FOREVER + shaping + DISCOUNT * ahead - ahead


def critic_bias(limit: np.ndarray, trace: float = 0.0) -> np.ndarray:
    """What the targets' bias adds up to in a critic that does not see the clock, potential zeroed at the limit.

    One step in `limit` lacks the discounted potential, and so do, with a trace, those before it: the value settles
    where the mean of all temporal differences, weighed by how many steps of the trace each serves, is 0.
    """
    decay, limit = DISCOUNT * trace, np.asarray(limit, float)
    last = (1 - decay**limit) / (limit * (1 - decay))  # mean of decay^(n-1) over n = 1 ... limit
    whole = (1 - decay * last) / (1 - decay)  # mean of 1 + decay + ... + decay^(n-1)
    return -DISCOUNT * POTENTIAL * last / whole / (1 - DISCOUNT)


def harmful_below() -> float:
    """The time limit below which zeroing makes the worse room the better one, for a learner without a trace."""
    return DISCOUNT * (POTENTIALS[1] - POTENTIALS[0]) / (PAYS[1] - PAYS[0])


def learned_tables(limits: tuple[int, ...], steps: int, seeds: int, rng: np.random.Generator) -> list[dict]:
    """Q-learning under time limits: the value of the room that pays for ever, and the room chosen of two."""
    rows = []
    for limit in limits:
        for kept in ("keep", "zero"):
            options = {"max_steps": limit, "episodes": -(-steps // limit), "on_truncation": kept, "seeds": seeds}
            mdp, paid = rooms_mdp((PAID_FOREVER,))
            runs = q_learning(mdp, paid, potential=np.array([POTENTIAL]), learning_rate=0.02, rng=rng, **options)
            bias = runs.action_values.max(axis=(1, 2)) - (PAID_FOREVER / (1 - DISCOUNT) - POTENTIAL)
            mdp, paid = rooms_mdp(PAYS)
            runs = q_learning(
                mdp, paid, potential=np.array(POTENTIALS), learning_rate=0.02, exploration=0.3, rng=rng, **options
            )
            right = _share_right(runs.action_values)
            found = {"limit": limit, "kept": kept, "learner": "table"}
            rows += [found | {"of": "bias", "seed": seed, "value": value} for seed, value in enumerate(bias)]
            rows += [found | {"of": "right", "seed": seed, "value": value} for seed, value in enumerate(right)]
    return rows


def _share_right(tables: np.ndarray) -> np.ndarray:
    """Share of steps that the greedy policy spends in the better room, from either room, without an end."""
    greedy = tables.argmax(axis=-1)  # (seeds, rooms): the next room
    place, spent = np.tile(np.arange(2), (len(greedy), 1)), 0.0
    for _ in range(20):
        place = np.take_along_axis(greedy, place, axis=-1)
        spent = spent + (place == RIGHT_ROOM).mean(axis=-1)
    return spent / 20


def ppo(
    pays: tuple[float, ...], potentials: tuple[float, ...] | None, limit: int, kept: OnTruncation, seed: int, steps: int
):
    """Stable-Baselines3's PPO in the rooms: values of the rooms, and the probability of the better room in each."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    from rewardlab.adapters.shaping_stable_baselines3 import DiscountCheck, VecPotentialShaping

    venv = DummyVecEnv([lambda: gymnasium.wrappers.TimeLimit(Rooms(pays), limit)] * 8)
    check = None
    if potentials is not None:
        weight = np.array(potentials, np.float32)
        venv = VecPotentialShaping(venv, lambda seen: float(seen @ weight), DISCOUNT, on_truncation=kept)
        check = DiscountCheck() if kept == "keep" else None  # it would refuse the other, and say why
    model = PPO(
        "MlpPolicy",
        venv,
        gamma=DISCOUNT,
        gae_lambda=TRACE,
        learning_rate=3e-3,
        n_steps=40,
        batch_size=160,
        ent_coef=0.01,
        seed=seed,
        policy_kwargs={"net_arch": [16]},
        device="cpu",
    )
    model.learn(steps, callback=check)
    rooms = torch.eye(len(pays))
    with torch.no_grad():
        values = model.policy.predict_values(rooms).numpy().ravel()
        chances = model.policy.get_distribution(rooms).distribution.probs.numpy()
    return values.astype(float), chances[:, -1].astype(float)


def trained_by_ppo(
    limits: tuple[int, ...], policy_limit: int, steps: tuple[int, int], seeds: int, rng: np.random.Generator
) -> list[dict]:
    """PPO's critic in the room that pays for ever, and its policy and unshaped pay where there are two rooms.

    `steps` of training: as many for the critic, and as many for the policy.
    """
    rows, chosen = [], [int(seed) for seed in rng.integers(2**31, size=seeds)]
    value, both = PAID_FOREVER / (1 - DISCOUNT) - POTENTIAL, (PAID_FOREVER,) * 2
    for limit in limits:
        for kept in ("keep", "zero"):
            for seed, drawn in enumerate(chosen):
                values, _ = ppo(both, (POTENTIAL,) * 2, limit, kept, drawn, steps[0])
                found = {"limit": limit, "kept": kept, "learner": "PPO", "seed": seed}
                rows.append(found | {"of": "bias", "value": values.mean() - value})
    for kept in ("none", "keep", "zero"):
        for seed, drawn in enumerate(chosen):
            potentials = None if kept == "none" else POTENTIALS
            _, chances = ppo(PAYS, potentials, policy_limit, "keep" if kept == "none" else kept, drawn, steps[1])
            share = chances[0] / (1 - chances[1] + chances[0])  # of steps in the better room, in the long run
            found = {"limit": policy_limit, "kept": kept, "learner": "PPO", "seed": seed}
            rows.append(found | {"of": "right", "value": share})
            rows.append(found | {"of": "pay", "value": PAYS[0] + share * (PAYS[1] - PAYS[0])})
    return rows


def terminal_trap() -> tuple[FiniteMDP, np.ndarray, np.ndarray]:
    """One choice: action 0 ends the episode and pays 1, action 1 ends it in a state of high potential and pays 0."""
    transition = np.tile(np.eye(3), (2, 1, 1)).swapaxes(0, 1).copy()
    transition[0] = np.eye(3)[1:]
    reward = np.zeros(transition.shape)
    reward[0, 0, 1] = 1.0
    mdp = FiniteMDP(transition, 0.9, initial=np.eye(3)[0], terminal=np.array([False, True, True]))
    return mdp, reward, np.array([0.5, 0.0, 2.0])


def stay_or_finish() -> tuple[FiniteMDP, np.ndarray, np.ndarray]:
    """One choice, again and again: action 0 ends the episode and pays 1, action 1 stays; the potential is 10."""
    transition = np.zeros((2, 2, 2))
    transition[0] = np.eye(2)[::-1]
    transition[1, :, 1] = 1.0
    reward = np.zeros(transition.shape)
    reward[0, 0, 1] = 1.0
    mdp = FiniteMDP(transition, 0.99, initial=np.eye(2)[0], terminal=np.array([False, True]))
    return mdp, reward, np.array([10.0, 0.0])


def shaped_by_hand(
    mdp: FiniteMDP, reward: np.ndarray, potential: np.ndarray, *, discount: float, ends: bool
) -> np.ndarray:
    """The reward with shaping as it is often written: with a discount of its own, and blind to where episodes end."""
    goes_on = ~mdp.terminal if ends else np.ones(mdp.states, bool)
    shaping = shaping_reward(potential[:, None], potential, discount=discount, bootstraps=goes_on)
    return reward + shaping[:, None, :]


FAULTS: dict[str, tuple[str, Callable, dict]] = {
    "terminal": ("potential kept in a terminal state", terminal_trap, {"discount": 0.9, "ends": False}),
    "discount": ("shaped with discount 1, learned with .99", stay_or_finish, {"discount": 1.0, "ends": True}),
}


def leads(seeds: int, rng: np.random.Generator) -> list[dict]:
    """Return of always taking the right action (0) less that of the other, and the share of learners that take it.

    Both unshaped, with shaping as it should be, and with the fault.
    """
    rows = []
    for fault, (_, world, wrong) in FAULTS.items():
        mdp, reward, potential = world()
        right = {"discount": mdp.discount, "ends": True}
        rewards = {
            "none": reward,
            "right": shaped_by_hand(mdp, reward, potential, **right),
            "wrong": shaped_by_hand(mdp, reward, potential, **wrong),
        }
        always = np.broadcast_to(np.eye(2)[:, None], (2, mdp.states, 2))
        for shaping, paid in rewards.items():
            first, other = policy_return(mdp, np.stack([paid, paid]), always)
            runs = q_learning(mdp, paid, episodes=500, max_steps=10, exploration=0.5, seeds=seeds, rng=rng)
            found = {"fault": fault, "shaping": shaping}
            rows.append(found | {"of": "lead", "seed": 0, "value": first - other})
            taken = runs.action_values[:, 0].argmax(axis=-1) == 0
            rows += [found | {"of": "taken", "seed": seed, "value": float(was)} for seed, was in enumerate(taken)]
    return rows


class _TwoSteps(gymnasium.Env):
    """Observations 0, .1, .2, and the time limit cuts it there; it pays nothing."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(1)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        return np.array([self.count / 10]), 0.0, False, self.count == 2, {}


def shaping_over_resets(steps: int = 5) -> list[dict]:
    """What is added at each step of a vector of environments that reset themselves: naively, and by the wrapper."""

    def potential(seen: np.ndarray) -> float:
        return 10 * float(seen[0])

    bare = gymnasium.vector.SyncVectorEnv([_TwoSteps])
    shaped = VectorPotentialShaping(gymnasium.vector.SyncVectorEnv([_TwoSteps]), potential, DISCOUNT)
    before = potential(bare.reset()[0][0])
    shaped.reset()
    rows, action = [], np.zeros(1, int)
    for step in range(1, steps + 1):
        seen = bare.step(action)[0][0]
        naive = shaping_reward(before, potential(seen), discount=DISCOUNT, bootstraps=True)
        before = potential(seen)
        rows.append({"shaping": "naive", "step": step, "value": naive})
        rows.append({"shaping": "right", "step": step, "value": float(shaped.step(action)[1][0])})
    return rows


def frame_of(parts: dict[str, list[dict]]) -> pd.DataFrame:
    """Rows of all parts in one frame, told apart by column `part`."""
    return pd.concat([pd.DataFrame(rows).assign(part=part) for part, rows in parts.items()], ignore_index=True)
