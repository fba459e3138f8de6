"""Models that transformers runs: what they do to their logits, towers beside the text, layers that keep a state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from handful.errors import ModelError
from handful.llm.head import check_head, head_of
from handful.llm.loading import load_model
from handful.llm.local import LocalLLM
from handful.llm.protocol import Sampling
from handful.prompts import classification_prefix, classification_prompt, generation_prompt
from handful.train import train_adapter
from tests.llm.reference import plain_scores
from tests.test_train import keep, plan_of
from tests.tiny import tiny_tokenizer
from tests.toys import MemoryStore, two_label_task

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
UNDROPPED = {"embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
KINDS: dict[str, Callable[[int], Any]] = {
    "granite": lambda v: transformers.GraniteConfig(vocab_size=v, logits_scaling=8.0, **SIZES),
    "cohere": lambda v: transformers.CohereConfig(vocab_size=v, logit_scale=0.0625, **SIZES),
    "phi": lambda v: transformers.PhiConfig(vocab_size=v, **SIZES),
    "gemma3": lambda v: transformers.Gemma3TextConfig(
        vocab_size=v, head_dim=8, sliding_window=512, final_logit_softcapping=2.0, **SIZES
    ),
    "gpt2": lambda v: transformers.GPT2Config(
        vocab_size=v, n_embd=32, n_layer=2, n_head=4, n_positions=2048, **UNDROPPED
    ),
}


def made(config: Any, directory: Path) -> Path:
    """Write a model of random weights, large enough that logits differ and a bias counts."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(params=KINDS)
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return made(KINDS[request.param](len(tiny_tokenizer())), tmp_path / "model")


def test_labels_are_scored_as_the_model_itself_would(directory: Path) -> None:
    loaded, task = load_model(str(directory), device="cpu"), two_label_task()
    prefix = classification_prefix(task, task.examples[:2])
    prompts = [classification_prompt(prefix, text) for text in ("warm film", "dull", "a cold and boring story")]
    for targets in ((" positive", " was"), (" marvellous", " rotten")):
        expected = plain_scores(loaded, prompts, targets)
        assert np.abs(LocalLLM(loaded).score(prompts, targets) - expected).max() < 1e-3
        assert np.ptp(expected, axis=1).max() > 1e-2


def test_texts_are_drawn_from_the_models_own_logits(directory: Path) -> None:
    loaded = load_model(str(directory), device="cpu")
    prompt = generation_prompt(two_label_task(), "good", two_label_task().examples[:1])
    llm = LocalLLM(loaded)
    ids = llm._encode(prompt, 1).prefix_ids
    own = loaded.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    assert torch.allclose(llm._head(llm._prefix(ids).last_hidden)[0], own, atol=1e-3)
    assert llm.generate([prompt], [0], Sampling(max_new_tokens=4))


def test_the_first_loss_is_that_of_the_models_own_scores(directory: Path) -> None:
    plan = plan_of(batch_size=5, epochs=1)
    loaded = load_model(str(directory), device="cpu")
    prompts = [classification_prompt(plan.prefix, row.text) for row in plan.rows]
    scores = plain_scores(loaded, prompts, plan.targets)
    log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    gold = [plan.labels.index(row.label) for row in plan.rows]
    weights = np.array([row.weight for row in plan.rows])
    expected = -(weights * log_probs[np.arange(len(gold)), gold]).sum() / weights.sum()
    heard: list[float] = []
    train_adapter(loaded, plan, on_step=keep(heard), checkpoints=MemoryStore())
    assert heard == pytest.approx([expected], rel=1e-3)


def test_the_attention_alone_can_be_tuned_as_in_the_paper(directory: Path) -> None:
    plan = plan_of(batch_size=5, epochs=1, lora_target_modules="attention")
    files = train_adapter(load_model(str(directory), device="cpu"), plan, checkpoints=MemoryStore())
    tuned = set(json.loads(files["adapter_config.json"])["target_modules"])
    assert tuned in ({"q_proj", "v_proj"}, {"c_attn"})


def test_logits_made_in_an_unknown_way_are_refused(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(str(tiny_model_dir), device="cpu")
    check_head(loaded.model, "tiny")
    assert (head_of(loaded.model).scale, head_of(loaded.model).cap, head_of(loaded.model).bias) == (1.0, None, None)
    forward = loaded.model.forward

    def altered(*args: Any, **settings: Any) -> Any:
        output = forward(*args, **settings)
        output.logits = output.logits.square()
        return output

    monkeypatch.setattr(loaded.model, "forward", altered)
    with pytest.raises(ModelError, match="'tiny' makes its logits in a way that is not known here"):
        check_head(loaded.model, "tiny")


def test_a_tower_beside_the_text_gets_no_adapter(tmp_path: Path) -> None:
    """Gemma 3 from 4B on sees pictures; its vision tower's layers are called as the text's are."""
    text = {**SIZES, "head_dim": 8, "vocab_size": len(tiny_tokenizer()), "sliding_window": 512}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14}, mm_tokens_per_image=4
    )
    directory = made(config, tmp_path / "model")
    files = train_adapter(
        load_model(str(directory), device="cpu"), plan_of(batch_size=5, epochs=2), checkpoints=MemoryStore()
    )
    excluded = json.loads(files["adapter_config.json"])["exclude_modules"]
    assert excluded
    assert all("vision" in name or "projector" in name for name in excluded)
    assert load_model(str(directory), device="cpu").context_length == 512


def test_layers_that_keep_a_state_are_refused(tmp_path: Path) -> None:
    kinds = ["conv", "full_attention"]
    config = transformers.Lfm2Config(vocab_size=len(tiny_tokenizer()), layer_types=kinds, **SIZES)
    with pytest.raises(ModelError, match=r"cannot be used: some layers keep a state \(conv\)"):
        load_model(str(made(config, tmp_path / "model")), device="cpu")


def test_attention_of_another_kind_is_refused(tmp_path: Path) -> None:
    gemma = transformers.Gemma2Config(vocab_size=len(tiny_tokenizer()), head_dim=8, **SIZES)
    mamba = transformers.MambaConfig(vocab_size=len(tiny_tokenizer()), hidden_size=16, num_hidden_layers=2)
    for name, config in (("gemma", gemma), ("mamba", mamba)):
        with pytest.raises(ModelError, match="cannot be used: its attention is of another kind"):
            load_model(str(made(config, tmp_path / name)), device="cpu")


def test_rows_that_copy_the_prefix_count_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, task = load_model(str(directory), device="cpu"), two_label_task()
    llm = LocalLLM(loaded, own_layers=False, tokens_per_batch=400)
    prefix = classification_prefix(task, task.examples)
    prompts = [classification_prompt(prefix, f"text {index}") for index in range(12)]
    sizes = [len(batch) * read.n_tokens for read, batch, _ in llm._batches(prompts, 1)]
    assert sum(len(batch) for _, batch, _ in llm._batches(prompts, 1)) == 12
    assert max(sizes) <= 400 or all(len(batch) == 1 for _, batch, _ in llm._batches(prompts, 1))
