"""Learning from labels, whole: games that end in every way, an annotator that fails in every way, PPO around them."""

from collections import defaultdict

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward
from rewardlab.intrinsic.annotation.process import AnnotationProcess
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.retrieval import RetrievalReward
from tests.adapters.intrinsic_worlds import learner, rollouts
from tests.intrinsic.annotation.fake_worker import GARBAGE, FakeWorker, truth

pytestmark = pytest.mark.filterwarnings("ignore:the annotator failed before its first label")

SAID = [
    b"",
    b"You kill it!",
    b"You kill the n\xe9wt!\xff",
    b"It is dark.",
    b"\x00\x01[\x80]",
    b"\x00You kill me \x00\x00",
]
SAID += [bytes(range(1, 256)) + b"!", b"You kill " + b"\x85\n\r" * 82]
ENDS = ("goes on", "goes on", "goes on", "dies", "succeeds", "is cut")  # how a step may end
FAILURES = ("die", "die late", "hang", "error", "late", *GARBAGE)


class Talking(gymnasium.Env):
    """Says what `script` has next as (message, ending), over and over; keeps what each step should be paid for.

    A death leaves nothing to be seen, and a message, of zeros or stale, that is none; a success and a cut leave one.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it
    observation_space = spaces.Dict(
        {"place": spaces.Box(0, 1, (1,), np.float32), "message": spaces.Box(0, 255, (256,), np.uint8)}
    )
    action_space = spaces.Discrete(2)

    def __init__(self, script, kept):
        self.script, self.kept, self.at = script, kept, 0
        self.counts = defaultdict(int)

    def _show(self, message):
        row = np.zeros(256, np.uint8)
        row[: len(message)] = np.frombuffer(message, np.uint8)
        return {"place": np.zeros(1, np.float32), "message": row}

    def _next(self):
        self.at += 1
        return self.script[self.at % len(self.script)]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.counts.clear()
        message, _ = self._next()
        self.counts[message.rstrip(b"\0")] += 1
        return self._show(message), {}

    def step(self, action):
        message, ending = self._next()
        if ending == "dies":
            self.kept.append((b"", 0))
            return self._show(message), 1.0, True, False, {"blank_observation": True}
        key = message.rstrip(b"\0")
        self.counts[key] += 1
        self.kept.append((key.replace(b"\0", b""), self.counts[key]))
        return self._show(message), 1.0, ending == "succeeds", ending == "is cut", {}


class Source(AnnotationProcess):
    """Labels from a worker in memory that fails as planned and is asked at `collect`, so late by a rollout or more."""

    def __init__(self, plan, **options):
        plan = list(plan)
        limits = {"batch": 3, "backoff": 0, "failures": 9999, "attempts": 9999, **options}
        super().__init__("x:y", _start=lambda: FakeWorker(plan, set()), **limits)
        self.delivered, self.at_pay = {}, {}

    def _begin(self):
        """No thread: turns are taken here."""

    def collect(self, step):
        self._dispatch.turn()
        answers = super().collect(step)
        assert not {item for item, _ in answers} & set(self.delivered), "labelled twice"
        self.delivered |= dict(answers)
        return answers

    def submit(self, items):
        self.at_pay = dict(self.delivered)  # the learner asks after it was paid, and before it learns
        super().submit(items)


def built(scripts, plan, exponent=3.0):
    """The vector, what each environment should be paid for, and the source."""
    kept, source = [[] for _ in scripts], Source(plan)
    worlds = DummyVecEnv([lambda pair=pair: Talking(*pair) for pair in zip(scripts, kept, strict=True)])
    reward = OnlineFeedbackReward(RetrievalReward(), source, environments=len(scripts), exponent=exponent)
    return VecIntrinsicReward(worlds, reward, coefficient=0.5, extrinsic_coefficient=0.25), kept, source


def owed(kept, labels, first, exponent=3.0):
    """What the labels delivered by now make of the steps from `first` on."""

    def pay(text, count):
        return labels.get(text.decode("latin-1"), 0) * float(count) ** -exponent if text and count else 0.0

    return np.array([[pay(*step) for step in one[first:]] for one in kept]).T


steps = st.lists(st.tuples(st.sampled_from(SAID), st.sampled_from(ENDS)), min_size=1, max_size=12)


@settings(max_examples=40)
@given(
    st.lists(steps, min_size=1, max_size=3),
    st.lists(st.sampled_from(["answer", *FAILURES]), max_size=12),
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.sampled_from([0.0, 1.0, 3.0]),
)
def test_what_is_paid_is_what_the_labels_delivered_by_then_say(scripts, plan, lengths, exponent):
    venv, kept, source = built(scripts, plan, exponent)
    venv.claim("this test")
    venv.reset()
    first = 0
    for length in lengths:
        for _ in range(length):
            assert (venv.step(np.zeros(len(scripts), int))[1] == 0.25).all()
        paid = venv.take()
        np.testing.assert_allclose(paid, 0.5 * owed(kept, source.at_pay, first, exponent), atol=1e-12)
        first += length
    assert list(source.delivered.values()) == truth(source.delivered)
    venv.close()


@pytest.mark.parametrize("failure", ["answer", *FAILURES])
def test_ppo_is_paid_rightly_whatever_befalls_the_annotator(failure):
    """Rollouts as the learner has them, over resets by the vector, with last states that were cut, blank or reached."""
    rng = np.random.default_rng(0)
    scripts = [[(SAID[rng.integers(len(SAID))], ENDS[rng.integers(len(ENDS))]) for _ in range(40)] for _ in range(2)]
    venv, kept, source = built(scripts, [failure, "answer", failure, failure])
    known = []
    submit = source.submit
    source.submit = lambda items: (submit(items), known.append(dict(source.at_pay)))
    collected = rollouts(learner(PPO, venv, gamma=0.0), count=10)  # nothing is added at cuts
    for place, (rollout, labels) in enumerate(zip(collected, known, strict=True)):
        expected = 0.25 + 0.5 * owed([one[: 8 * (place + 1)] for one in kept], labels, 8 * place)
        np.testing.assert_allclose(rollout["rewards"], expected, rtol=1e-6)
    assert set(source.delivered) == {text.decode("latin-1") for one in kept for text, _ in one} - {""}
    assert (np.concatenate([rollout["rewards"] for rollout in collected[-4:]]) > 0.25).any(axis=0).all()
    venv.close()


@pytest.mark.parametrize(("retry", "labels"), [(0.0, {"You kill it!": 1}), (3600.0, {})])
def test_an_annotator_that_was_down_is_tried_again(retry, labels):
    """A run of days must not stay without labels because its server was gone for a minute."""
    source = Source(["die", "die"], failures=2, retry=retry)
    source.submit(["You kill it!"])
    source.collect(0)
    with pytest.warns(RuntimeWarning, match="down after 2 failures in a row"):
        source.collect(0)
    source.submit([])
    source.collect(0)
    assert source.delivered == labels and source.statistics()["down"] == (not labels)
