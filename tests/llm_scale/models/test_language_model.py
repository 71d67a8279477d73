import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import LoraSettings, load

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\n"))
TEMPLATE = (
    "{% for message in messages %}[{{ message['content'] }}]{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)


def logits(lm, text="2+3="):
    with torch.no_grad():
        return lm.base(input_ids=torch.tensor([lm.encode(text)])).logits


def nudge(lm, by=0.1):
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter += by


@given(PRINTABLE)
def test_every_printable_text_survives_tokens_and_back(text):
    ids = TINY.encode_completion(text)
    assert len(ids) == len(text) + 1 and ids[-1] == TINY.end_ids[0]
    assert TINY.decode(ids) == text


TINY = load("tiny-test")


@pytest.mark.parametrize("row", [[25, 1, 0, 0], (25, 1), torch.tensor([25, 1, 0, 0])])
def test_decoding_leaves_out_padding_and_the_end(row):
    assert TINY.decode(row) == "5"


def test_decoding_an_empty_answer():
    assert TINY.decode([1]) == "" == TINY.decode([])
    assert TINY.encode_completion("") == [1]


def test_a_chat_model_wraps_the_prompt_and_opens_the_answer():
    tokenizer = load("tiny-test").tokenizer
    tokenizer.chat_template = TEMPLATE
    lm = LanguageModel(TINY.model, tokenizer, "chatty", chat=True)
    assert lm.decode(lm.encode("2+3?")) == "[2+3?]A:"
    assert lm.encode("") == TINY.encode("[]A:")
    assert lm.encode_completion("5") == TINY.encode_completion("5")


def test_facts_about_the_model():
    assert (TINY.end_ids, TINY.pad_id, TINY.context) == ((1,), 0, 512)
    assert TINY.device == torch.device("cpu") and TINY.dtype == torch.float32
    assert TINY.base is TINY.model and not TINY.adapted


def test_all_ends_that_the_settings_name_are_ends():
    lm = load("tiny-test")
    lm.base.generation_config.eos_token_id = [5, 1]
    assert lm.end_ids == (1, 5)
    assert lm.decode([25, 5]) == "5"
    lm.base.generation_config.eos_token_id = None
    assert lm.end_ids == (1,)
    lm.tokenizer.pad_token = None
    assert lm.pad_id == 1


def test_tied_weights_are_trained_once():
    lm = load("tiny-test")
    assert lm.base.lm_head.weight is lm.base.model.embed_tokens.weight
    assert len({id(parameter) for parameter in lm.parameters()}) == len(lm.parameters())


def test_the_reference_of_full_training_is_a_copy_that_stays():
    lm = load("tiny-test")
    before = logits(lm)
    lm.keep_reference()
    nudge(lm)
    after = logits(lm)
    assert not torch.allclose(before, after)
    trained = lm.model
    with lm.reference() as reference:
        assert reference is lm.base is not trained
        assert not any(parameter.requires_grad for parameter in reference.parameters())
        torch.testing.assert_close(logits(lm), before, rtol=0, atol=0)
    assert lm.model is trained
    torch.testing.assert_close(logits(lm), after, rtol=0, atol=0)
    lm.keep_reference()
    with lm.reference():
        torch.testing.assert_close(logits(lm), after, rtol=0, atol=0)


def test_the_trained_model_is_back_after_an_error():
    lm = load("tiny-test")
    lm.keep_reference()
    trained = lm.model
    with pytest.raises(RuntimeError, match="inside"), lm.reference():
        raise RuntimeError("inside")
    assert lm.model is trained


def test_the_reference_of_adapters_is_the_model_without_them():
    before = logits(load("tiny-test"))
    lm = load("tiny-test", lora=LoraSettings(rank=2))
    assert lm.adapted
    torch.testing.assert_close(logits(lm), before, rtol=0, atol=0)  # an adapter begins as nothing
    nudge(lm)
    after = logits(lm)
    assert not torch.allclose(before, after)
    lm.keep_reference()  # nothing to keep: the weights below are frozen anyway
    with lm.reference() as reference:
        assert reference is lm.base
        torch.testing.assert_close(logits(lm), before, rtol=0, atol=0)
    torch.testing.assert_close(logits(lm), after, rtol=0, atol=0)
    lm.merge()
    assert not lm.adapted
    torch.testing.assert_close(logits(lm), after, rtol=1e-4, atol=1e-5)


def test_a_saved_model_is_loaded_again(tmp_path, capfd):
    lm = load("tiny-test", seed=3)
    lm.save(tmp_path / "model")
    again = load(str(tmp_path / "model"))
    assert "it/s" not in capfd.readouterr().err
    torch.testing.assert_close(logits(again), logits(lm), rtol=0, atol=0)
    assert (again.end_ids, again.pad_id, again.context, again.chat) == ((1,), 0, 512, False)
    assert again.encode("Is 2+3 5?\n") == lm.encode("Is 2+3 5?\n")
    assert again.decode(again.encode("Is 2+3 5 ?\n")) == "Is 2+3 5 ?\n"
    assert [file.name for file in (tmp_path / "model").glob("*") if file.suffix in {".bin", ".pt"}] == []


def test_bad_input_is_named():
    with pytest.raises(TypeError, match="prompt: expected text, got int"):
        TINY.encode(5)
    with pytest.raises(TypeError, match="completion: expected text, got list"):
        TINY.encode_completion([5])
    with pytest.raises(ValueError, match="prompt '' has no tokens"):
        TINY.encode("")
    with (
        pytest.raises(ValueError, match=r"no reference; keep_reference\(\) makes one"),
        TINY.reference(),
    ):
        pass
    with pytest.raises(ValueError, match="'x' has no chat template"):
        LanguageModel(TINY.model, TINY.tokenizer, "x", chat=True)
    tokenizer = load("tiny-test").tokenizer
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="tokenizer of 'x' names no end-of-sequence token"):
        LanguageModel(TINY.model, tokenizer, "x", chat=False)
    with pytest.raises(ValueError, match=r"'tiny-test' has adapters.*merge\(\)"):
        load("tiny-test", lora=LoraSettings()).save("nowhere")
