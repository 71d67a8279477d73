import itertools
import math

import pytest
import torch

from llm_scale.models.loading import LoraSettings, load
from llm_scale.models.supervised import answer_probabilities, warm_up

SUMS = [(f"{a}+{b}=", str(a + b)) for a in range(0, 10, 3) for b in range(0, 10, 2)]


def log_probability(lm, prompt, answer):
    """Token by token, with nothing batched."""
    ids, total = lm.encode(prompt), 0.0
    for token in lm.encode_completion(answer):
        with torch.no_grad():
            total += lm.base(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token].item()
        ids = [*ids, token]
    return total


def frozen_step(lm, demonstrations):
    """The loss of all demonstrations, by one step that changes next to nothing."""
    return warm_up(lm, demonstrations, steps=1, batch_size=len(demonstrations), learning_rate=1e-12)[0]


def test_the_loss_is_the_mean_over_the_answers_tokens_ends_included():
    lm = load("tiny-test")
    demonstrations = [("2+3=", "5"), ("Is it so?", ""), ("10+90=", "100"), ("x", "yz")]
    total = sum(log_probability(lm, *pair) for pair in demonstrations)
    assert frozen_step(lm, demonstrations) == pytest.approx(-total / (2 + 1 + 4 + 3), rel=1e-5)


def test_answer_probabilities_are_those_of_single_answers():
    lm = load("tiny-test")
    demonstrations = [("2+3=", "5"), ("Is it so?", ""), ("x", "yz")] * 50  # more than are computed at once
    expected = torch.tensor([log_probability(lm, *pair) for pair in demonstrations[:3]] * 50).exp()
    torch.testing.assert_close(answer_probabilities(lm, demonstrations), expected, rtol=1e-4, atol=0)


def test_answers_of_all_lengths_add_up_to_one():
    lm = load("tiny-test")
    with torch.no_grad():  # only the end and one digit can be said
        lm.base.lm_head.weight = torch.nn.Parameter(torch.zeros_like(lm.base.lm_head.weight))
        lm.base.lm_head.bias = torch.nn.Parameter(torch.full((99,), -1e4))
        lm.base.lm_head.bias[[1, 25]] = 0.0
    answers = answer_probabilities(lm, [("2+3=", "5" * length) for length in range(20)])
    torch.testing.assert_close(answers, 0.5 ** torch.arange(1, 21))


@pytest.mark.parametrize("matrix_learning_rate", [None, 2e-2])
def test_demonstrations_are_learned(matrix_learning_rate):
    lm = load("tiny-test")
    before = answer_probabilities(lm, SUMS).mean()
    losses = warm_up(lm, SUMS, steps=60, batch_size=20, learning_rate=1e-2, matrix_learning_rate=matrix_learning_rate)
    assert len(losses) == 60 and losses[-1] < 0.5 * losses[0]
    assert before < 0.01 < 0.2 < answer_probabilities(lm, SUMS).mean()
    assert not lm.model.training


def test_the_same_seed_gives_the_same_model():
    models = [load("tiny-test") for _ in range(3)]
    losses = [warm_up(lm, SUMS, steps=5, batch_size=4, seed=seed) for lm, seed in zip(models, (1, 1, 2), strict=True)]
    assert losses[0] == losses[1] != losses[2]
    assert all(torch.equal(*pair) for pair in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_every_demonstration_is_seen_once_before_any_is_seen_again():
    lm, few = load("tiny-test"), SUMS[:7]
    each = sorted(frozen_step(lm, [pair]) for pair in few)
    assert min(high - low for low, high in itertools.pairwise(each)) > 1e-4  # so that each is known by it
    seen = warm_up(lm, few, steps=14, batch_size=1, learning_rate=1e-12)
    for one_round in (seen[:7], seen[7:]):
        assert sorted(one_round) == pytest.approx(each, abs=1e-5)
    assert seen[:7] != pytest.approx(seen[7:], abs=1e-5)


def test_it_stops_where_it_was_told_to():
    lm = load("tiny-test")
    losses = warm_up(lm, SUMS, steps=300, batch_size=20, learning_rate=1e-2, matrix_learning_rate=2e-2, until=0.2)
    assert 3 < len(losses) < 300
    assert 0.2 <= answer_probabilities(lm, SUMS).mean() < 0.4


def test_only_adapters_are_trained_where_there_are_any():
    lm = load("tiny-test", lora=LoraSettings(rank=4))
    frozen = {name: value.clone() for name, value in lm.model.state_dict().items() if "lora" not in name}
    for matrix_learning_rate in (None, 1e-2):
        losses = warm_up(
            lm, SUMS, steps=20, batch_size=20, learning_rate=1e-2, matrix_learning_rate=matrix_learning_rate
        )
        assert losses[-1] < losses[0]
    assert all(torch.equal(value, frozen[name]) for name, value in lm.model.state_dict().items() if name in frozen)


def test_progress_is_told():
    told = []
    losses = warm_up(load("tiny-test"), SUMS, steps=3, on_step=lambda step, loss: told.append((step, loss)))
    assert told == list(enumerate(losses)) and all(math.isfinite(loss) for loss in losses)


def test_bad_input_is_named():
    lm = load("tiny-test")
    with pytest.raises(ValueError, match="demonstrations is empty"):
        warm_up(lm, [], steps=1)
    with pytest.raises(ValueError, match="demonstration 1 has 513 tokens, but 'tiny-test' has a context of 512"):
        warm_up(lm, [("2+3=", "5"), ("x" * 511, "5")], steps=1)
    with pytest.raises(ValueError, match="steps is 0"):
        warm_up(lm, SUMS, steps=0)
    with pytest.raises(ValueError, match="batch_size 0, expected at least 1"):
        warm_up(lm, SUMS, steps=1, batch_size=0)
    with pytest.raises(ValueError, match=r"until is 1\.2"):
        warm_up(lm, SUMS, steps=1, until=1.2)
    with pytest.raises(TypeError, match="completion: expected text, got int"):
        warm_up(lm, [("2+3=", 5)], steps=1)
