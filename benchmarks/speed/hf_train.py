"""Tuning with `transformers.Trainer` and peft, as their documentation puts them together; nothing of ours in it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from benchmarks.speed.plain import left_padded

Loss = Literal["label", "next_token"]


@dataclass(frozen=True)
class Row:
    """One training example as token ids."""

    prompt: list[int]
    target: list[int]
    """The label's tokens and the line end."""
    label: int
    """Index of the label."""


@dataclass(frozen=True)
class HfSettings:
    """What is tuned, and how."""

    loss: Loss
    label_ids: tuple[int, ...]
    """First token of each label."""
    pad: int
    target_modules: Any
    """As `LoraConfig` takes it."""
    rank: int
    alpha: int
    dropout: float
    learning_rate: float
    max_grad_norm: float
    """0 is no limit."""
    batch_size: int


@dataclass
class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Remembers when each step ended, and its loss."""

    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
        """Take the time."""
        self.ends.append(time.perf_counter())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **keywords: Any) -> None:
        """Keep the loss."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


class _InOrder(Trainer):  # type: ignore[misc]
    """A Trainer that takes the rows in the order given: the same batches as ours."""

    def _get_train_sampler(self, *arguments: Any, **keywords: Any) -> Any:
        return SequentialSampler(self.train_dataset)


class _LabelLoss(_InOrder):
    """Cross-entropy over the labels' tokens where the answer stands, the last column of left-padded prompts."""

    def __init__(self, label_ids: Sequence[int], **keywords: Any) -> None:
        super().__init__(**keywords)
        self._label_ids = list(label_ids)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **keywords: Any) -> Any:
        """Return the mean over the batch."""
        answers = inputs.pop("answers")
        outputs = model(**inputs, use_cache=False, logits_to_keep=1)
        loss = torch.nn.functional.cross_entropy(outputs.logits[:, -1, self._label_ids].float(), answers)
        return (loss, outputs) if return_outputs else loss


def train(model: Any, rows: Sequence[Row], settings: HfSettings, n_steps: int) -> Clock:
    """Tune a new adapter on a model, which is changed; rows are taken in their order, anew when they are used up.

    Returns:
        When each step ended (`time.perf_counter`), and its loss.
    """
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            per_device_train_batch_size=settings.batch_size,
            max_steps=n_steps,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=settings.max_grad_norm,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        common: dict[str, Any] = {
            "model": get_peft_model(model, config),
            "args": arguments,
            "train_dataset": list(rows),
            "callbacks": [clock],
        }
        if settings.loss == "label":
            trainer: Trainer = _LabelLoss(settings.label_ids, data_collator=_label_batch(settings.pad), **common)
        else:
            trainer = _InOrder(data_collator=_next_token_batch(settings.pad), **common)
        trainer.remove_callback(PrinterCallback)  # it writes to stdout, which is for the result
        trainer.train()
    return clock


def _label_batch(pad: int) -> Any:
    def collate(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        inputs = left_padded([row.prompt for row in rows], pad)
        return {**inputs, "answers": torch.tensor([row.label for row in rows])}

    return collate


def _next_token_batch(pad: int) -> Any:
    """Prompt, label and line end are read and predicted; padding on the right is not (-100)."""

    def collate(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        ids = [[*row.prompt, *row.target] for row in rows]
        width = max(map(len, ids))
        return {
            "input_ids": torch.tensor([[*row, *[pad] * (width - len(row))] for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
            "labels": torch.tensor([[*row, *[-100] * (width - len(row))] for row in ids]),
        }

    return collate
