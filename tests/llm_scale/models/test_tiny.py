import pytest
import torch

from llm_scale.models import tiny


def test_sizes():
    counts = {name: sum(p.numel() for p in tiny.tiny_model(name).parameters()) for name in tiny.SIZES}
    assert counts == {"tiny": 1_593_600, "tiny-test": 21_760}


def test_there_is_a_token_for_every_printable_character():
    tokenizer = tiny.character_tokenizer()
    assert len(tokenizer) == 3 + 1 + 95
    text = "".join(map(chr, range(32, 127))) + "\n\n  x"
    ids = tokenizer(text).input_ids
    assert len(ids) == len(text) and min(ids) == 3 and tokenizer.decode(ids) == text
    assert tokenizer("<pad>").input_ids == [0]  # one that writes special tokens gets them, as everywhere


def test_any_other_character_is_one_unknown_token():
    tokenizer = tiny.character_tokenizer()
    assert tokenizer("1é2").input_ids == [tokenizer("1").input_ids[0], 2, tokenizer("2").input_ids[0]]
    assert tokenizer.decode(tokenizer("1é2").input_ids, skip_special_tokens=True) == "12"


def test_the_model_only_looks_back():
    model = tiny.tiny_model("tiny-test")
    ids = torch.randint(3, 99, (1, 12), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 8:] = 5
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits[:, :8], model(other).logits[:, :8])


def test_first_answers_are_nearly_uniform():
    logits = tiny.tiny_model("tiny-test")(torch.arange(3, 20)[None]).logits
    assert torch.distributions.Categorical(logits=logits).entropy().min() > 0.8 * torch.log(torch.tensor(99.0))


def test_an_unknown_size_is_named():
    with pytest.raises(ValueError, match="no tiny model 'huge'; there are tiny, tiny-test"):
        tiny.tiny_model("huge")
