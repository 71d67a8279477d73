import pytest
import torch

from llm_scale.models.loading import load
from llm_scale.reward_models import features as module
from llm_scale.reward_models.features import answer_features, block_number, token_features

PROMPTS = ["2+3=", "2+3=", "12+3=", "7+3=", "2+3="]
ANSWERS = ["5", "55 no", "15", "10\n", "5"]


@pytest.fixture(scope="module")
def lm():
    return load("tiny-test")


def encoded(lm):
    return [lm.encode(text) for text in PROMPTS], [lm.encode_completion(text) for text in ANSWERS]


def plainly(lm, prompt, completion, layer):
    """One sample by itself, without cache; blocks as the library numbers them, the last one before the final norm."""
    kept = []
    block = lm.base.model.layers[layer - 1] if layer else lm.base.model.embed_tokens
    handle = block.register_forward_hook(lambda module, arguments, output: kept.append(output))
    with torch.no_grad():
        lm.base(torch.tensor([[*prompt, *completion]]), use_cache=False)
    handle.remove()
    hidden = kept[0][0] if kept[0].ndim == 3 else kept[0]
    hidden = hidden[len(prompt) :]
    return hidden / (hidden.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("layers", [(0,), (1,), (2,), (2, 0, 1)])
@pytest.mark.parametrize("batch_tokens", [1, 20, 4096])
def test_features_are_the_hidden_states_of_each_sample_alone(lm, layers, batch_tokens):
    prompts, completions = encoded(lm)
    positions = [list(range(len(ids))) for ids in completions]
    found = token_features(lm, prompts, completions, positions, layers=layers, batch_tokens=batch_tokens)
    expected = [
        torch.cat([plainly(lm, *sample, layer) for layer in layers], dim=-1)
        for sample in zip(prompts, completions, strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(expected), atol=2e-5, rtol=1e-5)
    assert found.dtype == torch.float32 and not found.requires_grad


def test_positions_pick_rows_in_their_order(lm):
    prompts, completions = encoded(lm)
    every = token_features(lm, prompts, completions, [list(range(len(ids))) for ids in completions])
    starts = [sum(map(len, completions[:row])) for row in range(5)]
    found = token_features(lm, prompts, completions, [[1, 0], [], [2], [], [1]])
    torch.testing.assert_close(found, every[[starts[0] + 1, starts[0], starts[2] + 2, starts[4] + 1]])


def test_answers_are_read_at_their_last_token(lm):
    prompts, completions = encoded(lm)
    last = token_features(lm, prompts, completions, [[len(ids) - 1] for ids in completions])
    torch.testing.assert_close(answer_features(lm, prompts, completions), last)


def test_layers_count_from_both_ends(lm):
    prompts, completions = encoded(lm)
    assert [block_number(lm, layer) for layer in (0, 1, 2, -1, -2)] == [0, 1, 2, 2, 1]
    one, other = (answer_features(lm, prompts, completions, layers=[layer]) for layer in (2, -1))
    assert torch.equal(one, other)


def test_blocks_above_the_deepest_are_not_run(lm):
    ran = []
    handles = [
        block.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, block in enumerate(lm.base.model.layers, 1)
    ]
    answer_features(lm, *encoded(lm), layers=[1])
    [handle.remove() for handle in handles]
    assert set(ran) == {1}
    assert not any(block._forward_hooks for block in lm.base.model.layers)


def test_each_prompt_is_computed_once_a_batch_and_its_common_beginning_once(lm, monkeypatch):
    seen = []
    run = lm.base.model.forward
    monkeypatch.setattr(
        lm.base.model, "forward", lambda **kw: (seen.append(tuple(kw["input_ids"].shape)), run(**kw))[1]
    )
    prompts = ["12+34=", "12+34=", "12+5=", "12+77=", "3+4="]
    completions = encoded(lm)[1]
    answer_features(lm, [lm.encode(prompt) for prompt in prompts], completions)
    # "12+" once, what is left of two prompts, three answers; then the prompts that are alone in their length
    assert seen == [(1, 3), (2, 3), (3, 6), (1, 5), (1, 3), (1, 4), (1, 2)]


def test_a_prompt_that_begins_with_all_of_another_is_none_of_equal_length(lm):
    assert module._common([(1, 2, 3), (1, 2, 4)]) == 2 and module._common([(1, 2)]) == 0
    assert module._common([(2, 1), (1, 1)]) == 0


def test_a_model_in_training_mode_stays_in_it(lm):
    lm.base.train()
    answer_features(lm, *encoded(lm))
    assert lm.base.training
    lm.base.eval()


def test_batches_keep_to_the_number_of_tokens(lm):
    prompts = [[1] * 3, [2] * 3] * 10
    completions = [[1] * (1 + row % 4) for row in range(20)]
    batches = list(module._batches(prompts, completions, 24))
    assert sorted(row for batch in batches for row in batch) == list(range(20))
    for batch in batches:
        distinct = len({tuple(prompts[row]) for row in batch})
        assert distinct * 3 + len(batch) * max(len(completions[row]) for row in batch) <= 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, c, q: (p[:2], c, q), "2 prompts, 5 completions and 5 lists of positions"),
        (lambda p, c, q: (p, [*c[:4], []], q), "sample 4 has an empty completion"),
        (lambda p, c, q: ([[], *p[1:]], c, q), "sample 0 has an empty prompt"),
        (lambda p, c, q: (p, c, [*q[:4], [9]]), r"positions\[4\] holds 9, but the completion has 2 tokens"),
        (lambda p, c, q: (p, c, [*q[:4], [-1]]), r"positions\[4\] holds -1"),
        (lambda p, c, q: (p, [*c[:1], [5] * 5000, *c[2:]], q), r"sample 1 has 4 \+ 5000 tokens, the context"),
    ],
)
def test_bad_samples_are_named(lm, change, message):
    prompts, completions = encoded(lm)
    with pytest.raises(ValueError, match=message):
        token_features(lm, *change(prompts, completions, [[0]] * 5))


@pytest.mark.parametrize("layer", [3, -3])
def test_unknown_blocks_are_refused(lm, layer):
    with pytest.raises(ValueError, match=r"layer is -?3, expected a whole number in \[-2, 2\]"):
        answer_features(lm, *encoded(lm), layers=[layer])
