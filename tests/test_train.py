from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import safetensors.torch
import torch
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM

from handful.encoding import encode, encode_text
from handful.errors import Interrupted, ModelError, RunError
from handful.in_context_tuning import judge_plan
from handful.llm.adapters import with_adapter
from handful.llm.decoder import Decoder
from handful.llm.engine import open_engine
from handful.llm.label_trie import LabelTrie
from handful.llm.loading import LoadedModel, load_model
from handful.llm.local import LocalLLM
from handful.llm.packing import Packed, pack
from handful.prompts import classification_prefix, classification_prompt, targets
from handful.recipe import PromptRecipe, TrainRecipe
from handful.records import TrainingExample
from handful.row_encoding import label_trie_of
from handful.task import Task
from handful.train import train_adapter
from handful.training_plan import TrainingPlan
from tests.llm.reference import plain_scores
from tests.toys import MemoryStore, many_label_task, single_token_task, small_recipe, two_label_task

TEXTS = ("lovely warm film", "dull", "the cold plot was boring and long and dull", "funny", "warm")
LABELS = ("good", "bad", "bad", "good", "good")
WEIGHTS = (2.0, 1.0, 0.5, 1.0, 3.0)


def plan_of(task: Task | None = None, *, seed: int = 0, soft: bool = False, **train: Any) -> TrainingPlan:
    task = task or two_label_task()
    names = {"good": task.label_names[0], "bad": task.label_names[1]}
    probabilities = tuple(np.linspace(0.7, 0.3, len(names)) / 1.0) if soft else ()
    rows = tuple(
        TrainingExample(text, names[label], "synthetic", weight, tuple(map(float, probabilities)))
        for text, label, weight in zip(TEXTS, LABELS, WEIGHTS, strict=True)
    )
    recipe = replace(TrainRecipe(epochs=2, min_steps=0, batch_size=2, learning_rate=5e-3), **train)
    return TrainingPlan(
        classification_prefix(task), targets(task), task.label_names, rows, recipe, PromptRecipe(), seed
    )


def trained(directory: Path, plan: TrainingPlan, **options: Any) -> dict[str, bytes]:
    return train_adapter(load_model(str(directory), device="cpu"), plan, **options)


def losses_of(directory: Path, plan: TrainingPlan) -> list[float]:
    heard: list[float] = []
    trained(directory, plan, on_step=keep(heard))
    return heard


def keep(losses: list[float]) -> Callable[[int, int, float], bool]:
    """Collect the losses and never stop."""

    def on_step(step: int, n_steps: int, loss: float) -> bool:
        losses.append(loss)
        return False

    return on_step


def stop_at(at: int) -> Callable[[int, int, float], bool]:
    return lambda step, n_steps, loss: step == at


def long_label_task(begin: str) -> Task:
    """Two labels of more than 32 nodes together; they part at the end of `begin`, or at once."""
    task, spoken = two_label_task(), (f"{begin}zebra quick jumpy fox", f"{begin}lazy hounds over brown box")
    labels = tuple(replace(label, verbalizer=own) for label, own in zip(task.labels, spoken, strict=True))
    return replace(task, labels=labels)


TASKS = {
    "multi": two_label_task(),
    "single": single_token_task(),
    "parting at once": long_label_task(""),
    "parting later": long_label_task("the few "),
}


@pytest.mark.parametrize(("name", "n_nodes"), [("parting at once", 0), ("parting later", 5)])
def test_long_labels_are_read_where_they_part(tiny_model_dir: Path, name: str, n_nodes: int) -> None:
    trie = label_trie_of(load_model(str(tiny_model_dir), device="cpu"), plan_of(TASKS[name]))
    assert (trie.n_nodes, trie.among_labels) == (n_nodes, True)


@pytest.fixture(params=["written out", "transformers"])
def layers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways a model is tuned: its layers written out, or as every GPU and every other kind of model runs them."""
    if request.param == "transformers":
        monkeypatch.setattr("handful.adapter_loss.tuned_decoder", lambda *_, **__: None)


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("soft", [False, True])
def test_label_loss_is_the_written_out_one(tiny_model_dir: Path, name: str, soft: bool) -> None:
    task = TASKS[name]
    plan = plan_of(task, batch_size=5, epochs=1, soft=soft and name == "multi")
    loaded = load_model(str(tiny_model_dir), device="cpu")
    prompts = [classification_prompt(plan.prefix, row.text) for row in plan.rows]
    scores = plain_scores(loaded, prompts, plan.targets)
    log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    wanted = np.array(
        [row.label_probabilities or [float(row.label == label) for label in plan.labels] for row in plan.rows]
    )
    expected = -(np.array(WEIGHTS) * (wanted * log_probs).sum(1)).sum() / sum(WEIGHTS)
    # LoRA begins as the base model: the first loss is the base model's.
    assert losses_of(tiny_model_dir, plan) == pytest.approx([expected], abs=1e-5)


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_of_many_labels_a_text_learns_those_it_may_have(tiny_model_dir: Path, share: float) -> None:
    task = many_label_task()
    names = task.label_names
    soft = (0.6, 0.3, 0.092, *[0.008 / 69] * 69)  # the last ones are hardly possible
    rows = (
        TrainingExample("lovely warm film", names[0], "synthetic", 1.0, soft),
        TrainingExample("dull", names[5], "real", 3.0),
    )
    train = TrainRecipe(min_steps=2, epochs=2, batch_size=2, learning_rate=1e-9, lora_layer_share=share)
    plan = TrainingPlan(classification_prefix(task), targets(task), names, rows, train, PromptRecipe(), 0)
    loaded = load_model(str(tiny_model_dir), device="cpu")
    scores = plain_scores(loaded, [classification_prompt(plan.prefix, row.text) for row in rows], plan.targets)
    first = np.array(soft[:3]) / sum(soft[:3]) @ scores[0, :3]
    assert losses_of(tiny_model_dir, plan) == pytest.approx([-(first + 3 * scores[1, 5]) / 4] * 2, abs=1e-5)


@pytest.mark.usefixtures("layers")
def test_next_token_loss_is_the_written_out_one(tiny_model_dir: Path) -> None:
    plan = plan_of(batch_size=5, epochs=1, loss="next_token")
    loaded = load_model(str(tiny_model_dir), device="cpu")
    total = 0.0
    for row in plan.rows:
        encoded = encode(classification_prompt(plan.prefix, row.text), loaded.tokenizer, max_text_tokens=512)
        label = encode_text(plan.targets[plan.labels.index(row.label)] + "\n", loaded.tokenizer)
        ids = torch.tensor([[*encoded.prefix_ids, *encoded.suffix_ids, *label]])
        with torch.inference_mode():
            total += row.weight * float(loaded.model(ids, labels=ids).loss)
    assert losses_of(tiny_model_dir, plan) == pytest.approx([total / sum(WEIGHTS)], abs=1e-5)


@pytest.mark.usefixtures("layers")
def test_every_episode_is_a_step_behind_its_own_prompt(tiny_model_dir: Path) -> None:
    task = TASKS["multi"]
    plan = replace(judge_plan(task, small_recipe("filter.judge_epochs=2"), 0), train=TrainRecipe(learning_rate=1e-9))
    llm = LocalLLM(load_model(str(tiny_model_dir), device="cpu"))
    expected = []
    for episode in plan.episodes:
        prompts = [classification_prompt(episode.prefix, row.text) for row in episode.rows]
        rows = torch.tensor(llm.score(prompts, plan.targets)).log_softmax(-1)
        gold = torch.tensor([plan.labels.index(row.label) for row in episode.rows])
        expected.append(float(torch.nn.functional.nll_loss(rows, gold)))
    assert losses_of(tiny_model_dir, plan) == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 4


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("loss", ["label", "next_token"])
@pytest.mark.parametrize("name", TASKS)
def test_a_step_on_packed_rows_is_the_step_on_single_rows(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, loss: str, name: str
) -> None:
    """One text a forward pass or all in one: the same losses, step after step."""
    plan = plan_of(TASKS[name], loss=loss, batch_size=5, epochs=4)
    together = losses_of(tiny_model_dir, plan)
    monkeypatch.setattr("handful.adapter_loss.AdapterLoss.tokens_per_row", lambda self, n_prefix: 1)
    apart = losses_of(tiny_model_dir, plan)
    assert together == pytest.approx(apart, abs=1e-5)
    assert together[-1] < together[0]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_what_is_computed_again_on_the_way_back_changes_nothing(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    plan = plan_of(lora_dropout=dropout)
    kept = trained(tiny_model_dir, plan)
    monkeypatch.setattr("handful.adapter_loss.MOST_TOKENS_KEPT", 0)
    calls: list[int] = []

    def counted(function: Callable[..., Any], index: int, *inputs: Any, use_reentrant: bool) -> Any:
        calls.append(index)
        return checkpoint(function, index, *inputs, use_reentrant=use_reentrant)

    monkeypatch.setattr("handful.llm.decoder.checkpoint", counted)
    assert trained(tiny_model_dir, plan) == kept
    assert calls


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_same_training_gives_the_same_bytes(tiny_model_dir: Path, dropout: float) -> None:
    plan = plan_of(lora_dropout=dropout)
    files = trained(tiny_model_dir, plan)
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert trained(tiny_model_dir, plan) == files
    other = trained(tiny_model_dir, plan_of(lora_dropout=dropout, seed=1))
    assert other["adapter_model.safetensors"] != files["adapter_model.safetensors"]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("loss", ["label", "next_token"])
def test_resumed_training_gives_the_same_bytes(tiny_model_dir: Path, dropout: float, loss: str) -> None:
    require_same_after_resuming(tiny_model_dir, plan_of(lora_dropout=dropout, loss=loss))


def test_long_labels_count_in_a_packed_row(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    def packed(
        prefix: Sequence[int], texts: Sequence[Sequence[int]], trie: LabelTrie, nodes: Sequence[Sequence[int]]
    ) -> Packed:
        row = pack(prefix, texts, trie, nodes)
        rows.append(row.ids.shape[1] - len(prefix))
        return row

    monkeypatch.setattr("handful.adapter_loss.pack", packed)
    monkeypatch.setattr("handful.adapter_loss.AdapterLoss.tokens_per_row", lambda self, n_prefix: 100)
    words = [f"{word} " * 3 for word in ("lovely", "boring")]
    labels = {word[:3]: {"verbalizer": word.strip()} for word in words}
    task = Task.create("long", labels, [(word, word[:3]) for word in words])
    trained(tiny_model_dir, plan_of(task, batch_size=5, epochs=1))
    assert len(rows) > 1
    assert max(rows) <= 100


def test_resumed_tuning_in_context_gives_the_same_bytes(tiny_model_dir: Path) -> None:
    require_same_after_resuming(tiny_model_dir, judge_plan(two_label_task(), small_recipe("filter.judge_epochs=3"), 0))


def require_same_after_resuming(tiny_model_dir: Path, plan: TrainingPlan) -> None:
    whole = trained(tiny_model_dir, plan)
    assert plan.n_steps == 6
    for at in (1, 3, 6):
        store = MemoryStore()
        with pytest.raises(Interrupted, match=f"after step {at} of 6"):
            trained(tiny_model_dir, plan, checkpoints=store, on_step=stop_at(at))
        heard: list[float] = []
        resumed = trained(tiny_model_dir, plan, checkpoints=store, on_step=keep(heard))
        assert len(heard) == 6 - at
        assert resumed == whole


@pytest.mark.parametrize(("epochs", "expected"), [(3, 9), (9, 9)])
def test_checkpoints_are_spread_over_the_steps(tiny_model_dir: Path, epochs: int, expected: int) -> None:
    """However few the epochs: one over a large training set takes hours."""
    store = MemoryStore()
    trained(tiny_model_dir, plan_of(epochs=epochs), checkpoints=store)
    assert store.saves == expected
    again = trained(tiny_model_dir, plan_of(epochs=epochs), checkpoints=store)
    assert again == trained(tiny_model_dir, plan_of(epochs=epochs))


CODE = """
import hashlib, sys
from pathlib import Path
from tests.test_train import plan_of, trained
files = trained(Path(sys.argv[1]), plan_of(epochs=1))
print(hashlib.sha256(files["adapter_config.json"]).hexdigest())
"""


def test_the_hash_seed_changes_no_byte(tiny_model_dir: Path) -> None:
    """Another process, with a hash seed of its own, writes the same configuration."""
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CODE, str(tiny_model_dir)]
    other = subprocess.run(command, capture_output=True, check=True, env=environment, cwd=Path(__file__).parents[1])
    files = trained(tiny_model_dir, plan_of(epochs=1))
    assert other.stdout.decode().strip() == hashlib.sha256(files["adapter_config.json"]).hexdigest()


def loud(directory: Path) -> LoadedModel:
    """The tiny model with larger embeddings: those it is made with bound every logit to +-0.7."""
    loaded = load_model(str(directory), device="cpu")
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight.mul_(20)
    return loaded


@pytest.mark.parametrize("name", ["multi", "single", "parting later"])
def test_a_separable_task_is_learnt(tiny_model_dir: Path, tmp_path: Path, name: str) -> None:
    task = TASKS[name]
    words = ["zzz", "qqq", "jjj"][: len(task.label_names)]
    rows = tuple(
        TrainingExample(f"{'a b c d e f'[: 2 * n + 1]} {word}", label, "real")
        for word, label in zip(words, task.label_names, strict=True)
        for n in range(5)
    )
    plan = replace(plan_of(task, epochs=1, min_steps=40, batch_size=8, learning_rate=5e-3), rows=rows)
    heard: list[float] = []
    files = train_adapter(loud(tiny_model_dir), plan, on_step=keep(heard))
    assert np.mean(heard[-5:]) < 0.1 * heard[0]
    tuned = LocalLLM(with_adapter(loud(tiny_model_dir), write(tmp_path, files)))
    prompts = [classification_prompt(plan.prefix, f"{text} {word}") for word in words for text in ("b", "c d", "a b c")]
    found = tuned.score(prompts, plan.targets).argmax(axis=1).tolist()
    assert found == [index for index in range(len(words)) for _ in range(3)]


def write(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


@pytest.mark.parametrize("modules", ["all-linear", "attention"])
def test_plain_peft_reads_the_adapter(tiny_model_dir: Path, tmp_path: Path, modules: str) -> None:
    plan = plan_of(lora_target_modules=modules, epochs=5)
    adapter = write(tmp_path, trained(tiny_model_dir, plan))
    base = load_model(str(tiny_model_dir), device="cpu")
    prompts = [classification_prompt(plan.prefix, text) for text in (*TEXTS, "")]
    before = plain_scores(base, prompts, plan.targets)
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model_dir), str(adapter)).eval()
    by_peft = plain_scores(replace(base, model=model), prompts, plan.targets)
    merged = LocalLLM(with_adapter(load_model(str(tiny_model_dir), device="cpu"), adapter)).score(prompts, plan.targets)
    assert np.abs(by_peft - merged).max() < 1e-4
    assert np.abs(by_peft - before).max() > 0.01


def test_label_and_prompt_must_fit(tiny_model_dir: Path) -> None:
    long = two_label_task()
    huge = replace(long, instruction="x" * 2040)
    with pytest.raises(ModelError, match=r"the prompt has \d+ tokens and \d behind it, the model reads 2048"):
        trained(tiny_model_dir, plan_of(huge))
    loaded = load_model(str(tiny_model_dir), device="cpu")
    text = "y" * 3000
    plan = plan_of()
    cut = replace(plan, rows=(replace(plan.rows[0], text=text),), prompt=PromptRecipe(max_text_tokens=32))
    heard: list[float] = []
    train_adapter(loaded, cut, on_step=keep(heard))
    assert np.isfinite(heard).all()


def test_a_loss_that_is_not_finite_says_what_to_do(tiny_model_dir: Path) -> None:
    loaded = load_model(str(tiny_model_dir), device="cpu")
    with torch.no_grad():
        loaded.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"the training loss became nan at step 1 of 6.*train.learning_rate"):
        train_adapter(loaded, plan_of())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_weights_count_as_repeats(tiny_model_dir: Path, n: int) -> None:
    """A row of weight 2 pulls as much as two rows: the first loss is their weighted mean."""
    plan = plan_of(batch_size=8, epochs=1)
    rows = plan.rows[:n]
    weighted = replace(plan, rows=tuple(replace(row, weight=2.0 if i == 0 else 1.0) for i, row in enumerate(rows)))
    repeated = replace(plan, rows=tuple(replace(row, weight=1.0) for row in (rows[0], *rows)))
    assert losses_of(tiny_model_dir, weighted) == pytest.approx(losses_of(tiny_model_dir, repeated), abs=1e-5)


def test_the_engine_trains_the_same(tiny_model_dir: Path) -> None:
    plan = plan_of(epochs=1)
    engine = open_engine(str(tiny_model_dir), device="cpu", dtype="float32")
    files = engine.train(plan, MemoryStore(), lambda s, n, loss: False)
    assert files == trained(tiny_model_dir, plan)


def test_schedule(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def recorded(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        rates.append(float(self.param_groups[0]["lr"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    trained(tiny_model_dir, plan_of(epochs=4, warmup_fraction=0.25, learning_rate=1.0e-3))
    assert rates == pytest.approx([1e-3 * r for r in (1 / 3, 2 / 3, 1, *(n / 9 for n in range(9, 0, -1)))])
    rates.clear()
    trained(tiny_model_dir, plan_of(epochs=1, warmup_fraction=0.0, schedule="constant", learning_rate=1.0e-3))
    assert rates == pytest.approx([1e-3] * 3)


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("name", TASKS)
def test_what_the_tuning_does_not_change_may_be_computed_once(
    tiny_model_dir: Path, name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(TASKS[name], epochs=4, lora_layer_share=share)
    kept = losses_of(tiny_model_dir, plan)
    monkeypatch.setattr("handful.adapter_loss._MOST_BYTES_KEPT", 0)
    computed = losses_of(tiny_model_dir, plan)
    assert kept == pytest.approx(computed, abs=1e-5)
    assert kept[-1] < kept[0]


def test_kept_states_spare_the_lower_layers(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[range] = []
    through = Decoder.through

    def counted(self: Decoder, layers: range, *args: Any, **options: Any) -> torch.Tensor:
        passed.append(layers)
        return through(self, layers, *args, **options)

    monkeypatch.setattr(Decoder, "through", counted)
    trained(tiny_model_dir, plan_of(epochs=4))
    assert passed == [range(1), *[range(1, 2)] * 12]  # five rows at once, then three batches an epoch
    passed.clear()
    trained(tiny_model_dir, plan_of(epochs=1))  # each row is seen once: nothing to spare
    assert set(passed) == {range(2)}


@pytest.mark.parametrize(("share", "layers"), [(0.5, {"1"}), (0.51, {"0", "1"}), (1.0, {"0", "1"}), (0.01, {"1"})])
@pytest.mark.parametrize("modules", ["all-linear", "attention"])
def test_the_uppermost_layers_get_an_update(tiny_model_dir: Path, modules: str, share: float, layers: set[str]) -> None:
    plan = plan_of(epochs=1, lora_target_modules=modules, lora_layer_share=share)
    names = safetensors.torch.load(trained(tiny_model_dir, plan)["adapter_model.safetensors"])
    assert {re.findall(r"layers\.(\d+)\.", name)[0] for name in names} == layers
    assert len(names) == len(layers) * 2 * (7 if modules == "all-linear" else 2)
