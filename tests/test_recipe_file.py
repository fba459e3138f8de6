import dataclasses
from pathlib import Path

import pytest

from handful.errors import RecipeError
from handful.recipe import PRESETS, Recipe
from handful.recipe_file import load_recipe


def test_default_is_the_default() -> None:
    assert load_recipe() == Recipe() == PRESETS["default"]


def test_paper_recipe_has_the_papers_settings() -> None:
    paper = PRESETS["paper"]
    train, generate = paper.train, paper.generate
    assert (train.lora_rank, train.lora_alpha, train.lora_dropout, train.epochs) == (8, 32, 0.1, 100)
    assert (train.loss, train.batch_size, train.real_weight, train.weight_decay) == ("next_token", 8, 1.0, 0.0)
    assert (generate.synthetic_per_label, generate.temperature, generate.top_k) == (21, 1.0, 50)
    assert generate.demonstrations_per_prompt is None
    assert (paper.filter.method, paper.filter.cross_fit, paper.filter.calibration) == ("agreement", False, "none")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_carry_their_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_overrides_apply_in_order_and_touch_nothing_else() -> None:
    recipe = load_recipe(
        "fast", ("train.epochs=3", "train.epochs=5", "filter.relabel=true", "generate.max_seconds=1.5")
    )
    expected = dataclasses.replace(
        PRESETS["fast"],
        train=dataclasses.replace(PRESETS["fast"].train, epochs=5),
        filter=dataclasses.replace(PRESETS["fast"].filter, relabel=True),
        generate=dataclasses.replace(PRESETS["fast"].generate, max_seconds=1.5),
    )
    assert recipe == expected


def test_override_null_means_all() -> None:
    assert (
        load_recipe("default", ("generate.demonstrations_per_prompt=null",)).generate.demonstrations_per_prompt is None
    )


def test_judges_are_tuned_as_long_as_who_gives_a_number_wants(tmp_path: Path) -> None:
    assert load_recipe("default").filter.judge_max_steps == 24
    assert load_recipe("default", ("filter.judge_epochs=30",)).filter.judge_max_steps is None
    assert load_recipe("default", ("filter.judge_epochs=30", "filter.judge_max_steps=9")).filter.judge_max_steps == 9
    path = tmp_path / "own.yaml"
    path.write_text("filter: {judge_epochs: 30}\n")
    assert load_recipe(str(path)).filter.judge_max_steps is None
    path.write_text("filter: {judge_epochs: 30, judge_max_steps: 9}\n")
    assert load_recipe(str(path)).filter.judge_max_steps == 9


def test_written_in_all_is_what_the_longest_training_reads_once() -> None:
    for name in ("fast", "default", "accurate"):
        train = PRESETS[name].train
        assert train.max_steps is not None
        assert PRESETS[name].generate.synthetic_in_all == train.max_steps * train.batch_size


def test_a_number_that_is_given_can_be_reached() -> None:
    assert load_recipe("paper", ("generate.synthetic_per_label=50",)).generate.max_candidates_per_label == 256
    more = load_recipe("paper", ("generate.synthetic_per_label=500",))
    assert more.generate.most_candidates == 667
    both = ("generate.synthetic_per_label=500", "generate.max_candidates_per_label=300")
    assert load_recipe("paper", both).generate.most_candidates == 300


def test_file_starts_from_its_base(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: paper\ntrain: {epochs: 4}\n")
    recipe = load_recipe(str(file), ("train.batch_size=2",))
    assert recipe.name == "mine"
    assert recipe.generate == PRESETS["paper"].generate
    assert recipe.train == dataclasses.replace(PRESETS["paper"].train, epochs=4, batch_size=2)


def test_file_without_base_starts_from_default(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: x\nprompt: {max_text_tokens: 64}\n")
    recipe = load_recipe(str(file))
    assert (recipe.name, recipe.prompt.max_text_tokens, recipe.train) == ("x", 64, Recipe().train)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "unknown key 'train.epoch'. Did you mean 'epochs'?"),
        ("trian.epochs=3", "unknown key 'trian'. Did you mean 'train'?"),
        ("train.zzz=3", "Known: loss, lora_rank"),
        ("train.epochs=0", "train.epochs must be at least 1, got 0"),
        ("train.epochs=many", "train.epochs: "),
        ("train.learning_rate=-1", "train.learning_rate must be above 0"),
        ("train.lora_dropout=1", "train.lora_dropout must be in [0, 1)"),
        ("train.loss=mse", "train.loss: "),
        ("generate.temperature=0", "generate.temperature must be above 0"),
        ("generate.top_k=-1", "generate.top_k must be at least 0, got -1"),
        ("generate.demonstrations_per_prompt=0", "at least 1, or null for all"),
        ("generate.max_candidates_per_label=0", "generate.max_candidates_per_label must be 1 to 100,000, or null"),
        ("train.min_steps=-1", "train.min_steps must be at least 0, got -1"),
        ("filter.near_duplicate=0", "filter.near_duplicate must be in (0, 1]"),
        ("filter.min_margin=1.1", "filter.min_margin must be in [0, 1]"),
        ("prompt.max_text_tokens=4", "prompt.max_text_tokens must be at least 8"),
        ("train.epochs", "has no '='"),
        ("train.max_grad_norm=0", "train.max_grad_norm must be above 0"),
        ("train.weight_decay=-1", "train.weight_decay must be 0 or more, got -1"),
        ("train.lora_alpha=0", "train.lora_alpha must be at least 1, got 0"),
        ("train.real_weight=1e300", "train.real_weight must be in (0, 1,000,000]"),
        ("train.max_steps=10", "train.max_steps must be at least train.min_steps, 60, or null for no limit, got 10"),
        ("filter.judges=true", "filter.judges is true, not a number or text"),
        ("train.layers=no", "train.layers is false, not a number or text"),
        ("generate.synthetic_per_label=-1", "must be 0 to 10,000, got -1"),
        ("generate.synthetic_per_label=1000000000000", "must be 0 to 10,000, got 1000000000000"),
        ("filter.judge_epochs=1000000000000", "must be 1 to 1,000"),
        ("filter.judge_max_steps=0", "must be at least 1, or null for no limit"),
        ("train.epochs=0x_", "is not YAML behind its '='"),
        ("name=2025-02-30", "is not YAML behind its '='"),
        ("train.epochs=&a [*a]", "is not YAML behind its '='"),
        ("train.epochs.x=1", "train.epochs"),
        ("name.x=1", "name"),
        ("train=3", "train"),
        ("train.epochs=[", "train.epochs=["),
        ("train.learning_rate=.nan", "train.learning_rate"),
        ("train.learning_rate=.inf", "train.learning_rate"),
    ],
)
def test_errors_name_the_key_and_the_mend(override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe("default", (override,))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            '"x\\n\\n## Injected heading\\n"',
            r"default: the name 'x.*## Injected heading' holds the control character U\+000A",
        ),
        ('"a\\e[2Jb"', r"holds the control character U\+001B"),
        ("n" * 151, "has 151 characters, more than 150. Shorten it"),
        ("''", "default: the name is empty"),
        ('"\\u200b"', "default: the name is empty"),
    ],
)
def test_a_name_is_a_line(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("default", (f"name={name}",))


@pytest.mark.parametrize("name", [*PRESETS, "n" * 150, "my recipe, 2nd try (fast)", "字", "a/b"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert load_recipe("default", (f"name={name}",)).name == name


def test_the_name_of_a_file_is_a_line_too(tmp_path: Path) -> None:
    file = tmp_path / "a\nb.yaml"
    file.write_text("train: {epochs: 3}\n")
    with pytest.raises(RecipeError, match=r"the name 'a\\nb' holds the control character U\+000A"):
        load_recipe(str(file))
    file.write_text("name: ours\n")
    assert load_recipe(str(file)).name == "ours"


NUMBERS = [
    f"{stage}.{setting.name}"
    for stage, settings in vars(Recipe()).items()
    if dataclasses.is_dataclass(settings)
    for setting in dataclasses.fields(settings)
    if setting.type in {"int", "int | None"}
]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [10**400, 10**7])
def test_no_number_is_too_large_to_count_with(key: str, value: int) -> None:
    with pytest.raises(RecipeError, match=rf"{key} must be .*, got 10000") as error:
        load_recipe("default", (f"{key}={value}",))
    assert len(str(error.value)) < 200


def test_a_million_steps_are_fine() -> None:
    long = ("train.epochs=1000000", "train.max_steps=1000000", "train.batch_size=1000000", "train.lora_rank=1000000")
    assert load_recipe("default", long).train.epochs == 1_000_000


def test_unknown_preset_is_suggested() -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'papre'. Did you mean 'paper'"):
        load_recipe("papre")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: [", "not readable as YAML"),
        ("base: papre", "unknown base recipe 'papre'. Did you mean 'paper'"),
        ("train: 3", "train"),
        ("train: {epoch: 3}", "unknown key 'train.epoch'"),
        ("train: {epochs: 3}\nfilter: {judges: 1}\ntrain: {max_steps: 60}\n", "the key 'train' stands twice"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(RecipeError) as error:
        load_recipe(str(file))
    assert message in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("overrides", [("train=3", "train.epochs=3"), ("name=x", "name.y=3")])
def test_keys_below_a_value_are_refused(overrides: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="sets a key of what has no keys"):
        load_recipe("default", overrides)


def test_exponents_without_a_dot_are_numbers() -> None:
    assert load_recipe("default", ("train.learning_rate=1e-4",)).train.learning_rate == 1e-4


def test_keys_that_are_no_strings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("1: 2\n")
    with pytest.raises(RecipeError, match="1"):
        load_recipe(str(file))
