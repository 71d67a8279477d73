"""What a small language model can label: the parts of the experiment that need no model."""

import numpy as np
import pytest

from environments.nethack.message_stream import MessageStream
from llm_scale.experiments import small_annotator as study

TEXTS = ["", *(f"You kill the beast of size {n}!" for n in range(12)), *(f"$ - {n} gold pieces." for n in range(8))]
TEXTS += [f"You see {'very ' * n}old arrows." for n in range(30)]


@pytest.fixture
def sample(monkeypatch):
    ids = np.arange(len(TEXTS))
    monkeypatch.setattr(study, "play_at_random", lambda steps, seed: MessageStream(TEXTS, ids, ids, ids))
    return study.drawn(study.SIZES["smoke"], seed=3)


def test_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, 40).astype(float), rng.integers(0, 2, 40)
    pairs = [(one > other) + (one == other) / 2 for one in scores[labels == 1] for other in scores[labels == 0]]
    assert np.isclose(study.ranking_area(scores, labels), np.mean(pairs))


def test_samples_hold_each_message_once_and_no_example(sample):
    shown = [text for text, _ in sample.examples]
    assert [label for _, label in sample.examples] == [1, 0, 1, 0]
    assert not set(shown) & set(sample.texts) and "" not in sample.texts and len(set(sample.texts)) == len(sample.texts)
    assert sample.labels.sum() == 18 and len(sample.labels) == 18 + 28
    assert all(
        (text[0] == "$" or "kill" in text) == label for text, label in zip(sample.texts, sample.labels, strict=True)
    )


def test_bag_of_words_counts_words_and_pairs():
    one, two, other = study.bag_of_words(["You kill it", "You kill it", "it kill it kill"])
    assert one.sum() == 6 and (one == two).all() and other.sum() == 8 and other.max() >= 2


def test_probes_see_no_label_of_what_they_are_asked_about(sample):
    """Vectors that name each message let a probe learn its own messages and nothing else."""
    rows = study.probed(study.SIZES["smoke"], "names", np.eye(len(sample.texts)), sample)
    areas = [value for part, of, *_, value in rows if part in ("area", "other kind")]
    assert len(areas) == 3 * (2 * 2 + 2) and np.allclose(areas, 0.5)


def test_the_other_kind_is_never_labelled(sample, monkeypatch):
    seen = []
    monkeypatch.setattr(
        study, "probe", lambda vectors, labels, train, test, penalty: seen.append((train, test)) or (test, 0)
    )
    study.other_kind("x", np.zeros((len(sample.texts), 1)), sample, split=0)
    for (train, test), kind in zip(seen, ("kill", "$"), strict=True):
        assert not set(train) & set(test)
        assert all((kind in sample.texts[place]) == sample.labels[place] for place in train)
        assert not any(kind in sample.texts[place] for place in test if sample.labels[place])
