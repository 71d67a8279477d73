import itertools

import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy import stats
from transformers import LlamaConfig, MistralConfig

from llm_scale.models.loading import load
from llm_scale.rollouts import cached_engine
from llm_scale.rollouts.sampling import sample
from tests.llm_scale.rollouts.models import CONFIGS, END, PROMPTS, SHAPE, around, gpt2, language_model, teacher_forced

ENGINES = ["cached", "generate"]
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def draw(lm, prompts=PROMPTS, seed=0, **options):
    options = {"group": 3, "max_new_tokens": 12, "generator": torch.Generator().manual_seed(seed)} | options
    return sample(lm, prompts, **options)


def assert_same(one, other, tolerance=1e-5):
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.mask, other.mask)
    assert torch.equal(one.ended, other.ended)
    torch.testing.assert_close(one.log_probs.float(), other.log_probs.float(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("name", CONFIGS)
def test_both_engines_draw_the_same_samples(name, temperature):
    lm = language_model(CONFIGS[name])
    cached, generated = (draw(lm, temperature=temperature, engine=engine) for engine in ENGINES)
    assert_same(cached, generated)
    assert len(set(cached.lengths.tolist())) > 1 or temperature == 0  # some ended before others


@pytest.mark.parametrize("new_tokens", [3, 12])  # weights as they are, and packed
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("name", CONFIGS)
def test_log_probs_are_those_of_a_forward_pass(name, temperature, dtype, new_tokens):
    lm = language_model(CONFIGS[name], dtype)
    completions = draw(lm, temperature=temperature, engine="cached", max_new_tokens=new_tokens)
    assert completions.log_probs.dtype == dtype
    expected = teacher_forced(lm, completions, temperature)
    torch.testing.assert_close(completions.log_probs, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("engine", ENGINES)
def test_generate_without_a_processor_takes_the_same_greedy_tokens(engine):
    """Against `generate` as anyone calls it, one prompt at a time: no padding, no group, no processor of ours."""
    lm = language_model(CONFIGS["llama"])
    completions = draw(lm, temperature=0.0, engine=engine, group=2)
    for row in range(completions.samples):
        prompt = completions.prompt_of(row)
        output = lm.model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=END, pad_token_id=0
        )
        assert output[0, len(prompt) :].tolist() == completions.completion_of(row)


@pytest.mark.parametrize("engine", ENGINES)
def test_samples_have_the_exact_probabilities_of_the_model(engine):
    """All completions of at most two tokens, counted over many samples, against products of the model's softmax."""
    shape = CONFIGS["llama"].to_dict() | {"vocab_size": 5}
    lm = language_model(type(CONFIGS["llama"]).from_dict(shape), sharpness=10.0)
    prompt, group = [3, 4, 1], 20_000 if engine == "cached" else 10_000
    with torch.no_grad():
        first = lm.model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
        second = lm.model(torch.tensor([[*prompt, token] for token in range(5)])).logits[:, -1].double().softmax(-1)
    texts = [(a, b) for a, b in itertools.product(range(5), repeat=2) if a != END]
    exact = torch.tensor([first[END], *(first[a] * second[a, b] for a, b in texts)])
    completions = draw(lm, [prompt], group=group, max_new_tokens=2, engine=engine)
    keys = {text: index + 1 for index, text in enumerate(texts)}
    seen = [
        keys.get(tuple(ids), 0) if mask[1] else 0
        for ids, mask in zip(completions.ids.tolist(), completions.mask, strict=True)
    ]
    counts = torch.tensor(seen).bincount(minlength=len(exact))
    assert (exact * group).min() > 5
    assert stats.chisquare(counts, exact * group).pvalue > 0.001
    torch.testing.assert_close(completions.log_probs.sum(1).double(), exact.log()[seen], rtol=0, atol=1e-5)


def test_a_sample_does_not_depend_on_when_others_end():
    """The same generator and batch with an end token that nobody draws: what came before an end is unchanged."""
    lm = language_model(CONFIGS["llama"])
    ending = draw(lm)
    lm.end_ids = (22, END + 100)
    endless = draw(lm)
    first = [row for row in range(ending.samples) if 22 not in endless.ids[row].tolist()]
    assert len(first) > 3
    for row in first:
        length = ending.lengths[row]
        assert torch.equal(ending.ids[row, :length], endless.ids[row, :length])
        torch.testing.assert_close(ending.log_probs[row, :length], endless.log_probs[row, :length])


def test_same_seed_same_samples_and_another_seed_others():
    lm = language_model(CONFIGS["llama"])
    assert_same(draw(lm, seed=1), draw(lm, seed=1), tolerance=0)
    assert not torch.equal(draw(lm, seed=1).ids[:, :3], draw(lm, seed=2).ids[:, :3])


def test_the_global_random_numbers_are_left_alone():
    lm = language_model(CONFIGS["llama"])
    before = torch.get_rng_state()
    for engine in ENGINES:
        draw(lm, engine=engine)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_follows_the_end_is_padding():
    lm = language_model(CONFIGS["llama"])
    completions = draw(lm, group=20)
    assert completions.ended.any() and not completions.ended.all()
    for row in range(completions.samples):
        ids, length = completions.ids[row].tolist(), int(completions.lengths[row])
        assert (END in ids) == bool(completions.ended[row])
        assert length == (ids.index(END) + 1 if END in ids else 12)
        assert set(ids[length:]) <= {0}
        assert (completions.log_probs[row, length:] == 0).all()
        assert (completions.log_probs[row, :length] < 0).all()


def test_an_end_at_once_is_a_completion_of_one_token():
    lm = language_model(CONFIGS["llama"])
    lm.end_ids = tuple(range(23))
    completions = draw(lm)
    assert completions.ids.shape == (12, 1)
    assert completions.mask.all() and completions.ended.all()


@pytest.mark.parametrize("engine", ENGINES)
def test_several_tokens_may_end_a_completion(engine):
    lm = language_model(CONFIGS["llama"])
    lm.end_ids = (END, 7, 9)
    completions = draw(lm, group=10, engine=engine)
    last = completions.ids[torch.arange(40), completions.lengths - 1][completions.ended]
    assert {7, 9} & set(last.tolist())
    assert set(last.tolist()) <= {END, 7, 9}
    assert not torch.isin(completions.ids[:, :-1][completions.mask[:, 1:]], torch.tensor([END, 7, 9])).any()


@pytest.mark.parametrize("budget", [1, 8, 1000])
def test_prompts_in_several_chunks_give_the_same(monkeypatch, budget):
    lm = language_model(CONFIGS["llama"])
    expected = draw(lm)
    monkeypatch.setattr(cached_engine, "PREFILL_TOKENS", budget)
    monkeypatch.setattr(cached_engine, "HEAD_ROWS", 5)
    assert_same(draw(lm), expected)


def test_one_prompt_of_a_batch_is_sampled_as_alone():
    lm = language_model(CONFIGS["llama"])
    together = draw(lm, temperature=0.0, group=1)
    for number, prompt in enumerate(PROMPTS):
        alone = draw(lm, [prompt], temperature=0.0, group=1)
        assert alone.completion_of(0) == together.completion_of(number)


@pytest.fixture(params=["llama", "llama, biases"])
def adapted(request):
    lm = language_model(CONFIGS[request.param], torch.float64)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(lm.base, LoraConfig(r=4, lora_alpha=16, lora_dropout=0.5, target_modules=targets))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return around(model, model.get_base_model())


def test_adapters_count_when_on_and_not_when_off(adapted):
    on = draw(adapted, engine="cached")
    torch.testing.assert_close(on.log_probs, teacher_forced(adapted, on), rtol=0, atol=2e-7)  # adapters in float32
    with adapted.model.disable_adapter():
        off = draw(adapted, engine="cached")
        torch.testing.assert_close(off.log_probs, teacher_forced(adapted, off), rtol=0, atol=1e-9)
    assert not torch.equal(on.ids[:, :3], off.ids[:, :3])
    assert_same(on, draw(adapted, engine="generate"))


def test_dropout_is_off_while_sampling_and_back_on_afterwards(adapted):
    expected = draw(adapted)
    adapted.model.train()
    for engine in ENGINES:
        assert_same(draw(adapted, engine=engine), expected)
        assert all(module.training for module in adapted.base.modules())


def test_other_architectures_fall_back_to_generate():
    lm = gpt2()
    completions = draw(lm)
    torch.testing.assert_close(completions.log_probs, teacher_forced(lm, completions), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"engine 'cached' does not work for this model: its architecture is 'gpt2'"):
        draw(lm, engine="cached")


@pytest.mark.parametrize(
    ("targets", "options", "reason"),
    [
        (["q_proj"], {"use_dora": True}, r"layers\[0\].q_proj is a peft.tuners.lora.layer.Linear, expected"),
        (["embed_tokens", "v_proj"], {}, r"its embedding is a peft.tuners.lora.layer.Embedding"),
        (["v_proj"], {"modules_to_save": ["lm_head"]}, r"lm_head is a peft.utils.other.ModulesToSaveWrapper"),
    ],
)
def test_adapters_that_are_not_plain_lora_are_left_to_generate(targets, options, reason):
    lm = language_model(CONFIGS["llama, no groups, own head"])
    model = get_peft_model(lm.base, LoraConfig(r=2, target_modules=targets, **options))
    lm = around(model, model.get_base_model())
    with pytest.raises(ValueError, match=reason):
        draw(lm, engine="cached")
    completions = draw(lm)
    torch.testing.assert_close(completions.log_probs, teacher_forced(lm, completions), rtol=0, atol=1e-4)


def test_a_sliding_window_and_changing_angles_are_left_to_generate():
    window = MistralConfig(**SHAPE, sliding_window=4)
    changing = LlamaConfig(**SHAPE, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    for config, reason in ((window, "within a sliding window"), (changing, "rotary embedding is of type 'dynamic'")):
        with pytest.raises(ValueError, match=reason):
            draw(language_model(config), engine="cached")


def test_generation_settings_of_the_model_do_not_interfere():
    lm = language_model(CONFIGS["llama"])
    expected = draw(lm, temperature=0.0, engine="cached")
    lm.base.generation_config.repetition_penalty = 5.0
    lm.base.generation_config.suppress_tokens = expected.ids[:, 0].unique().tolist()
    settings = lm.base.generation_config
    assert_same(draw(lm, temperature=0.0, engine="generate"), expected)
    assert lm.base.generation_config is settings


def test_samples_can_be_trained_on():
    """Nothing of inference mode sticks to them: they enter a differentiable loss."""
    lm = language_model(CONFIGS["llama"])
    completions = draw(lm)
    weight = torch.ones((), requires_grad=True)
    (completions.log_probs * weight).sum().backward()
    assert weight.grad is not None
    assert not completions.ids.is_inference()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prompts": []}, ValueError, "prompts is empty, expected at least one prompt"),
        ({"prompts": [[1], []]}, ValueError, r"prompts\[1\] is empty, expected at least one token"),
        (
            {"prompts": [[1], [3] * 60]},
            ValueError,
            r"prompts\[1\] has 60 tokens, and with max_new_tokens 12 .* context of 64, expected at most 52",
        ),
        ({"prompts": ["text"]}, TypeError, "prompts: expected lists of token ids, got text"),
        ({"group": 0}, ValueError, "group is 0, expected a whole number of at least 1"),
        ({"max_new_tokens": 2.0}, ValueError, "max_new_tokens is 2.0, expected a whole number"),
        ({"temperature": -1.0}, ValueError, "temperature is -1.0, expected a finite number"),
        ({"temperature": float("nan")}, ValueError, "temperature is nan, expected a finite number"),
        ({"engine": "fast"}, ValueError, "engine is 'fast', expected 'auto', 'cached' or 'generate'"),
    ],
)
def test_bad_input_is_named(options, error, message):
    lm = language_model(CONFIGS["llama"])
    with pytest.raises(error, match=message):
        draw(lm, **{"prompts": PROMPTS} | options)


@pytest.mark.parametrize("engine", ["cached", "generate"])
def test_another_number_type_rounds_the_computation_and_not_the_model(engine):
    lm = load("tiny-test")
    prompts = [lm.encode("1+2="), lm.encode("30+4=")]
    before = [weight.clone() for weight in lm.model.parameters()]
    options = {"group": 2, "max_new_tokens": 8, "temperature": 0.0, "generator": torch.Generator(), "engine": engine}
    exact = sample(lm, prompts, **options)
    rough = sample(lm, prompts, dtype=torch.bfloat16, **options)
    assert rough.log_probs.dtype == torch.float32
    assert torch.allclose(rough.log_probs[:, 0], exact.log_probs[:, 0], atol=0.05)
    assert not torch.equal(rough.log_probs[:, 0], exact.log_probs[:, 0])
    assert all(torch.equal(one, other) for one, other in zip(before, lm.model.parameters(), strict=True))


@pytest.mark.parametrize("group", [1, 3])
def test_one_prompt_is_enough(group):
    lm = load("tiny-test")
    options = {"group": group, "max_new_tokens": 6, "temperature": 0.0, "generator": torch.Generator()}
    one, other = (sample(lm, [lm.encode("12+3=")], engine=engine, **options) for engine in ("cached", "generate"))
    assert torch.equal(one.ids, other.ids)
