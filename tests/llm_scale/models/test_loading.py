import sys

import pytest
import torch

from llm_scale.models.loading import DTYPES, LoraSettings, load


def weights(lm):
    return torch.cat([parameter.detach().flatten().float() for parameter in lm.parameters()])


def test_the_seed_makes_the_weights_and_touches_no_other_randomness():
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    first = load("tiny-test", seed=1, lora=LoraSettings())
    assert torch.rand(1) == drawn
    torch.testing.assert_close(weights(load("tiny-test", seed=1, lora=LoraSettings())), weights(first), rtol=0, atol=0)
    assert not torch.equal(weights(load("tiny-test", seed=2, lora=LoraSettings())), weights(first))
    assert not torch.equal(weights(load("tiny-test", seed=2)), weights(load("tiny-test", seed=1)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_number_types(dtype, tmp_path):
    lm = load("tiny-test", dtype=dtype)
    assert lm.dtype == getattr(torch, dtype)
    assert {parameter.dtype for parameter in lm.parameters()} == {lm.dtype}
    load("tiny-test").save(tmp_path)
    folder = load(str(tmp_path), dtype=dtype)
    assert folder.dtype == lm.dtype
    torch.testing.assert_close(weights(folder), weights(lm), rtol=0, atol=0)


def test_bfloat16_changes_the_answer_little():
    ids = torch.tensor([load("tiny-test").encode("2+3=")])
    fine, coarse = (load("tiny-test", dtype=dtype).base(ids).logits.float() for dtype in ("float32", "bfloat16"))
    assert coarse.isfinite().all()
    torch.testing.assert_close(coarse, fine, rtol=0.05, atol=0.05)


def test_adapters_train_two_thin_matrices_a_layer():
    lm = load("tiny-test", lora=LoraSettings(rank=3))
    shapes = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 64), (32, 64), (64, 32)]  # q k v o gate up down
    assert sum(parameter.numel() for parameter in lm.parameters()) == 2 * 3 * sum(map(sum, shapes))
    frozen = [name for name, parameter in lm.model.named_parameters() if not parameter.requires_grad]
    assert len(frozen) == len(load("tiny-test").parameters())
    assert lm.base.model.embed_tokens.weight.shape == (99, 32)  # backbone and output layer are where they were
    assert lm.base.lm_head.weight.shape == (99, 32)


def test_the_adapters_of_named_layers_only():
    lm = load("tiny-test", lora=LoraSettings(rank=3, layers=("q_proj",)))
    assert sum(parameter.numel() for parameter in lm.parameters()) == 2 * 3 * (32 + 32)


def test_adapters_have_gradients_through_base():
    lm = load("tiny-test", lora=LoraSettings(rank=2))
    lm.base(torch.tensor([lm.encode("2+3=")])).logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in lm.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in lm.parameters())


def test_a_model_that_is_nowhere(tmp_path):
    with pytest.raises(ValueError, match="no model 'no-such/model': it is neither 'smollm2', 'tiny', 'tiny-test'"):
        load("no-such/model")
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load(str(tmp_path))


def test_weights_that_are_pickled_are_refused(tmp_path):
    lm = load("tiny-test")
    lm.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(lm.base.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="safetensors"):
        load(str(tmp_path))


def test_bad_settings_are_named(monkeypatch):
    with pytest.raises(ValueError, match="dtype is 'float8', expected one of float32, bfloat16, float16, float64"):
        load("tiny-test", dtype="float8")
    with pytest.raises(ValueError, match="rank is 0"):
        LoraSettings(rank=0)
    with pytest.raises(ValueError, match=r"dropout is 1\.5"):
        LoraSettings(dropout=1.5)
    with pytest.raises(ValueError, match="alpha is 0"):
        LoraSettings(alpha=0)
    with pytest.raises(ValueError, match="no layer of 'tiny-test' is named by lora's layers 'query', 'key'"):
        load("tiny-test", lora=LoraSettings(layers=("query", "key")))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"peft: pip install 'rewardlab\[llm\]'"):
        load("tiny-test", lora=LoraSettings())
