"""Training rows in, LoRA adapter out (paper, section 4): a plain loop over accelerate with crash-safe checkpoints.

The prompt is the one the classifier will use, built by the same function. Everything random comes from the run seed and
the number of the step, so a resumed training takes the same steps as an uninterrupted one, bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from accelerate import Accelerator
from safetensors import torch as safetensors_torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from handful.adapter_loss import AdapterLoss
from handful.errors import Interrupted, ModelError, RunError
from handful.llm.loading import LoadedModel
from handful.llm.protocol import Precision
from handful.row_encoding import EncodedRow, encode_rows, label_trie_of
from handful.seeding import derive_seed
from handful.training_plan import CheckpointStore, TrainingPlan

_CHECKPOINTS = 12
"""About so many are written in a training."""


def train_adapter(
    loaded: LoadedModel,
    plan: TrainingPlan,
    *,
    checkpoints: CheckpointStore | None = None,
    on_step: Callable[[int, int, float], bool] | None = None,
    precision: Precision = "float32",
) -> dict[str, bytes]:
    """Tune a LoRA adapter; the loaded model is changed and not to be used afterwards.

    Args:
        loaded: Base model; under `accelerate launch` every process loads its own.
        plan: Rows, prompt and settings.
        checkpoints: Where to resume from and to save to.
        on_step: Called with (step, n_steps, loss) after each step; returning True saves and stops.
        precision: Of the products with the frozen weights on the CPU.

    Returns:
        The files of a PEFT adapter directory by name; on processes other than the main one an empty mapping.

    Raises:
        ModelError: A prompt with its label does not fit the model (nothing is ever cut from a label), or the recipe
            asks for attention layers and the model's have unknown names.
        RunError: The loss is not finite.
        Interrupted: `on_step` said so.
    """
    accelerator = Accelerator(cpu=loaded.device.type == "cpu", mixed_precision="no")
    trie = label_trie_of(loaded, plan)
    rows, batches = encode_rows(loaded, plan, trie)
    network = AdapterLoss(_with_lora(loaded, plan), trie, plan.train, precision)
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad],
        lr=plan.train.learning_rate,
        weight_decay=plan.train.weight_decay,
        fused=True,
    )
    network_ready, optimizer_ready = accelerator.prepare(network, optimizer)
    done = _restore(network, optimizer, checkpoints)
    if rows and plan.n_steps > plan.steps_per_epoch:
        network.keep_lower_states(rows)
    interval = math.ceil(plan.n_steps / _CHECKPOINTS)
    network_ready.train()
    for step in range(done, plan.n_steps):
        loss = _take_step(accelerator, network_ready, optimizer_ready, batches(step), plan, step)
        if not math.isfinite(loss):
            raise RunError(
                f"the training loss became {loss} at step {step + 1} of {plan.n_steps}",
                mend="Lower the learning rate, for example --set train.learning_rate=0.0003.",
            )
        if not accelerator.is_main_process:
            continue
        stop = on_step is not None and on_step(step + 1, plan.n_steps, loss)
        # The last one too: what is made of the training may be interrupted after it.
        if checkpoints is not None and (stop or (step + 1) % interval == 0 or step + 1 == plan.n_steps):
            checkpoints.save(_checkpoint(network, optimizer, step + 1))
        if stop:
            raise Interrupted(f"training stopped after step {step + 1} of {plan.n_steps}")
    accelerator.wait_for_everyone()
    return _adapter_files(network, loaded.name) if accelerator.is_main_process else {}


def _with_lora(loaded: LoadedModel, plan: TrainingPlan) -> Any:
    recipe = plan.train
    n_layers = loaded.model.config.get_text_config().num_hidden_layers
    lowest = n_layers - math.ceil(recipe.lora_layer_share * n_layers)
    modules: Any = "all-linear"
    if recipe.lora_target_modules == "attention":
        modules = _attention_modules(loaded.model)
    elif lowest:  # PEFT takes no layers with "all-linear"
        modules = _linear_modules(loaded.model)
    config = peft.LoraConfig(
        exclude_modules=_beside_the_text(loaded.model) or None,
        layers_to_transform=list(range(lowest, n_layers)) if lowest else None,
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(derive_seed(plan.seed, "lora-init"))
    with warnings.catch_warnings():
        # peft asks the model for an attribute by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(loaded.model, config)
    return model


def _attention_modules(model: Any) -> list[str]:
    """Return the query and value projections, LoRA's usual places (Hu et al. 2021, section 4.2), as named here."""
    names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _is_linear(module)}
    for known in (["q_proj", "v_proj"], ["query_key_value"], ["c_attn"], ["qkv_proj"], ["Wqkv"]):
        if names.issuperset(known):
            return known
    mend = "Use train.lora_target_modules=all-linear."
    raise ModelError("the model's attention layers have unknown names", mend=mend)


def _linear_modules(model: Any) -> list[str]:
    """Return the names that the linear modules of the layers have there: all but the head."""
    head = model.get_output_embeddings()
    found = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if _is_linear(m) and m is not head}
    return sorted(found)


def _beside_the_text(model: Any) -> list[str]:
    """Return the linear modules that text does not go through, such as a vision tower: they would get no gradient."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    known = {id(module) for module in decoder.modules()} | {id(head)}
    return [name for name, module in model.named_modules() if _is_linear(module) and id(module) not in known]


def _is_linear(module: nn.Module) -> bool:
    """Return whether PEFT counts a module as linear: GPT-2's transposed layers are, too."""
    return isinstance(module, nn.Linear | Conv1D)


def _take_step(
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Any,
    batch: Sequence[EncodedRow],
    plan: TrainingPlan,
    step: int,
) -> float:
    """One optimizer step on a batch that is dealt out over the processes; returns its mean loss, to each the same."""
    total_weight = sum(example.weight for example in batch)
    mine = list(batch[accelerator.process_index :: accelerator.num_processes])
    torch.manual_seed(derive_seed(plan.seed, "dropout", step, accelerator.process_index))
    for group in optimizer.param_groups:
        group["lr"] = plan.train.learning_rate * _rate(plan, step)
    # A process without examples still has to take part in the gradient exchange.
    most_tokens = accelerator.unwrap_model(network).tokens_per_row(len(batch[0].prompt.prefix_ids))
    micro_batches = _micro_batches(mine or [batch[0]], most_tokens)
    loss_sum = 0.0
    for index, micro_batch in enumerate(micro_batches):
        last = index + 1 == len(micro_batches)
        with _exchange_only_if(last, accelerator, network):
            # Gradients are averaged over processes; this makes them the gradient of the batch's weighted mean.
            loss = network(micro_batch) * (accelerator.num_processes / total_weight if mine else 0.0)
            accelerator.backward(loss)
        loss_sum += float(loss.detach()) / accelerator.num_processes
    if plan.train.max_grad_norm is not None:
        accelerator.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], plan.train.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    if accelerator.num_processes == 1:
        return loss_sum
    whole = accelerator.reduce(torch.tensor(loss_sum, device=accelerator.device), "sum")
    return float(whole)


def _exchange_only_if(last: bool, accelerator: Accelerator, network: nn.Module) -> Any:
    return contextlib.nullcontext() if last else accelerator.no_sync(network)


def _micro_batches(examples: Sequence[EncodedRow], most_tokens: int) -> list[list[EncodedRow]]:
    batches: list[list[EncodedRow]] = [[]]
    tokens = 0
    for example in examples:
        if batches[-1] and tokens + example.n_tokens > most_tokens:
            batches.append([])
            tokens = 0
        batches[-1].append(example)
        tokens += example.n_tokens
    return batches


def _rate(plan: TrainingPlan, step: int) -> float:
    warmup = math.ceil(plan.train.warmup_fraction * plan.n_steps)
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 if plan.train.schedule == "constant" else (plan.n_steps - step) / max(1, plan.n_steps - warmup)


def _checkpoint(network: AdapterLoss, optimizer: torch.optim.Optimizer, step: int) -> bytes:
    tensors = {"step": torch.tensor(step)}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            state = optimizer.state[parameter]
            tensors[f"value.{name}"] = parameter.detach()
            tensors |= {f"{key}.{name}": state[key] for key in ("exp_avg", "exp_avg_sq", "step")}
    data: bytes = safetensors_torch.save({key: value.contiguous().cpu() for key, value in tensors.items()})
    return data


def _restore(network: AdapterLoss, optimizer: torch.optim.Optimizer, checkpoints: CheckpointStore | None) -> int:
    data = checkpoints.load() if checkpoints is not None else None
    if data is None:
        return 0
    tensors = safetensors_torch.load(data)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(tensors[f"value.{name}"])
                optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].clone().to(parameter.device)  # the fused optimizer's step too
                    for key in ("exp_avg", "exp_avg_sq", "step")
                }
    return int(tensors["step"])


def _adapter_files(network: AdapterLoss, base_model: str) -> dict[str, bytes]:
    """Return the files PEFT itself would write, in a byte-stable order."""
    # Left to itself, PEFT asks the hub whether the base model's vocabulary was changed.
    state = peft.get_peft_model_state_dict(network.model, save_embedding_layers=False)
    tensors = {name: state[name].detach().contiguous().cpu() for name in sorted(state)}
    config = network.model.peft_config["default"]
    config.base_model_name_or_path = base_model
    config.inference_mode = True
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        values = json.loads((Path(folder) / "adapter_config.json").read_text())
    # PEFT keeps module names in sets, whose order changes from process to process.
    stable = {
        k: sorted(v) if isinstance(v, list) and all(isinstance(i, str) for i in v) else v for k, v in values.items()
    }
    return {
        "adapter_config.json": json.dumps(stable, indent=2, sort_keys=True).encode(),
        "adapter_model.safetensors": safetensors_torch.save(tensors, metadata={"format": "pt"}),
    }
