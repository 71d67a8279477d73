"""Cosine rewards against worked vectors, and the packaged encoder's word form against its own embedding table."""

import numpy as np
import pytest

from rewardlab.intrinsic.cosine import CosineReward, packaged_encoder

VECTORS = {"goal": [3, 4], "same": [6, 8], "across": [-4, 3], "away": [-1, 0], "half": [1, 0], "nothing": [0, 0]}


class Table:
    """An encoder of known vectors that notes what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.extend(texts)
        return np.array([VECTORS[text] for text in texts], dtype=np.float32)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(-1.0, [1, 0, -0.6, 0.6, 0]), (0.0, [1, 0, 0, 0.6, 0]), (0.61, [1, 0, 0, 0, 0]), (1.0, [0, 0, 0, 0, 0])],
)
def test_pays_the_cosine_above_the_threshold_only(threshold, expected):
    model = CosineReward(Table(), "goal", threshold=threshold)
    np.testing.assert_allclose(model.rewards(["same", "across", "away", "half", "nothing"]), expected, atol=1e-7)


def test_the_threshold_itself_is_not_paid():
    assert CosineReward(Table(), "across", threshold=0.0).rewards(["goal", "same"]).tolist() == [0.0, 0.0]
    assert CosineReward(Table(), "half", threshold=1.0).rewards(["half"]).tolist() == [0.0]


def test_every_message_is_encoded_once_and_the_empty_one_never():
    encoder = Table()
    model = CosineReward(encoder, "goal", threshold=0.1)
    first = model.rewards(["half", "", "half", "same"])
    assert model.rewards(["same", "half", ""]).tolist() == [first[3], first[0], 0.0]
    assert encoder.asked == ["goal", "half", "same"]


def test_what_is_kept_is_bounded_and_changes_no_reward():
    encoder = Table()
    model, free = (
        CosineReward(encoder, "goal", threshold=0.1, maximum_kept=3),
        CosineReward(Table(), "goal", threshold=0.1),
    )
    for texts in (["half", "same"], ["across", "half"], ["same", "half", "across"], ["nothing"]):
        assert model.rewards(texts).tolist() == free.rewards(texts).tolist()
        assert len(model._kept) <= 4
    assert encoder.asked.count("half") == 3


def test_asks_and_learns_nothing():
    model = CosineReward(Table(), "goal", threshold=0.1)
    assert (model.requests(["half"]), model.receive([]), model.update()) == ([], {}, {})
    with pytest.raises(ValueError, match="answers has 1 entries, expected none"):
        model.receive([("half", 1)])
    CosineReward(Table(), "goal", threshold=0.1).load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match=r"state has goal and threshold \('goal', 0.1\), expected \('half', 0.1\)"):
        CosineReward(Table(), "half", threshold=0.1).load_state_dict(model.state_dict())


def test_bad_input(without_type_checks):
    with pytest.raises(ValueError, match="threshold is 2"):
        CosineReward(Table(), "goal", threshold=2)
    with pytest.raises(ValueError, match="goal is 'nothing', of which the encoder has no word"):
        CosineReward(Table(), "nothing", threshold=0.5)
    with pytest.raises(ValueError, match=r"encoder gave shape \(1,\) for 1 texts"):
        CosineReward(lambda texts: np.zeros(1), "goal", threshold=0.5)
    with pytest.raises(ValueError, match="form is 'letters', expected one of 'words', 'sentence'"):
        packaged_encoder("letters")


@pytest.mark.slow
def test_the_packaged_encoder(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words, sentence = packaged_encoder("words"), packaged_encoder("sentence")
    goal = "Descend the stairs."
    # the word form knows no order and no repetition of the whole, the sentence form does
    one, other, twice = words(["the stairs descend", "descend the stairs", "descend the stairs descend the stairs"])
    np.testing.assert_allclose(one, other, atol=1e-7)
    np.testing.assert_allclose(twice, other, atol=1e-7)
    np.testing.assert_allclose(words(["descend", "the", "stairs"]).mean(axis=0), other, atol=1e-7)
    assert not np.allclose(*sentence(["the stairs descend", "descend the stairs"]), atol=1e-3)
    assert words(["\x01"]).tolist() == [[0.0] * 384]
    for encoder in (words, sentence):
        model = CosineReward(encoder, goal, threshold=-1.0)
        near, far = model.rewards(["You descend the stairs.", "The kitten eats a corpse."])
        assert 1 > near > far + 0.1
        odd = ["\xe9\xff\x01", "".join(map(chr, range(1, 256))), "", "\x01"]
        assert np.isfinite(model.rewards(odd)).all()
        assert model.rewards([goal])[0] == pytest.approx(1.0, abs=1e-6)
