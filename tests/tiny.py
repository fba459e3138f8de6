"""A real but tiny Llama with random weights, made in a second and without a network: `--model DIR` for tests.

`conftest.py` offers it to every test module as the fixture `tiny_model_dir`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CORPUS = (
    "Classify the text as one of the labels.",
    "Labels: positive, negative",
    "Text: the whole story was told well and the music was lovely\nLabel: positive",
    "Text: the whole story was dull and the music was too loud\nLabel: negative",
    "Few examples of text texts with the label positive are given. Generate more text texts with the label positive.",
)


def make_tiny_model(directory: Path, *, seed: int = 0) -> Path:
    """Write a model directory: 2 layers of width 32, 4 heads, 2 key-value heads, byte-level BPE of about 300 tokens.

    Args:
        directory: Where it goes; made if missing.
        seed: Of the random weights; two seeds are two different base models.

    Returns:
        The directory.
    """
    import torch
    import transformers
    from transformers import LlamaConfig, LlamaForCausalLM

    transformers.logging.disable_progress_bar()
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def tiny_tokenizer() -> Any:
    """Return the tokenizer: every byte has a token; `<think>` is an added token that is not marked special."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[1],
        pad_token=special[1],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
