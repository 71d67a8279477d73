import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from llm_scale.models.loading import LoraSettings, load
from llm_scale.training_pass.forward import TrainingPass, completion_features, completion_log_probs
from tests.llm_scale.training_pass.batches import batch, row_by_row, tiny

PASSES = [pytest.param(True, id="shared"), pytest.param(False, id="plain")]


def gradients(model, log_probs, seed=0):
    """Of a weighted sum of log-probabilities, every parameter's."""
    weights = torch.randn(log_probs.shape, dtype=log_probs.dtype, generator=torch.Generator().manual_seed(seed))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.autograd.grad((log_probs * weights).sum(), trained, allow_unused=True)


@pytest.mark.parametrize("shared_prefix", PASSES)
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_values_and_gradients_are_those_of_single_rows(shared_prefix, heads, tied):
    model = tiny(num_key_value_heads=heads, tie_word_embeddings=tied)
    prompts, ids, mask, group = batch()
    expected = row_by_row(model, prompts, ids, mask, group, temperature=0.7)
    found = completion_log_probs(model, prompts, ids, mask, group=group, temperature=0.7, shared_prefix=shared_prefix)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    for one, other in zip(gradients(model, found.log_probs), gradients(model, expected[0]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10 * max(1.0, float(other.abs().max())))


def test_single_precision_agrees_to_a_hundred_thousandth():
    model = tiny(torch.float32)
    prompts, ids, mask, group = batch((20, 11), ((9, 4, 7, 12), (1, 2, 12, 5)))
    passes = [completion_log_probs(model, prompts, ids, mask, group=group, shared_prefix=on) for on in (True, False)]
    torch.testing.assert_close(*(found.log_probs for found in passes), rtol=0, atol=1e-5)
    for shared, plain in zip(*(gradients(model, found.log_probs) for found in passes), strict=True):
        torch.testing.assert_close(shared, plain, rtol=0, atol=1e-5 * max(1.0, float(plain.abs().max())))


@settings(max_examples=25)
@given(st.data())
def test_any_lengths(data):
    prompts, group = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    lengths = st.lists(st.lists(st.integers(0, 5), min_size=group, max_size=group), min_size=prompts, max_size=prompts)
    prompt_lengths = data.draw(st.lists(st.integers(1, 6), min_size=prompts, max_size=prompts))
    arguments = batch(prompt_lengths, data.draw(lengths), width=data.draw(st.integers(5, 7)))
    shared, plain = (completion_log_probs(MODEL, *arguments[:3], group=group, shared_prefix=on) for on in (True, False))
    for one, other in zip(shared, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
        assert (one[~arguments[2]] == 0).all()


MODEL = tiny()


def test_prompts_may_be_split_or_reordered():
    prompts, ids, mask, group = batch((5, 3, 9), ((7, 1, 3), (4, 6, 2), (1, 1, 5)))
    whole = completion_log_probs(MODEL, prompts, ids, mask, group=group).log_probs
    for number, prompt in enumerate(prompts):
        rows = slice(number * group, (number + 1) * group)
        alone = completion_log_probs(MODEL, [prompt], ids[rows], mask[rows], group=group).log_probs
        torch.testing.assert_close(alone, whole[rows], rtol=0, atol=1e-10)
    order = torch.tensor([6, 7, 8, 0, 1, 2, 3, 4, 5])
    turned = completion_log_probs(MODEL, [prompts[2], *prompts[:2]], ids[order], mask[order], group=group).log_probs
    torch.testing.assert_close(turned, whole[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("shared_prefix", PASSES)
def test_padding_and_later_tokens_have_no_part(shared_prefix):
    prompts, ids, mask, group = batch()
    first = completion_log_probs(MODEL, prompts, ids, mask, group=group, shared_prefix=shared_prefix).log_probs
    other = ids.masked_fill(~mask, 60)
    other[0, 4:] = 1
    second = completion_log_probs(MODEL, prompts, other, mask, group=group, shared_prefix=shared_prefix).log_probs
    torch.testing.assert_close(first[0, :4], second[0, :4], rtol=0, atol=1e-12)
    torch.testing.assert_close(first[1:], second[1:], rtol=0, atol=1e-12)
    assert not torch.allclose(first[0, 4:], second[0, 4:])


def test_each_prompt_and_no_padding_goes_through_the_model():
    seen = []
    prompts, ids, mask, group = batch((5, 3), ((7, 1, 3), (4, 6, 2)))
    handle = MODEL.model.embed_tokens.register_forward_hook(lambda module, given, out: seen.append(given[0].numel()))
    completion_log_probs(MODEL, prompts, ids, mask, group=group)
    handle.remove()
    assert seen == [5 + 3 + (7 + 1 + 3 + 4 + 6 + 2) - 6]  # the last token of a completion predicts nothing


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_other_calls_of_the_model_are_as_before(attention):
    model, untouched = tiny(attn_implementation=attention), tiny(attn_implementation=attention)
    prompts, ids, mask, group = batch()
    completion_log_probs(model, prompts, ids, mask, group=group)
    completion_log_probs(model, prompts, ids, mask, group=group)
    tokens = ids.clamp(min=1)
    attended = torch.flip(mask, [1])
    for options in ({}, {"attention_mask": attended}):
        found, expected = (one(tokens, **options).logits for one in (model, untouched))
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)  # rows that attend to nothing
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    start = torch.tensor([prompts[0]])
    attended = torch.ones_like(start)
    assert torch.equal(
        model.generate(start, attention_mask=attended, **options),
        untouched.generate(start, attention_mask=attended, **options),
    )
    assert "shared_prefix" not in str(model.config.to_dict())


def test_gradient_checkpointing_runs_the_same_attention_again():
    model = tiny()
    prompts, ids, mask, group = batch()
    expected = gradients(model, completion_log_probs(model, prompts, ids, mask, group=group).log_probs)
    model.train()
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    found = gradients(model, completion_log_probs(model, prompts, ids, mask, group=group).log_probs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shared_prefix", PASSES)
def test_adapters_are_trained_and_can_be_switched_off(shared_prefix):
    lm, bare = load("tiny-test", dtype="float64", lora=LoraSettings(rank=2)), load("tiny-test", dtype="float64")
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    arguments = batch()
    options = {"group": arguments[3], "shared_prefix": shared_prefix}
    expected, _ = row_by_row(lm.model, *arguments)
    found = completion_log_probs(lm, *arguments[:3], **options).log_probs
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # norms of the library are float32
    for one, other in zip(gradients(lm.model, found), gradients(lm.model, expected), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    for model in (lm.model, lm.base):
        again = completion_log_probs(model, *arguments[:3], **options).log_probs
        torch.testing.assert_close(again, found, rtol=0, atol=1e-12)
    plain = completion_log_probs(bare, *arguments[:3], **options).log_probs
    assert (plain - found).abs().max() > 1e-3
    with lm.reference() as model:
        torch.testing.assert_close(completion_log_probs(model, *arguments[:3], **options).log_probs, plain)


def test_a_later_llama_like_model_shares_its_prompts_too():
    model = tiny(model=Qwen3ForCausalLM, config=Qwen3Config, head_dim=8)
    arguments = batch()
    found = completion_log_probs(model, *arguments[:3], group=arguments[3])
    torch.testing.assert_close(found.log_probs, row_by_row(model, *arguments)[0], rtol=0, atol=1e-9)


def test_a_sliding_window_is_refused_with_its_reason_and_computed_plainly():
    model = tiny(model=MistralForCausalLM, config=MistralConfig, sliding_window=4, head_dim=8)
    arguments = batch()
    with pytest.warns(UserWarning, match="sliding window of 4 tokens"):
        found = completion_log_probs(model, *arguments[:3], group=arguments[3])
    torch.testing.assert_close(found.log_probs, row_by_row(model, *arguments)[0], rtol=0, atol=1e-9)


def test_absolute_positions_are_counted_from_the_prompt():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64)).eval()
    arguments = batch()
    found = completion_log_probs(model, *arguments[:3], group=arguments[3])
    torch.testing.assert_close(found.log_probs, row_by_row(model, *arguments)[0], rtol=0, atol=1e-5)


def test_the_module_is_the_function():
    lm = load("tiny-test")
    prompts, ids, mask, group = batch()
    found = TrainingPass(lm)(prompts, ids, mask, group, 0.5)
    expected = completion_log_probs(lm, prompts, ids, mask, group=group, temperature=0.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("shared_prefix", PASSES)
def test_features_are_the_last_hidden_states(shared_prefix):
    prompts, ids, mask, group = batch()
    options = {"group": group, "shared_prefix": shared_prefix}
    last = completion_features(MODEL, prompts, ids, mask, **options)
    every = completion_features(MODEL, prompts, ids, mask, positions="all", **options)
    assert last.shape == (6, 32) and every.shape == (6, 7, 32)
    for row, own in enumerate(mask):
        prompt = torch.tensor(prompts[row // group])
        hidden = MODEL.model(torch.cat([prompt, ids[row][own]])[None]).last_hidden_state[0]
        torch.testing.assert_close(last[row], hidden[-1], rtol=0, atol=1e-10)
        torch.testing.assert_close(every[row][own], hidden[len(prompt) :], rtol=0, atol=1e-10)
        assert (every[row][~own] == 0).all()


def test_features_of_the_third_place_are_refused():
    prompts, ids, mask, group = batch()
    with pytest.raises(ValueError, match=r"positions is 'mean', expected \"last\" or \"all\""):
        completion_features(MODEL, prompts, ids, mask, group=group, positions="mean")


@pytest.mark.parametrize("shared_prefix", PASSES)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, i, m, g: ([p[0], []], i, m, g), ValueError, r"prompts\[1\] is empty"),
        (lambda p, i, m, g: ([], i, m, g), ValueError, "0 prompts of 3"),
        (lambda p, i, m, g: (p, i[:5], m, g), ValueError, r"ids \(5, 7\) and mask \(6, 7\): expected \(6, T\)"),
        (lambda p, i, m, g: (p, i, m[:, :3], g), ValueError, r"mask \(6, 3\)"),
        (lambda p, i, m, g: (p, i, m, 2), ValueError, "expected \\(4, T\\), 2 completions for each of 2 prompts"),
        (lambda p, i, m, g: (p, i, m.flip(1), g), ValueError, r"mask\[1\] has a gap, expected the completion's 1"),
        (lambda p, i, m, g: (p, i, m.long(), g), TypeError, "mask is torch.int64, expected torch.bool"),
        (lambda p, i, m, g: (p, i.clamp(min=61), m, g), ValueError, r"ids\[0, 0\] is 61, expected 0 to 60"),
        (
            lambda p, i, m, g: ([p[0], [1, -1]], i, m, g),
            ValueError,
            r"prompts\[1\] has tokens -1 to 1, expected 0 to 60",
        ),
    ],
)
def test_bad_batches_are_named(shared_prefix, change, error, message):
    prompts, ids, mask, group = change(*batch())
    with pytest.raises(error, match=message):
        completion_log_probs(MODEL, prompts, ids, mask, group=group, shared_prefix=shared_prefix)


def test_adapters_that_change_the_input_are_refused():
    peft = pytest.importorskip("peft")
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    prompts, ids, mask, group = batch()
    with pytest.raises(ValueError, match="adds tokens to the input, expected adapters in the layers"):
        completion_log_probs(peft.get_peft_model(tiny(), settings), prompts, ids, mask, group=group)


def test_bad_models_are_named():
    prompts, ids, mask, group = batch()
    with pytest.raises(TypeError, match="model is a LlamaModel, expected a causal language model"):
        completion_log_probs(MODEL.model, prompts, ids, mask, group=group)
    biased = tiny()
    biased.lm_head = torch.nn.Linear(32, 61, bias=True)
    with pytest.raises(ValueError, match=r"LlamaForCausalLM: its head is Linear.*bias=True"):
        completion_log_probs(biased, prompts, ids, mask, group=group)


@pytest.mark.slow
def test_smollm2_shared_and_plain_agree():
    lm = load("smollm2")
    prompts = [lm.encode("What is 3 + 5? Answer with the number only."), lm.encode("Say hello.")]
    texts = ["8", "The sum is 8.", "Hello!", "Hello to you, my friend."]
    rows = [lm.encode_completion(text) for text in texts]
    ids = torch.tensor([row + [lm.pad_id] * (12 - len(row)) for row in rows])
    mask = torch.arange(12) < torch.tensor([[len(row)] for row in rows])
    found = []
    for shared_prefix in (True, False):
        lm.model.zero_grad()
        log_probs, entropies = completion_log_probs(lm, prompts, ids, mask, group=2, shared_prefix=shared_prefix)
        (log_probs.sum() / mask.sum()).backward()
        found.append((log_probs.detach(), entropies, [parameter.grad.clone() for parameter in lm.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-4)  # log-probabilities reach -20
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-4)
    norm = torch.sqrt(sum((grad**2).sum() for grad in found[1][2]))
    difference = torch.sqrt(
        sum(((one - other) ** 2).sum() for one, other in zip(found[0][2], found[1][2], strict=True))
    )
    assert difference < 1e-5 * norm
