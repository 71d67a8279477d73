from dataclasses import replace

import numpy as np
import pytest

from environments.message_lock.learning import LearnerSettings, LockLearners, first_window, learn_locks
from environments.message_lock.lock import LockWorlds, MessageLock
from environments.message_lock.novelty import RoomNovelty, room_distillation
from environments.message_lock.rewards import LockReward, MessagePay, RoomBonus, lock_annotator
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.retrieval import RetrievalReward
from rewardlab.intrinsic.visitation import EpisodicFirstVisit, FirstVisitGate, LifelongCounts, ProductCounts

LOCK = MessageLock(rooms=5, distractors=6, steps=12)
RIGHT = np.array([[2, 0, 3, 1, 0]])


def walk(world, actions, slip=0.0):
    slips, noise = np.full(world.lanes, slip), np.zeros(world.lanes, np.int64)
    return [world.step(np.full(world.lanes, action), slips, noise) for action in actions]


def as_bytes(text):
    return np.frombuffer(text.encode().ljust(256, b"\0"), np.uint8)[None]


def key(room):
    return int(room).to_bytes(2, "little")


def record(lock, rewards, settings, episodes, seeds=1, rng=0):
    """Messages, rooms, actions left in, and what was running, of each episode; with what each step was paid."""
    learners, found = LockLearners(lock, rewards, settings, seeds=seeds, rng=rng), []
    learn, end = learners._learn, learners._end

    def spy(state, actions, step, counts, bonus, after, live):
        paid = bonus + learners.messages.rewards(step.messages, counts)
        found[-1].append((actions, step, paid, live))
        learn(state, actions, step, counts, bonus, after, live)

    learners._learn = spy
    for _ in range(episodes):
        found.append([])
        learners.episode()
    assert learners._end == end
    return found


def test_right_actions_open_the_lock_and_say_so():
    world = LockWorlds(LOCK, RIGHT)
    steps = walk(world, RIGHT[0, :4])
    assert [int(step.rooms[0]) for step in steps] == [1, 2, 3, 4]
    assert [LOCK.texts[step.messages[0]] for step in steps] == [f"You enter room {room}." for room in (1, 2, 3, 4)]
    assert [float(step.rewards[0]) for step in steps] == [0, 0, 0, 10]
    assert [bool(step.dones[0]) for step in steps] == [False, False, False, True]


def test_a_wrong_action_leads_back_or_not_and_is_answered_by_a_wall_or_by_noise():
    world = LockWorlds(LOCK, RIGHT)
    (_, stayed) = walk(world, [2, 2], slip=0.9)
    assert (int(stayed.rooms[0]), LOCK.texts[stayed.messages[0]]) == (1, "You walk into a wall.")
    (back,) = walk(world, [1], slip=0.1)
    assert (int(back.rooms[0]), LOCK.texts[back.messages[0]]) == (0, "You hear noise 0.")
    (first,) = walk(world, [0], slip=0.1)
    assert int(first.rooms[0]) == 0  # there is no room before the first
    assert int(world.furthest[0]) == 1


def test_who_is_in_the_last_room_stays_there():
    world = LockWorlds(LOCK, RIGHT)
    *_, opened, after, later = walk(world, [2, 0, 3, 1, 2, 1])
    assert [step.dones.tolist() for step in (opened, after, later)] == [[True]] * 3
    assert [int(step.rooms[0]) for step in (opened, after, later)] == [4] * 3


def test_published_size():
    lock = MessageLock()
    assert (lock.rooms, lock.actions, lock.steps, len(lock.texts), lock.truth.sum()) == (16, 4, 64, 316, 15)
    weights = np.diff(lock.distractor_odds, prepend=0.0)
    assert weights[0] / weights[9] == pytest.approx(10)  # the k-th of them as often as 1 / k


def test_exploration_falls_in_a_line():
    settings = LearnerSettings()
    assert [settings.explores(episode) for episode in (0, 100, 200, 500)] == pytest.approx([1, 0.525, 0.05, 0.05])
    assert replace(settings, exploration_episodes=0).explores(0) == pytest.approx(0.05)


def test_first_window_of_successes():
    success = np.zeros((2, 120), bool)
    success[0, 30:] = True
    assert first_window(success).tolist() == [20, np.inf]  # 40 of the 50 from 20 on
    assert first_window(success, least=1.0)[0] == 30


@pytest.mark.parametrize("update", ["step", "episode"])
def test_learners_are_the_textbook_ones(update):
    """One lane, replayed with a dictionary and the rule written out."""
    settings = LearnerSettings(episodes=30, exploration_episodes=10, update=update)
    rewards = [LockReward(source="oracle", exponent=1.0)]
    learners = LockLearners(LOCK, rewards, settings, seeds=1, rng=3)
    twin = LockLearners(LOCK, rewards, settings, seeds=1, rng=3)
    right = twin.worlds._combinations
    table = np.zeros((25, 4))
    for episode in range(settings.episodes):
        learners.episode()
        explores, drawn, slips, _, ties = (each[:, 0] for each in twin._random_numbers())
        twin.number += 1
        room = furthest = 0
        seen, kept = {}, []
        for turn in range(LOCK.steps):
            row = room + 5 * furthest
            values = table[row]
            action = (
                drawn[turn]
                if explores[turn]
                else max((a for a in range(4) if values[a] == values.max()), key=lambda a: ties[turn][a])
            )
            forward = action == right[room]
            room = room + 1 if forward else max(room - (slips[turn] < 0.5), 0)
            furthest = max(furthest, room)
            seen[room] = seen.get(room, 0) + forward
            paid = (0.4 / seen[room] if forward else 0.0) + 10.0 * (room == 4)
            kept.append((row, action, paid, room + 5 * furthest, room == 4))
            for transition in kept[-1:] if update == "step" else ():
                _learn(table, *transition)
            if room == 4:
                break
        for transition in kept if update == "episode" else ():
            _learn(table, *transition)
        np.testing.assert_allclose(learners.table, table, atol=1e-12, err_msg=f"episode {episode}")


def _learn(table, row, action, paid, after, done):
    table[row, action] += 0.2 * (paid + (0.0 if done else 0.97 * table[after].max()) - table[row, action])


def test_messages_pay_what_the_library_pays():
    """The same stream through the library's own online feedback, whose learner asks at each episode's end."""
    lock = MessageLock(rooms=40, distractors=20, steps=30)  # never opened: all episodes have one length
    reward = LockReward(source="retrieval", accuracy=0.8, labels=2, delay=3)
    episodes = record(lock, [reward], LearnerSettings(update="episode"), 40)
    annotator = lock_annotator(reward, seed=0)
    annotator.tick_steps = lock.steps  # there the clock counts steps
    online = OnlineFeedbackReward(RetrievalReward(), annotator, environments=1)
    total = 0.0
    for steps in episodes:
        online.begin(Starts(environments=np.array([0]), messages=as_bytes("")))
        for _, step, _, _ in steps:
            online.observe(
                Arrivals(
                    dones=np.array([False]), valid=np.array([True]), messages=as_bytes(lock.texts[step.messages[0]])
                )
            )
        found = np.array([paid[0] for _, _, paid, _ in steps])
        np.testing.assert_allclose(found, 0.4 * online.rewards()[:, 0], rtol=1e-12)
        total += found.sum()
        online._ended = {0}
        online.update()
    assert total > 0
    assert len(online.model.labels) > 20


@pytest.mark.parametrize(
    ("source", "kind", "options"),
    [
        ("states", LifelongCounts, {}),
        ("state_actions", LifelongCounts, {"key": "state_actions"}),
        ("first_visits", EpisodicFirstVisit, {}),
        ("product", ProductCounts, {}),
    ],
)
def test_rooms_pay_what_the_library_pays(source, kind, options):
    rewards = [LockReward(source="none"), LockReward(source=source, coefficient=0.7)]
    episodes = record(LOCK, rewards, LearnerSettings(), 25)
    library, lane, opened = kind(environments=1, bonus=0.7, **options), 1, 0
    for steps in episodes:
        library.begin(Starts(environments=np.array([0]), keys=[key(0)]))
        for actions, step, _, live in steps:
            library.observe(
                Arrivals(
                    dones=step.dones[lane : lane + 1],
                    valid=live[lane : lane + 1],
                    keys=[key(step.rooms[lane])],
                    actions=actions[lane : lane + 1],
                )
            )
        found = np.array([paid for _, _, paid, _ in steps])
        np.testing.assert_allclose(found[:, lane], library.rewards()[:, 0], rtol=1e-12)
        assert not found[:, 0].any()
        library.update()
        opened += bool(steps[-1][1].dones[lane])
    assert opened


@pytest.mark.parametrize("gated", [False, True])
def test_novelty_pays_what_the_library_pays(gated):
    reward = LockReward(source="novelty", coefficient=2.0, learning_rate=1e-2, steps=3, gated=gated)
    novelty = RoomNovelty(LOCK, [LockReward(source="none"), reward, reward], [0, 7, 8])
    library = room_distillation(LOCK, reward, 8)
    library = FirstVisitGate(library, environments=1) if gated else library
    rng = np.random.default_rng(0)
    for end in (9, 2, 11, 4, 1, 8):  # long and short ones: Adam would not notice a wrong scale that never changes
        rooms, live = rng.integers(0, 5, (12, 3)), np.ones((12, 3), bool)
        live[end:, 2] = False
        novelty.begin()
        library.begin(Starts(environments=np.array([0]), keys=[key(0)]))
        for room, runs in zip(rooms, live, strict=True):
            novelty.observe(_arrived(room), runs)
            if runs[2]:
                library.observe(
                    Arrivals(
                        dones=np.array([False]),
                        valid=np.array([True]),
                        next_observations=np.eye(5, dtype=np.float32)[room[2:]],
                        keys=[key(room[2])],
                    )
                )
        found = novelty.learn()
        expected = library.rewards()[:, 0]
        np.testing.assert_allclose(found[:end, 2], 2.0 * expected, rtol=2e-4)
        assert not found[end:, 2].any()
        assert not found[:, 0].any()
        assert found[:, 1].any()
        library.update()


def _arrived(rooms):
    world = LockWorlds(LOCK, np.zeros((3, 5), np.int64))
    return world.step(np.ones(3, np.int64), np.ones(3), np.zeros(3, np.int64))._replace(rooms=rooms)


def test_lanes_do_not_touch_one_another():
    """A reward learns the same whoever learns beside it, and the same again."""
    settings, one = LearnerSettings(episodes=60), LockReward(source="retrieval", accuracy=0.9)
    alone = learn_locks(LOCK, [one], settings, seeds=2, rng=1)
    among = learn_locks(LOCK, [LockReward(source="oracle"), one, LockReward(source="states")], settings, seeds=3, rng=1)
    np.testing.assert_array_equal(alone[0], among[1, :2])
    assert alone.any()


def test_a_small_lock_is_opened_with_help_and_hardly_without():
    lock = MessageLock(rooms=9, distractors=10, steps=24)
    settings = LearnerSettings(episodes=150, exploration_episodes=50)
    without, helped = learn_locks(
        lock, [LockReward(source="none"), LockReward(source="oracle")], settings, seeds=6, rng=0
    )[..., -50:].mean((1, 2))
    assert helped > 0.9
    assert without < 0.6


def test_repeated_messages_pay_by_the_discount():
    pay = MessagePay(LOCK, [LockReward(source="oracle", exponent=3.0, coefficient=1.0)], [0])
    paid = [float(pay.rewards(np.array([2]), pay.count(np.array([2]), np.array([True])))[0]) for _ in range(3)]
    assert paid == pytest.approx([1, 1 / 8, 1 / 27])
    pay.begin()
    assert pay.rewards(np.array([2]), pay.count(np.array([2]), np.array([True])))[0] == 1


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: MessageLock(rooms=1), "rooms is 1"),
        (lambda: MessageLock(slip=1.5), "slip is 1.5"),
        (lambda: LockWorlds(LOCK, np.zeros((2, 4), int)), r"combinations has shape \(2, 4\), expected \(lanes, 5\)"),
        (lambda: LockReward(source="dreams"), "source is 'dreams', expected one of"),
        (lambda: LearnerSettings(update="never"), "update is 'never'"),
        (lambda: learn_locks(LOCK, [], LearnerSettings(), seeds=1, rng=0), "rewards is empty"),
        (
            lambda: learn_locks(LOCK, [LockReward(source="novelty")], LearnerSettings(), seeds=1, rng=0),
            'novelty learns at the end of an episode, expected update="episode"',
        ),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_bonus_of_no_lane_is_nothing():
    bonus = RoomBonus(LOCK, [LockReward(source="none")])
    bonus.begin()
    step = LockWorlds(LOCK, RIGHT).step(np.array([2]), np.ones(1), np.zeros(1, int))
    assert bonus.rewards(np.zeros(1, int), np.array([2]), step, np.ones(1, bool)).tolist() == [0]
