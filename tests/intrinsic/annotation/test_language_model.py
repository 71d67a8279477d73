"""Small language models as annotators: probes on hidden states, and prompts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_scale.models.loading import load
from llm_scale.models.tiny import character_tokenizer, tiny_model
from rewardlab.intrinsic.annotation.language_model import (
    EncoderProbeAnnotator,
    LanguageModelAnnotator,
    PromptAnnotator,
    ridge_probe,
)
from rewardlab.intrinsic.annotation.prompts import GOALS
from rewardlab.intrinsic.annotation.token_passes import answer_logits, hidden_means

KILLS = [f"You kill the {animal}!" for animal in ("newt", "jackal", "rat", "bat", "gnome", "kobold")]
OTHERS = [f"You see here {things}." for things in ("a dart", "six arrows", "a door", "gold?", "a sack", "an egg")]
EXAMPLES = [("You kill it!", 1), ("A door.", 0)]


@pytest.fixture(scope="module")
def lm():
    return tiny_model("tiny-test", seed=1).double(), character_tokenizer()


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 20), st.sampled_from([0.1, 1.0, 100.0]))
def test_ridge_probe_is_the_least_squares_solution_and_leaves_out_exactly(seed, count, width, penalty):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(count, width)), rng.integers(0, 2, count).astype(float)

    def naive(features, labels):
        design = np.column_stack([features, np.ones(len(labels))])
        penalties = np.diag([penalty] * width + [0.0])
        return np.linalg.solve(design.T @ design + penalties, design.T @ labels)

    weights, intercept, left_out = ridge_probe(features, labels, penalty)
    assert np.allclose([*weights, intercept], naive(features, labels), atol=1e-8)
    for place in range(count):
        rest = np.arange(count) != place
        expected = naive(features[rest], labels[rest]) @ [*features[place], 1.0]
        assert np.isclose(left_out[place], expected, atol=1e-7)


def test_hidden_means_are_those_of_texts_alone(lm):
    model, tokenizer = lm
    texts = [*KILLS, "", "a", OTHERS[0] * 3]
    found = hidden_means(model, tokenizer, texts, layer=1, batch=4)
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]], dtype=torch.long)
        if text:
            with torch.no_grad():
                alone = model(ids, output_hidden_states=True).hidden_states[1][0].mean(0).numpy()
        assert np.allclose(vector, alone if text else 0, atol=1e-12)
    with pytest.raises(ValueError, match="layer is 3, expected 0 to 2: the model has 2 layers"):
        hidden_means(model, tokenizer, texts, layer=3, batch=4)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(3, 50), min_size=1, max_size=8), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(1, 4),
)
def test_answer_logits_are_those_of_prompts_alone(lm, prompts, shared, batch):
    prompts = [[7, 8, 9, 10, 11][:shared] + prompt for prompt in prompts]
    found = answer_logits(lm[0], prompts, [4, 40], batch)
    for prompt, logits in zip(prompts, found, strict=True):
        with torch.no_grad():
            assert np.allclose(logits, lm[0](torch.tensor([prompt])).logits[0, -1, [4, 40]].numpy(), atol=1e-10)


def test_probe_separates_what_it_was_fitted_to_and_keeps_its_vectors():
    calls = []

    def encoder(texts):
        calls.append(len(texts))
        return np.array([[len(text), "kill" in text] for text in texts], dtype=float) * 100

    probe = EncoderProbeAnnotator(encoder, KILLS + OTHERS, [1] * 6 + [0] * 6)
    assert probe.annotate([*KILLS, "The kobold sees it.", ""]) == [1] * 6 + [0, 0]
    assert probe.compare([(KILLS[0], OTHERS[0]), (OTHERS[0], KILLS[0]), (KILLS[0], KILLS[1])]) == [0, 1, 2]
    probe.annotate(KILLS * 3)
    assert calls == [12, 8, 1]  # fitted, then each new message once
    assert 0 < probe.threshold < 1


def test_threshold_gets_most_labels_right():
    scores = {f"{value:02d}": value / 10 for value in range(10)}
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = rng.integers(0, 2, 10)
        if len(set(labels)) == 2:
            probe = EncoderProbeAnnotator(
                lambda texts: np.array([[scores[text]] for text in texts]), list(scores), labels.tolist(), penalty=0.01
            )
            left_out = ridge_probe(np.array([[value] for value in scores.values()]), labels.astype(float), 0.01)[2]
            best = max(((left_out > cut) == labels).sum() for cut in [-9.0, *left_out, 9.0])
            assert ((left_out > probe.threshold) == labels).sum() == best


def test_language_model_probe(lm, tmp_path):
    probe = LanguageModelAnnotator(lm[0], KILLS + OTHERS, [1] * 6 + [0] * 6, tokenizer=lm[1], layer=2, penalty=1e-3)
    assert probe.annotate(KILLS + OTHERS) == [1] * 6 + [0] * 6
    lm[0].float().save_pretrained(tmp_path)
    lm[0].double()
    lm[1].save_pretrained(tmp_path)
    again = LanguageModelAnnotator(str(tmp_path), KILLS + OTHERS, [1] * 6 + [0] * 6, layer=2, penalty=1e-3)
    assert np.allclose(again.scores(KILLS), probe.scores(KILLS), atol=1e-2)


def test_prompts_are_scored_by_the_next_token(lm):
    model, tokenizer = lm
    with pytest.raises(ValueError, match="begins ' yes' and ' no' with one token"):  # its tokens are characters
        PromptAnnotator(model, tokenizer, examples=EXAMPLES)
    annotator = PromptAnnotator(model, tokenizer, examples=EXAMPLES, answers=("yes", "no"), batch=2)
    goal = GOALS["score"]
    scores = annotator.scores(KILLS[:3] + KILLS[:1], goal)
    shown = "Message: You kill it!\nProgress: yes\n\nMessage: A door.\nProgress: no\n\n"
    text = f"{goal}\n\n{shown}Message: {KILLS[1]}\nProgress:"
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1]
    assert np.isclose(scores[1], float(logits[tokenizer("y")["input_ids"][0]] - logits[tokenizer("n")["input_ids"][0]]))
    assert scores[0] == scores[3]
    annotator.threshold = float(np.median(scores[:3]))
    assert annotator.annotate([*KILLS[:3], ""], goal) == [*(scores[:3] > annotator.threshold).astype(int).tolist(), 0]
    assert set(annotator.compare([(KILLS[0], KILLS[1]), (KILLS[1], KILLS[0])], goal)) in ({0, 1}, {2})


def test_zero_shot_uses_the_chat_form(lm):
    model, tokenizer = lm
    tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}>"
    annotator = PromptAnnotator(model, tokenizer, form="zero_shot")
    text = tokenizer.decode(annotator._prompt("A door.", "Win."))
    assert text.startswith("[") and text.endswith("]>") and 'The game says: "A door."' in text and "Win." in text
    assert annotator.scores(["A door.", "It burns."], "Win.").shape == (2,)
    tokenizer.chat_template = None


@pytest.mark.slow
def test_the_packaged_model_labels_by_a_probe():
    smollm2 = load("smollm2")
    train = KILLS + OTHERS
    probe = LanguageModelAnnotator(smollm2.model, train, [1] * 6 + [0] * 6, tokenizer=smollm2.tokenizer)
    assert probe.annotate(["You kill the goblin!", "You see here a wand.", ""]) == [1, 0, 0]
    prompted = PromptAnnotator(smollm2.model, smollm2.tokenizer, form="zero_shot")
    assert len(set(prompted.scores(train, GOALS["score"]).round(3))) == 12


@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_named(lm):
    model, tokenizer = lm
    with pytest.raises(ValueError, match="expected both 0 and 1 among 2"):
        EncoderProbeAnnotator(lambda texts: np.eye(2), ["a", "b"], [1, 1])
    with pytest.raises(ValueError, match="labels: expected 2 labels, got 1"):
        EncoderProbeAnnotator(lambda texts: np.eye(2), ["a", "b"], [1])
    with pytest.raises(ValueError, match=r"encoder: expected 2 finite vectors, got an array of shape \(3, 3\)"):
        EncoderProbeAnnotator(lambda texts: np.eye(3), ["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="penalty is 0"):
        EncoderProbeAnnotator(lambda texts: np.eye(2), ["a", "b"], [0, 1], penalty=0)
    with pytest.raises(ValueError, match="examples has 0 entries"):
        PromptAnnotator(model, tokenizer)
    with pytest.raises(ValueError, match="form is 'many_shot'"):
        PromptAnnotator(model, tokenizer, form="many_shot")
    with pytest.raises(TypeError, match="tokenizer: expected the model's"):
        PromptAnnotator(model, examples=EXAMPLES)
