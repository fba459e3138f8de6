"""How a task is worked: one frozen dataclass per stage, and the presets `paper`, `default`, `fast`, `accurate`.

The docstring under each field is its help text. Nothing in a recipe is specific to a task.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

_STRICT_KEYS = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)
_MOST = 1_000_000
"""Of whatever has no limit of its own: more is a slip of the hand, which arithmetic with floats may not survive."""
_MOST_TEXTS = 10_000
"""Per label: plans of more would be made in memory before anybody sees them."""


def _require(condition: bool, rule: str, value: object) -> None:
    if not condition:
        shown = "" if dataclasses.is_dataclass(value) else f", got {value!r:.60}"
        raise ValueError(f"{rule}{shown}")


def _require_range(least: int, settings: object, stage: str, *names: str, or_null: str = "", most: int = _MOST) -> None:
    for name in names:
        value = getattr(settings, name)
        rule = f"{stage}.{name} must be at least {least}{or_null and ', or null'}{or_null}"
        _require((value is None and bool(or_null)) or value >= least, rule, value)
        _require(value is None or value <= most, f"{stage}.{name} must be at most {most:,}", value)


@dataclass(frozen=True)
class PromptRecipe:
    """How every prompt is laid out."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT_KEYS
    format: Literal["plain", "chat"] = "plain"
    """`plain` text, or the model's own `chat` template around it."""
    max_text_tokens: int = 512
    """A text longer than this is cut in its middle."""

    def __post_init__(self) -> None:
        _require_range(8, self, "prompt", "max_text_tokens")


@dataclass(frozen=True)
class GenerateRecipe:
    """How the LLM writes candidates (paper, section 3: sampling, temperature 1.0, top_k 50, 1 or 2 beams)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT_KEYS
    synthetic_per_label: int = 72
    """N: how many synthetic examples each label should get; the paper has 21. 0 tunes on the real ones alone."""
    synthetic_in_all: int | None = 1600
    """Less than N where a task's labels would get more than this together, or where texts are long; null, as when N is
    given, is no limit. See `fit_recipe`."""
    temperature: float = 1.0
    """Softmax temperature; lower is safer and more alike."""
    top_k: int = 50
    """Sample among this many most likely tokens; 0 is the whole vocabulary."""
    num_beams: int = 1
    """1 samples plainly; 2 and more is beam-sampling: slower, likelier texts."""
    max_new_tokens: int | None = None
    """Upper limit of a text besides twice the longest real example; null is `prompt.max_text_tokens`."""
    demonstrations_per_prompt: int | None = 4
    """At most so many examples of the label stand in one prompt, drawn anew for each batch; null means all."""
    describe_label: bool = True
    """Whether the prompt gives the label's description."""
    attributes: Literal["none", "task", "llm"] = "none"
    """Ask for texts of drawn attributes (Yu et al. 2023): those of the `task` file, or topics the `llm` proposes."""
    attribute_values: int = 8
    """How many topics per label the LLM proposes."""
    logit_suppression: float = 0.0
    """Lower a content word's logit by this times log(1 + its count in the label's texts so far) (Chung et al. 2023)."""
    batch_size: int = 32
    """Texts per prompt."""
    max_rounds: int = 6
    """Stop after this many rounds of writing and filtering; with `max_candidates_per_label` null the first has all."""
    max_candidates_per_label: int | None = None
    """Stop asking for a label after this many candidates; null is a third more than N: screening and N take some."""
    max_seconds: float | None = None
    """Stop writing after this many seconds, with what is in hand; the result then depends on the machine's speed."""

    @property
    def most_candidates(self) -> int:
        """Candidates per label at most."""
        return self.max_candidates_per_label or math.ceil(self.synthetic_per_label * 4 / 3)

    def __post_init__(self) -> None:
        n = self.synthetic_per_label
        _require(0 <= n <= _MOST_TEXTS, f"generate.synthetic_per_label must be 0 to {_MOST_TEXTS:,}", n)
        _require(self.temperature > 0, "generate.temperature must be above 0", self.temperature)
        _require_range(0, self, "generate", "top_k")
        _require_range(1, self, "generate", "num_beams", "batch_size", "max_rounds")
        _require_range(1, self, "generate", "attribute_values", most=1000)
        _require_range(1, self, "generate", "synthetic_in_all", or_null=" for no limit")
        _require_range(1, self, "generate", "max_new_tokens", or_null=" for prompt.max_text_tokens")
        _require_range(1, self, "generate", "demonstrations_per_prompt", or_null=" for all")
        _require(self.logit_suppression >= 0, "generate.logit_suppression must be 0 or more", self.logit_suppression)
        _require(
            self.max_seconds is None or self.max_seconds > 0,
            "generate.max_seconds must be above 0, or null for no limit",
            self.max_seconds,
        )
        _require(
            self.max_candidates_per_label is None or 1 <= self.max_candidates_per_label <= 10 * _MOST_TEXTS,
            f"generate.max_candidates_per_label must be 1 to {10 * _MOST_TEXTS:,}, or null for a third more than N",
            self.max_candidates_per_label,
        )


@dataclass(frozen=True)
class FilterRecipe:
    """Which candidates become training examples."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT_KEYS
    method: Literal["agreement", "random", "none"] = "agreement"
    """`agreement`: the judges decide (see `relabel`); `random` and `none` are the ablations."""
    judge: Literal["in_context", "tuned"] = "tuned"
    """Who judges: the LLM `in_context` (the paper), or the LLM `tuned` to label with the real examples in context."""
    judges: int = 3
    """How many judges label each candidate; the mean of their probabilities counts."""
    judge_epochs: int = 10
    """How often a tuned judge is asked for each example, unless `judge_max_steps` ends it; a step shows half."""
    judge_max_steps: int | None = 24
    """At most so many steps (or labels, five epochs, eighty askings); null, as where epochs are given: no limit."""
    judge_learning_rate: float = 5e-4
    """Peak learning rate of a tuned judge."""
    cross_fit: bool = False
    """Show the writer half of the examples at a time, and a judge in context the other half."""
    calibration: Literal["none", "mean", "match", "believed"] = "believed"
    """How the judges' label prior, estimated on the candidates, is taken out (see `calibration.py`)."""
    min_margin: float = 0.0
    """The intended label must lead the best other label by this much probability."""
    relabel: bool = True
    """Keep a candidate under the judge's label where the judge disagrees clearly, instead of dropping it."""
    relabel_margin: float = 0.0
    """How clearly: lead of the judge's label, in probability."""
    min_words: int = 2
    """Shorter candidates are malformed; up to 2, as few words are enough as a real example has."""
    max_length_ratio: float = 2.0
    """A candidate of more than this times the words of the longest real example is malformed."""
    near_duplicate: float = 0.7
    """Jaccard similarity of word 3-grams from which two texts are the same; 1 is off."""

    @property
    def least_shots(self) -> int:
        """Examples that every label must have."""
        return 2 if self.cross_fit or self.judge == "tuned" else 1

    @property
    def one_shot_settings(self) -> str:
        """What to add to a command so that `least_shots` is 1, as it is typed."""
        changes = {"filter.judge=in_context": self.judge == "tuned", "filter.cross_fit=false": self.cross_fit}
        return " ".join(f"--set {change}" for change, is_needed in changes.items() if is_needed)

    def __post_init__(self) -> None:
        _require(1 <= self.judges <= 100, "filter.judges must be 1 to 100", self.judges)
        _require(1 <= self.judge_epochs <= 1000, "filter.judge_epochs must be 1 to 1,000", self.judge_epochs)
        _require(self.judge_learning_rate > 0, "filter.judge_learning_rate must be above 0", self.judge_learning_rate)
        _require(0 <= self.min_margin <= 1, "filter.min_margin must be in [0, 1]", self.min_margin)
        _require(0 <= self.relabel_margin <= 1, "filter.relabel_margin must be in [0, 1]", self.relabel_margin)
        _require(0 < self.near_duplicate <= 1, "filter.near_duplicate must be in (0, 1]", self.near_duplicate)
        _require_range(1, self, "filter", "min_words", "max_length_ratio")
        _require_range(1, self, "filter", "judge_max_steps", or_null=" for no limit")


@dataclass(frozen=True)
class TrainRecipe:
    """How the adapter is tuned (paper, section 4: LoRA rank 8, alpha 32, dropout 0.1, 100 epochs, Adam)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT_KEYS
    loss: Literal["label", "next_token"] = "label"
    """`label`: cross-entropy over the labels, soft ones too; `next_token`: over every token, as in the paper."""
    lora_rank: int = 8
    """Rank of the update."""
    lora_alpha: int = 32
    """Scale of the update, divided by the rank."""
    lora_dropout: float = 0.0
    """Dropout before the update."""
    lora_target_modules: Literal["all-linear", "attention"] = "all-linear"
    """Which linear layers get an update."""
    lora_layer_share: float = 0.5
    """Which share of the layers gets an update: the uppermost; what the others make of a text may be kept."""
    learning_rate: float = 5e-4
    """Peak learning rate."""
    epochs: int = 8
    """Passes over the training set; fewer if they take more than `max_steps`."""
    min_steps: int = 60
    """At least this many optimizer steps: few examples get more epochs."""
    max_steps: int | None = 200
    """Steps at most: fewer of long texts, a preset's more of many real ones; one epoch, above 22 labels 3, at least."""
    batch_size: int = 8
    """Examples per optimizer step, over all processes."""
    warmup_fraction: float = 0.05
    """Share of the steps with rising learning rate."""
    schedule: Literal["linear", "constant"] = "linear"
    """What the learning rate does after the warm-up."""
    weight_decay: float = 0.0
    """0 is Adam; above it AdamW."""
    max_grad_norm: float | None = 1.0
    """Gradients are clipped to this norm."""
    real_weight: float = 4.0
    """Weight of a real example before labels are balanced; a synthetic one weighs 1."""
    layers: int | None = None
    """Keep only so many of the model's lowest layers in the classifier: faster, less accurate; null keeps all."""
    soft_targets: bool = True
    """Train on the judge's label probabilities instead of the one label."""

    def __post_init__(self) -> None:
        _require_range(1, self, "train", "lora_rank", "lora_alpha", "epochs", "batch_size")
        _require(0 < self.lora_layer_share <= 1, "train.lora_layer_share must be in (0, 1]", self.lora_layer_share)
        _require(0 <= self.lora_dropout < 1, "train.lora_dropout must be in [0, 1)", self.lora_dropout)
        _require(self.learning_rate > 0, "train.learning_rate must be above 0", self.learning_rate)
        _require_range(0, self, "train", "min_steps")
        _require_range(1, self, "train", "max_steps", or_null=" for no limit")
        _require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            "train.max_grad_norm must be above 0, or null for no limit",
            self.max_grad_norm,
        )
        _require(0 <= self.warmup_fraction < 1, "train.warmup_fraction must be in [0, 1)", self.warmup_fraction)
        _require(self.weight_decay >= 0, "train.weight_decay must be 0 or more", self.weight_decay)
        _require_range(1, self, "train", "layers", or_null=" for all")
        _require(
            self.max_steps is None or self.max_steps >= self.min_steps,
            f"train.max_steps must be at least train.min_steps, {self.min_steps}, or null for no limit",
            self.max_steps,
        )
        _require(0 < self.real_weight <= _MOST, f"train.real_weight must be in (0, {_MOST:,}]", self.real_weight)


@dataclass(frozen=True)
class ClassifyRecipe:
    """How the tuned model answers."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT_KEYS
    calibration: Literal["none", "mean", "match"] = "none"
    """How the tuned model's label prior, estimated on the judged candidates, is taken out."""


@dataclass(frozen=True)
class Recipe:
    """Everything that is chosen about a run, besides task, model and seed."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT_KEYS
    name: str = "default"
    """Name shown in results."""
    prompt: PromptRecipe = field(default_factory=PromptRecipe)
    generate: GenerateRecipe = field(default_factory=GenerateRecipe)
    filter: FilterRecipe = field(default_factory=FilterRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    classify: ClassifyRecipe = field(default_factory=ClassifyRecipe)

    @property
    def least_shots(self) -> int:
        """Real examples per label that are needed: the judges' halves, if there is anything to judge."""
        return self.filter.least_shots if self.generate.synthetic_per_label else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested mappings, for the manifest."""
        return dataclasses.asdict(self)


_DEFAULT = Recipe()
# Texts in all: as many as the longest training reads once, `max_steps` times `batch_size`, but for the real ones.
PRESETS: dict[str, Recipe] = {
    "default": _DEFAULT,
    # To the letter where the paper says (else: benchmarks/paper); faster only where equivalent (but label_trie.py).
    "paper": Recipe(
        name="paper",
        generate=GenerateRecipe(
            synthetic_per_label=21,
            synthetic_in_all=None,
            demonstrations_per_prompt=None,
            describe_label=False,
            max_rounds=20,
            max_candidates_per_label=256,
        ),
        filter=FilterRecipe(judge="in_context", judges=1, calibration="none", relabel=False, near_duplicate=1.0),
        train=TrainRecipe(
            loss="next_token",
            lora_dropout=0.1,
            lora_target_modules="attention",
            lora_layer_share=1.0,
            learning_rate=2e-4,
            epochs=100,
            min_steps=0,
            max_steps=None,
            warmup_fraction=0.0,
            schedule="constant",
            max_grad_norm=None,
            real_weight=1.0,
            soft_targets=False,
        ),
    ),
    "fast": dataclasses.replace(
        _DEFAULT,
        name="fast",
        generate=GenerateRecipe(synthetic_per_label=24, synthetic_in_all=800),
        filter=FilterRecipe(judges=1),
        train=TrainRecipe(epochs=5, min_steps=40, max_steps=100),
    ),
    "accurate": dataclasses.replace(
        _DEFAULT,
        name="accurate",
        generate=GenerateRecipe(synthetic_per_label=144, synthetic_in_all=4800),
        filter=FilterRecipe(judges=7),
        train=TrainRecipe(max_steps=600),
    ),
}
