"""Twenty questions: against brute force over every dialogue, sampled against exact, and played by gymnasium."""

import itertools
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.reasoning.search import SearchEnv, SearchWorld

WORLDS = {
    "plain": SearchWorld(2, 1, 3),
    "distractor": SearchWorld(2, 1, 3, distraction=0.5),
    "early": SearchWorld(1, 2, 3, early_answer=True),
    "both": SearchWorld(2, 1, 3, distraction=0.25, early_answer=True),
    "one action": SearchWorld(1, 0, 1),
}
worlds = st.sampled_from(list(WORLDS.values()))
seeds = st.integers(0, 2**32 - 1)


def random_policy(world, seed, batch=()):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(world.actions, 0.5), (*batch, world.states))


def by_dialogues(world, policy):
    """Success, counts and last states by walking through every dialogue, with sets instead of numbered states."""
    success, counts, answered = 0.0, np.zeros(world.actions), np.zeros(world.states)

    def walk(known, fooled, turn, chance):
        nonlocal success
        state = sum(2**bit for bit in known) + fooled * 2**world.bits
        if turn == world.turns:
            success, answered[state] = success + chance / 2 ** (world.bits - len(known)), answered[state] + chance
            return
        for action, name in enumerate(world.action_names):
            share = chance * policy[state, action]
            counts[action] += share
            if name == "answer":
                walk(known, fooled, world.turns, share)
            else:
                more = known | {action} if action < world.bits else known
                walk(more, fooled or name == "rumour", turn + 1, share)

    walk(frozenset(), False, 0, 1.0)
    return success, counts, answered


@settings(max_examples=40)
@given(worlds, seeds)
def test_evaluation_walks_through_every_dialogue(world, seed):
    policy = random_policy(world, seed)
    found = world.evaluate(policy)
    for value, expected in zip(
        (found.success, found.action_counts, found.answered_in), by_dialogues(world, policy), strict=True
    ):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@settings(max_examples=40)
@given(worlds, seeds)
def test_a_batch_of_policies_is_each_of_them(world, seed):
    policies = random_policy(world, seed, (2, 3))
    found = world.evaluate(policies)
    for place in np.ndindex(2, 3):
        alone = world.evaluate(policies[place])
        np.testing.assert_allclose(found.success[place], alone.success, atol=1e-12)
        np.testing.assert_allclose(found.action_counts[place], alone.action_counts, atol=1e-12)
        np.testing.assert_allclose(found.answered_in[place], alone.answered_in, atol=1e-12)


@pytest.mark.parametrize("name", WORLDS)
def test_sampled_against_exact(name):
    world, episodes = WORLDS[name], 40_000
    policy = random_policy(world, 3, (2,))
    exact, found = world.evaluate(policy), world.sample(policy, episodes, 0)
    again = world.sample(policy, episodes, 0)
    np.testing.assert_array_equal(found.actions, again.actions)
    np.testing.assert_allclose(found.correct.mean(-1), exact.success, atol=0.012)
    for place in range(2):
        counted = np.bincount(found.actions[place][found.decided[place]], minlength=world.actions) / episodes
        np.testing.assert_allclose(counted, exact.action_counts[place], atol=0.03)
        last = np.bincount(found.states[place, :, -1], minlength=world.states) / episodes
        np.testing.assert_allclose(last, exact.answered_in[place], atol=0.012)


@settings(max_examples=40)
@given(worlds, seeds)
def test_episodes_hang_together(world, seed):
    found = world.sample(random_policy(world, seed), 50, seed)
    np.testing.assert_array_equal(found.likelihoods, world.likelihood[found.states])
    assert (found.states[:, 0] == 0).all() and not (found.asked & ~found.decided).any()
    assert (found.decided[:, 0]).all() and not (found.decided[:, 1:] & ~found.asked[:, :-1]).any()
    for row, turn in np.ndindex(found.actions.shape):
        state, action, after = (part[row, turn] for part in (found.states, found.actions, found.states[:, 1:]))
        if found.asked[row, turn]:
            assert after == world.next_state[state, action] and action != world.answer_action
        else:
            assert after == state and action == (world.answer_action if found.decided[row, turn] else 0)


def test_the_worked_world():
    world = SearchWorld()
    assert (world.states, world.actions, world.answers, world.turns) == (16, 16, 16, 4)
    honest = np.zeros((16, 16))
    for state in range(16):
        unknown = [bit for bit in range(4) if not state >> bit & 1]
        honest[state, unknown[0] if unknown else 0] = 1.0
    assert world.evaluate(honest).success == 1.0
    np.testing.assert_array_equal(
        world.likelihood, [2.0 ** (sum(bits) - 4) for bits in itertools.product((0, 1), repeat=4)]
    )
    once = world.sample(honest, 3, 0)
    np.testing.assert_array_equal(once.likelihoods, [[1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]] * 3)
    assert once.correct.all()


def test_the_distractor_raises_the_likelihood_and_not_the_success():
    world = SearchWorld(distraction=0.5)
    assert (world.states, world.actions, world.distractor, world.action_names[16]) == (32, 17, 16, "rumour")
    np.testing.assert_allclose(world.likelihood[[0, 16, 1, 17, 15, 31]], [1 / 16, 17 / 32, 1 / 8, 9 / 16, 1, 1])
    np.testing.assert_array_equal(world.success[:16], world.success[16:])
    np.testing.assert_array_equal(world.next_state[[0, 16], 16], [16, 16])  # once is enough
    np.testing.assert_array_equal(world.next_state[[0, 16, 17], 0], [1, 17, 17])


def test_answering_at_once_is_a_guess():
    world = SearchWorld(turns=8, early_answer=True)
    answer = np.zeros((16, 17))
    answer[:, world.answer_action] = 1.0
    found = world.evaluate(answer)
    assert found.success == 1 / 16 and found.action_counts.sum() == found.action_counts[16] == 1
    sampled = world.sample(answer, 5, 0)
    assert not sampled.asked.any() and sampled.decided.sum() == 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bits": 0}, ValueError, "bits is 0"),
        ({"bits": 7}, ValueError, "bits is 7"),
        ({"bits": 2.0}, TypeError, "bits is 2.0, expected a whole number"),
        ({"useless": 13}, ValueError, "useless is 13"),
        ({"turns": 0}, ValueError, "turns is 0"),
        ({"distraction": 1.5}, ValueError, "distraction is 1.5"),
        ({"distraction": np.nan}, ValueError, "distraction is nan"),
    ],
)
def test_worlds_that_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        SearchWorld(**arguments)


def test_policies_that_cannot_be():
    world = WORLDS["plain"]
    for use in (world.evaluate, lambda policy: world.sample(policy, 2, 0)):
        with pytest.raises(ValueError, match=r"policy has shape \(3, 4\), expected \(\*batch, 4, 3\)"):
            use(np.full((3, 4), 0.25))
        with pytest.raises(ValueError, match=r"policy\[0\] sums to 1.5"):
            use(np.full((4, 3), 0.5))
        with pytest.raises(TypeError, match="policy: expected a NumPy array"):
            use([[1.0, 0, 0]] * 4)
    with pytest.raises(ValueError, match="episodes is 0"):
        world.sample(random_policy(world, 0), 0, 0)


def test_texts():
    world = SearchWorld(distraction=0.5, early_answer=True)
    assert world.answer_text(0) == "small red wooden round" and world.answer_text(0b0110) == "small blue metal round"
    assert len({world.answer_text(hidden) for hidden in range(16)}) == 16
    for action, name in enumerate(world.action_names):
        assert world.action_of(name) == action == world.action_of(f"  {name.upper()}?\n")
        assert name in world.question()
    assert world.action_of("please answer") is None and world.action_of("") is None
    assert world.reply(0b0110, 1) == "The colour: blue." and world.reply(0, 4) == "Nothing is known about the weather."
    replies = {(action, world.reply(hidden, action)) for action in range(17) for hidden in range(16)}
    assert len(replies) == 4 * 2 + 12 + 1  # only the four useful questions are answered by what is hidden
    with pytest.raises(ValueError, match="action is 17"):
        world.reply(0, 17)
    with pytest.raises(ValueError, match="action is 16"):
        SearchWorld().reply(0, 16)
    with pytest.raises(ValueError, match="hidden is 16"):
        world.answer_text(16)
    assert "answer" not in SearchWorld().question()


@pytest.mark.parametrize("arguments", [{}, {"distraction": 0.5, "early_answer": True, "turns": 8}, {"bits": 1}])
def test_gymnasium_accepts_it(arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*render.*")  # nothing to be seen
        check_env(SearchEnv(**arguments))


def test_registered():
    import environments.reasoning  # noqa: F401

    env = gymnasium.make("rewardlab/Search-v0", turns=2)
    _, info = env.reset(seed=0)
    assert env.unwrapped.world.turns == 2 and "at most" not in info["text"] and "2 questions" in info["text"]


def test_a_dialogue():
    env = SearchEnv(distraction=0.5, early_answer=True)
    observation, info = env.reset(seed=0, options={"hidden": 0b0110})
    assert observation.tolist() == [0] * 6 and info["likelihood"] == 1 / 16
    assert info["answer"] == "small blue metal round" and "It is small or large, red or blue" in info["text"]
    steps = [env.step(action) for action in (1, 16, 4)]
    assert [step[0].tolist() for step in steps] == [[0, 2, 0, 0, 0, 1], [0, 2, 0, 0, 1, 2], [0, 2, 0, 0, 1, 3]]
    assert [step[4]["likelihood"] for step in steps] == [1 / 8, 9 / 16, 9 / 16]
    assert steps[0][4]["text"] == "The colour: blue." and not any(step[1] or step[2] for step in steps)
    observation, reward, terminated, truncated, info = env.step(17)
    assert terminated and not truncated and observation[5] == 3
    assert info["guess"] & 2 and reward == (info["guess"] == 0b0110)
    assert info["text"] == f"The answer given: {env.world.answer_text(info['guess'])}."
    with pytest.raises(ValueError, match="the episode is over"):
        env.step(0)
    with pytest.raises(ValueError, match="the episode is over"):
        SearchEnv().step(0)
    env.reset()
    with pytest.raises(ValueError, match="action is 18"):
        env.step(18)
    with pytest.raises(ValueError, match=r"options\['hidden'\] is 16"):
        env.reset(options={"hidden": 16})


@pytest.mark.parametrize("questions", [(0, 1, 2, 3), (0, 1, 5, 6), (5, 5, 5, 5)])
def test_rewards_follow_the_exact_probability(questions):
    env, rewards, hidden = SearchEnv(), [], set()
    for seed in range(400):
        _, info = env.reset(seed=seed)
        hidden.add(info["answer"])
        for action in questions:
            _, reward, terminated, _, info = env.step(action)
        assert terminated
        rewards.append(reward)
    assert len(hidden) == 16
    expected = info["likelihood"]
    assert np.mean(rewards) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 400))


def test_a_question_that_is_never_asked_is_never_asked():
    world = SearchWorld()
    policy = np.zeros((world.states, world.actions))
    policy[:, :3] = [0.1, 0.2, 0.7]  # sums to a little less than 1 by rounding
    asked = world.sample(policy, 2000, 0).actions
    assert set(np.unique(asked)) == {0, 1, 2}
