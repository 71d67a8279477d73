"""The exact worlds against the real environments: where steps lead and how often, what they pay, what policies earn."""

import inspect

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator

from rewardlab.exact import optimal_policy, policy_return, uniform_policy
from rewardlab.exact.toy_text import from_gymnasium

TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
MAP = ["SFFH", "FSFF", "GHFF"]

WORLDS = {
    "lake": ("FrozenLake-v1", {}),
    "lake, dry": ("FrozenLake-v1", {"is_slippery": False}),
    "lake, 8x8": ("FrozenLake-v1", {"map_name": "8x8"}),
    "lake, own map": ("FrozenLake-v1", {"desc": MAP, "success_rate": 0.7, "reward_schedule": (3, -2, -1)}),
    "cliff": ("CliffWalking-v1", {}),
    "cliff, slippery": ("CliffWalking-v1", {"is_slippery": True}),
    "taxi": (TAXI, {}),
    "taxi, rainy": (TAXI, {"is_rainy": True}),
    "taxi, fickle": (TAXI, {"fickle_passenger": True}),
    "taxi, both": (
        TAXI,
        {"is_rainy": True, "rainy_probability": 0.5, "fickle_passenger": True, "fickle_probability": 0.6},
    ),
    "blackjack, book": ("Blackjack-v1", {}),
    "blackjack, natural": ("Blackjack-v1", {"natural": True, "sab": False}),
    "blackjack, plain": ("Blackjack-v1", {"natural": False, "sab": False}),
}
every_world = pytest.mark.parametrize("kind", WORLDS)


class Real:
    """A real environment that can be put in a state of its exact world, and read back as one.

    Options that came later than the gymnasium installed are left out: slipping by other chances came with 1.3.
    """

    def __init__(self, kind, discount=0.99):
        name, options = WORLDS[kind]
        known = inspect.signature(load_env_creator(gymnasium.spec(name).entry_point)).parameters
        self.env = gymnasium.make(name, **{key: options[key] for key in options if key in known}).unwrapped
        self.world = from_gymnasium(self.env, discount=discount)
        self.cards = name.startswith("Blackjack")
        hidden = [label.endswith("think again") or label.startswith("a natural") for label in self.world.state_labels]
        keys = zip(self.world.observations.tolist(), self.world.mdp.terminal.tolist(), hidden, strict=True)
        self.number = {key: state for state, key in enumerate(keys)}
        self.key = {state: key for key, state in self.number.items()}
        self.tells_naturals = self.cards and any(hidden)

    def reset(self, seed=None):
        self.env.reset(seed=seed)
        return self.state()

    def state(self):
        if not self.cards:
            return self.number[int(self.env.s), False, bool(getattr(self.env, "fickle_step", False))]
        hand = sorted(self.env.player)
        code = int(np.ravel_multi_index(self.env._get_obs(), (32, 11, 2)))
        return self.number[code, False, self.tells_naturals and hand == [1, 10]]

    def put(self, state):
        observation, _, hidden = self.key[state]
        if not self.cards:
            self.env.s = observation
            self.env.fickle_step = hidden
            return
        total, dealer, usable = (int(part) for part in np.unravel_index(observation, (32, 11, 2)))
        self.env.player = [1, 10] if hidden else self._hand(total, usable)
        self.env.dealer = [dealer, int(self.env.np_random.choice([*range(1, 11), 10, 10, 10]))]

    @staticmethod
    def _hand(total, usable):
        """Cards worth this much that are no natural."""
        if usable:
            return [1, 1] if total == 12 else [1, total - 12, 1]
        return [2, total - 2] if total <= 12 else [2, 10, total - 12]

    def step(self, action):
        natural = self.cards and self.tells_naturals and sorted(self.env.player) == [1, 10]
        _, reward, ended, _, _ = self.env.step(action)
        if not ended:
            return self.state(), reward, False
        if self.cards:
            outcome = "bust" if self.env._get_obs()[0] > 21 else {-1: "loss", 0: "draw"}.get(reward, "win")
            if outcome == "win" and natural:
                outcome = "win with a natural"
            return self.world.state_labels.index(outcome), reward, True
        return self.number[int(self.env.s), True, False], reward, True


def check_steps(real, states, samples, sigmas=5):
    """Every action in these states: the same next states, as often as they should be, paid as they should be."""
    mdp, rewards = real.world.mdp, real.world.reward
    for state in states:
        for action in range(mdp.actions):
            count, paid = np.zeros((2, mdp.states))
            for _ in range(samples):
                real.put(state)
                reached, reward, ended = real.step(action)
                assert ended == mdp.terminal[reached]
                count[reached] += 1
                paid[reached] += reward
            expected = mdp.transition[state, action]
            where = f"{real.world.state_labels[state]}, {real.world.action_labels[action]}"
            assert ((count > 0) <= (expected > 0)).all(), where
            assert (count > 0)[expected > 12 / samples].all(), where  # a miss has probability e^-12
            sigma = np.sqrt(samples * expected * (1 - expected))
            assert (np.abs(count - samples * expected) <= sigmas * sigma + 1e-9).all(), where
            met = count > 0
            gap = np.abs(paid[met] / count[met] - rewards[state, action, met])
            assert (gap <= 500 / np.sqrt(count[met])).all(), where  # means of several rewards: only the slippery cliff
            if "CliffWalking" not in real.world.name:
                assert (gap < 1e-9).all(), where


@every_world
def test_steps_lead_where_the_table_says(kind):
    real = Real(kind)
    real.reset(seed=1)
    rng = np.random.default_rng(2)
    alive = np.flatnonzero(~real.world.mdp.terminal)
    special = [state for state in alive if real.key[state][2] and "passenger at" not in real.world.state_labels[state]]
    for states, size in ((alive, 10), (special, 4)):  # naturals, and passengers who will think again in the taxi
        check_steps(real, rng.choice(states, min(size, len(states)), replace=False), 300)


@pytest.mark.slow
@every_world
def test_all_steps_lead_where_the_table_says(kind):
    real = Real(kind)
    real.reset(seed=3)
    certain = ((real.world.mdp.transition == 0) | (real.world.mdp.transition == 1)).all()
    # of some 30,000 frequencies one is beyond 5 sigma every now and then
    check_steps(real, np.flatnonzero(~real.world.mdp.terminal), 3 if certain else 300, sigmas=6)


@every_world
def test_first_states(kind):
    real = Real(kind)
    real.reset(seed=4)
    count = np.bincount([real.reset() for _ in range(3000)], minlength=real.world.mdp.states)
    expected = 3000 * real.world.mdp.initial
    assert ((count > 0) <= (expected > 0)).all()
    assert (np.abs(count - expected) <= 5 * np.sqrt(expected) + 1).all()


def check_return(kind, policy_of, episodes, discount=0.9):
    real = Real(kind, discount)
    policy = policy_of(real.world)
    rng = np.random.default_rng(5)
    real.reset(seed=6)
    draws = rng.random((episodes, 120))  # 0.9 ** 120 is 3e-6
    returns = np.zeros(episodes)
    cumulative = policy.cumsum(axis=1)
    for episode in range(episodes):
        state = real.reset()
        for step in range(120):
            action = int((cumulative[state] <= draws[episode, step]).sum())
            state, reward, ended = real.step(action)
            returns[episode] += discount**step * reward
            if ended:
                break
    exact = float(policy_return(real.world.mdp, real.world.reward, policy))
    error = returns.std() / np.sqrt(episodes)
    assert abs(returns.mean() - exact) <= 4.5 * error + 1e-2


def best_policy(world):
    return optimal_policy(world.mdp, world.reward).policy


def random_policy(world):
    return uniform_policy(world.mdp)


@every_world
@pytest.mark.parametrize("policy", [best_policy, random_policy])
def test_returns_agree_with_rollouts(kind, policy):
    check_return(kind, policy, 3000 if "blackjack" in kind else 150)


@pytest.mark.slow
@every_world
@pytest.mark.parametrize("policy", [best_policy, random_policy])
def test_returns_agree_with_many_rollouts(kind, policy):
    check_return(kind, policy, 40_000 if "blackjack" in kind else 3_000)


@pytest.mark.parametrize(
    ("name", "optimum"),
    [
        ("FrozenLake-v1", 14 / 17),  # without a time limit one gets there unless one falls in; 0.74 is with 100 steps
        ("FrozenLake8x8-v1", 1.0),
        ("CliffWalking-v1", -13.0),  # 13 steps along the cliff
        (TAXI, 7.93),  # mean over the 300 first states
    ],
)
def test_known_optimal_returns_without_discount(name, optimum):
    world = from_gymnasium(name, discount=1 - 1e-9)
    assert float(optimal_policy(world.mdp, world.reward).expected_return) == pytest.approx(optimum, abs=1e-6)


@pytest.mark.parametrize(("name", "steps", "optimum"), [("FrozenLake-v1", 100, 0.74), ("FrozenLake8x8-v1", 200, 0.91)])
def test_optimum_within_the_time_limit(name, steps, optimum):
    # the numbers in gymnasium's registration of the two lakes
    world = from_gymnasium(name)
    values = np.zeros(world.mdp.states)
    for _ in range(steps):
        values = (world.mdp.state_action_reward(world.reward) + world.mdp.continuation @ values).max(axis=1)
    assert world.mdp.initial @ values == pytest.approx(optimum, abs=0.005)


def test_frozen_lake_at_discount_99():
    world = from_gymnasium("FrozenLake-v1", discount=0.99)
    assert float(optimal_policy(world.mdp, world.reward).expected_return) == pytest.approx(0.542026, abs=1e-6)


def test_blackjack_by_the_book():
    # Sutton and Barto, figure 5.2: hit hard 16 against a ten, stick on hard 13 against a 6, hit soft 17, never hit 20
    world = from_gymnasium("Blackjack-v1", discount=1.0)
    action = optimal_policy(world.mdp, world.reward).action
    by_label = dict(zip(world.state_labels, action, strict=True))
    stick, hit = 0, 1
    assert by_label["hard 16 against 10"] == hit
    assert by_label["hard 13 against 6"] == stick
    assert by_label["soft 17 against 9"] == hit
    assert all(by_label[f"hard 20 against {card}"] == stick for card in ("an ace", *range(2, 11)))


def test_blackjack_against_enumeration():
    # player sticks at once on hard 20 against a ten: the dealer draws, by brute force over hands
    world = from_gymnasium("Blackjack-v1")
    chance = {card: (4 if card == 10 else 1) / 13 for card in range(1, 11)}

    def dealer(cards, probability):
        total = sum(cards) + (10 if 1 in cards and sum(cards) <= 11 else 0)
        if len(cards) > 1 and total >= 17:
            score = total if total <= 21 else 0
            return probability * np.array([score < 20, score == 20, score > 20])
        return sum(dealer([*cards, card], probability * p) for card, p in chance.items())

    win, draw, loss = dealer([10], 1.0)
    state = world.state_labels.index("hard 20 against 10")
    for outcome, probability in (("win", win), ("draw", draw), ("loss", loss)):
        reached = world.state_labels.index(outcome)
        assert world.mdp.transition[state, 0, reached] == pytest.approx(probability, abs=1e-14)


def test_naturals_pay_what_the_rules_say():
    for options, pays, drawn in (({"sab": True}, 1.0, 4 / 13), ({"sab": False, "natural": True}, 1.5, None)):
        world = from_gymnasium(gymnasium.make("Blackjack-v1", **options))
        natural = world.state_labels.index("a natural against an ace")
        win, draw = (world.state_labels.index(name) for name in ("win with a natural", "draw"))
        assert world.reward[natural, 0, win] == pays
        if drawn:  # only a natural of the dealer saves him: a ten beside the ace
            assert world.mdp.transition[natural, 0, draw] == pytest.approx(drawn, abs=1e-14)


def test_states_are_those_that_can_be_reached():
    for name, states, ends in ((TAXI, 404, 4), ("CliffWalking-v1", 38, 1), ("FrozenLake-v1", 16, 5)):
        world = from_gymnasium(name)
        assert (world.mdp.states, int(world.mdp.terminal.sum())) == (states, ends), name
    lake = from_gymnasium("FrozenLake-v1")
    np.testing.assert_array_equal(lake.observations, np.arange(16))


class Corridor(gymnasium.Env):
    """Three cells; the last is passed through when entered slowly, and ends the episode when entered fast."""

    observation_space = gymnasium.spaces.Discrete(3)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.initial_state_distrib = np.array([1.0, 0.0, 0.0])
        self.P = {
            0: {0: [(1.0, 1, 0.0, False)], 1: [(0.5, 1, 2.0, False), (0.25, 1, -1.0, False), (0.25, 2, 5.0, True)]},
            1: {0: [(1.0, 2, 0.0, False)], 1: [(1.0, 2, 5.0, True)]},
            2: {0: [(1.0, 0, 0.0, False)], 1: [(1.0, 2, 7.0, False)]},
        }


def test_a_state_that_only_sometimes_ends_the_episode_is_two():
    world = from_gymnasium(Corridor())
    assert world.observations.tolist() == [0, 1, 2, 2]
    assert world.mdp.terminal.tolist() == [False, False, False, True]
    np.testing.assert_allclose(world.mdp.transition[0, 1], [0, 0.75, 0, 0.25])
    np.testing.assert_allclose(world.mdp.transition[1], [[0, 0, 1, 0], [0, 0, 0, 1]])
    assert world.reward[0, 1, 1] == pytest.approx((0.5 * 2 - 0.25) / 0.75)  # two outcomes, one transition: their mean
    assert world.reward[2, 0, 3] == 5.0  # cannot happen: what ending there always pays
    assert world.reward[2, 1, 1] == 7.0  # cannot happen, and entering it pays this or that: what the action earns


def test_tabulated_rewards_meet_the_shipped_one():
    lake, cliff = from_gymnasium("FrozenLake-v1"), from_gymnasium("CliffWalking-v1")
    np.testing.assert_array_equal(lake.tabulate(lambda s, a, n: (n == 15) * 1.0), lake.reward)  # with arrays
    np.testing.assert_array_equal(lake.tabulate(lambda s, a, n: 1.0 if n == 15 else 0), lake.reward)  # one by one
    possible = cliff.mdp.continuation > 0
    falls = {25 + column: 2 for column in range(10)}  # moving down from the row above the cliff

    def written_out(state, action, next_state):
        return -100 if falls.get(state) == action or (state, action) == (36, 1) else -1

    np.testing.assert_array_equal(cliff.tabulate(written_out)[possible], cliff.reward[possible])


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda state, action: 0.0, TypeError, r"mine: expected a function of .*, got one of \(state, action\)"),
        (lambda s, *, a, n: 0.0, TypeError, r"mine: expected a function of .* got one of \(s, \*, a, n\)"),
        (lambda s, a, n: None, TypeError, "mine returned None at state 0, action 0, next state 0, expected a number"),
        (lambda s, a, n: "1", TypeError, "mine returned '1' at state 0"),
        (lambda s, a, n: {}[n], ValueError, "mine failed at state 0, action 0, next state 0: KeyError: 0"),
        (
            lambda s, a, n: 1 / (n - 5),
            ValueError,
            r"mine is inf, .* at state 0 \(row 0, column 0 \(start\)\), action 0 \(left\), next state 5",
        ),
        (lambda s, a, n: np.nan if (s, a) == (14, 2) else 0, ValueError, "mine is nan.*state 14 .*action 2 .right."),
    ],
)
def test_bad_reward_functions_are_named(function, error, message):
    with pytest.raises(error, match=message):
        from_gymnasium("FrozenLake-v1").tabulate(function, name="mine")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("CartPole-v1", r"CartPole-v1 has continuous observations of shape \(4,\) and no table of transition prob"),
        ("NoSuchLake-v1", "gymnasium cannot make 'NoSuchLake-v1'"),
        ("FrozenLake-v99", "gymnasium cannot make 'FrozenLake-v99'"),
        (gymnasium.wrappers.TransformReward(gymnasium.make("FrozenLake-v1"), abs), "is wrapped in TransformReward"),
        (gymnasium.wrappers.NormalizeReward(gymnasium.make(TAXI)), "is wrapped in NormalizeReward"),
    ],
)
def test_environments_that_are_no_exact_world(env, message):
    with pytest.raises(ValueError, match=message):
        from_gymnasium(env)


def test_discount_is_checked():
    with pytest.raises(ValueError, match=r"discount is 1\.5"):
        from_gymnasium("FrozenLake-v1", discount=1.5)
