"""Load a language model by name: the packaged one, a tiny one, a folder, or any on Hugging Face."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from llm_scale.models import smollm2, tiny
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.quiet import quiet
from rewardlab.checks import check_scalar

__all__ = ["DTYPES", "LoraSettings", "load"]

DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters: what is trained in place of all weights.

    Args:
        rank: Rank of the two matrices' product that is added to a layer's weights.
        alpha: The product is scaled by alpha / rank.
        dropout: Share of a layer's inputs that the adapter does not see in training. Anything above 0 makes
            log-probabilities in training differ from those in sampling.
        layers: Ends of the names of the layers that are adapted; all linear ones of a Llama by default.

    Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    layers: tuple[str, ...] = ALL_LINEAR

    def __post_init__(self):
        check_scalar("rank", self.rank, low=1, whole=True)
        check_scalar("alpha", self.alpha, low=0, open_low=True)
        check_scalar("dropout", self.dropout, low=0, high=1)


def load(
    name: str,
    *,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    lora: LoraSettings | None = None,
    seed: int = 0,
) -> LanguageModel:
    """Load a language model and its tokenizer.

    Args:
        name: "smollm2" (the packaged SmolLM2-135M-Instruct), "tiny" or "tiny-test" (made here, with random weights),
            a local folder in Hugging Face's form, or the id of a model there. Weights are read from safetensors
            only, and no code that comes with a model is run.
        dtype: Number type of the weights, one of `DTYPES`.
        device: Where they go.
        lora: Adapters to train in place of the weights; None trains all weights.
        seed: Of random weights: a tiny model's, and those of adapters.

    Raises:
        ValueError: If the dtype is unknown, or there is no such model; says where it was looked for.
        ImportError: If a package is missing; says how to install it.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    if name in tiny.SIZES:
        model, tokenizer = tiny.tiny_model(name, seed).to(DTYPES[dtype]), tiny.character_tokenizer()
    else:
        model, tokenizer = _pretrained(name, DTYPES[dtype])
    if lora is not None:
        model = _with_adapters(model, lora, name, seed)
    return LanguageModel(model.to(device), tokenizer, name, chat=bool(tokenizer.chat_template))


def _pretrained(name: str, dtype: torch.dtype):
    source = smollm2.path() if name == "smollm2" else name
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise ValueError(f"the folder {source} holds no config.json, so no model in Hugging Face's form")
    if not Path(source).exists() and "/" not in str(source):
        known = ", ".join(map(repr, ["smollm2", *tiny.SIZES]))
        raise ValueError(f"no model {name!r}: expected {known}, a folder, or a Hugging Face id such as 'owner/name'")
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True)
        except OSError as error:
            raise ValueError(
                f"no model {name!r}: it is neither {', '.join(map(repr, ['smollm2', *tiny.SIZES]))}, nor a folder that "
                f"holds one with weights in safetensors, nor can it be had from Hugging Face: {error}"
            ) from error
    return model.eval(), tokenizer


def _with_adapters(model: PreTrainedModel, lora: LoraSettings, name: str, seed: int):
    try:
        import peft
    except ImportError as error:
        raise ImportError("adapters (LoRA) need the package peft: pip install 'rewardlab[llm]'") from error
    if not any(layer.endswith(lora.layers) for layer, _ in model.named_modules()):
        raise ValueError(f"no layer of {name!r} is named by lora's layers {', '.join(map(repr, lora.layers))}")
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.layers),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # peft's, not the user's
        return peft.get_peft_model(model, config).eval()
