from __future__ import annotations

import pytest

from handful.errors import RecipeError
from handful.evaluation.methods import METHODS, method_of, methods_of


def test_specs_say_examples_and_changes() -> None:
    assert method_of("zero_shot") == METHODS["zero_shot"]
    assert method_of(" lora_real:25 ").shots == 25
    assert method_of("lora_real:full").shots == "full"
    changed = method_of("lora_synthetic:10[50, generate.temperature=0.7]")
    assert (changed.shots, changed.changes) == (10, ("generate.synthetic_per_label=50", "generate.temperature=0.7"))
    assert method_of(changed.key) == changed


def test_the_first_of_what_was_written_share_its_draw() -> None:
    part = method_of("lora_synthetic[ first=50 , 200]")
    assert (part.first_synthetic, part.changes) == (50, method_of("lora_synthetic[200]").changes)
    assert part.key == "lora_synthetic[first=50,generate.synthetic_per_label=200]"
    assert method_of(part.key) == part
    assert part.titled(4, [200]) == "ours (4 + 50), of 200"
    assert method_of("lora_synthetic").first_synthetic is None


def test_seeds_are_no_part_of_what_is_measured() -> None:
    assert method_of("lora_real:50@3").most_seeds == 3
    assert method_of("lora_real:50@3").key == method_of("lora_real:50").key == "lora_real:50"
    assert method_of("lora_synthetic[50]@2").most_seeds == 2
    assert method_of("lora_real").most_seeds is None
    assert method_of("lora_real:full").most_seeds == 1
    assert method_of("lora_real:full@3").most_seeds == 3


def test_a_list_keeps_commas_in_brackets_and_names_each_method_once() -> None:
    found = methods_of("zero_shot,lora_synthetic[21,generate.top_k=0],zero_shot,tfidf:25")
    assert [method.key for method in found] == [
        "zero_shot",
        "lora_synthetic[generate.synthetic_per_label=21,generate.top_k=0]",
        "tfidf:25",
    ]


def test_titles_say_how_many_examples() -> None:
    assert METHODS["lora_synthetic"].titled(4, [21]) == "ours (4 + 21)"
    assert METHODS["lora_synthetic"].titled(4, [72, 36, 72]) == "ours (4 + 36 or 72)"
    assert method_of("lora_synthetic[first=30,72]").titled(4, [36, 72]) == "ours (4 + 30), of 36 or 72"
    assert method_of("lora_real:25").titled(4, [21]) == "LoRA-25"
    assert method_of("lora_real:full").titled(4, [21]) == "LoRA-full"
    assert method_of("setfit").titled(4, [21]) == "SetFit on MiniLM, 4"
    assert method_of("setfit").titled(4, [21], "org/mpnet-base") == "SetFit on mpnet-base, 4"
    assert method_of("lora_synthetic[50,train.epochs=3]").titled(4, [50]) == "ours (4 + 50), train.epochs=3"


def test_a_list_of_nothing_is_named() -> None:
    with pytest.raises(RecipeError, match="no method is named"):
        methods_of(" , ")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lora_reel", "Did you mean 'lora_real'?"),
        ("", "The methods are"),
        ("lora_real:", "no number of examples"),
        ("lora_real:0", "no number of examples"),
        ("lora_real:-1", "no number of examples"),
        ("lora_real:٤", "no number of examples"),
        ("zero_shot:4", "uses no examples"),
        ("lora_synthetic:full", "starts from a handful"),
        ("lora_real@", "no number of seeds"),
        ("lora_real:4@0", "no number of seeds"),
        ("lora_real@3:4", "no number of seeds"),
        ("lora_real[first=2]", "tuned on no synthetic examples"),
        ("lora_real[50]", "Write lora_real without 50."),
        ("tfidf[50]", "tuned on no synthetic examples"),
        (f"lora_real:{'9' * 5000}", "no number of examples"),
        ("lora_synthetic[first=0]", "no number of examples"),
        ("lora_synthetic[first=]", "no number of examples"),
        ("lora_real[", "there is no method"),
        ("lora_real]4[", "there is no method"),
    ],
)
def test_what_means_nothing_is_named(spec: str, message: str) -> None:
    with pytest.raises(RecipeError, match=r".") as caught:
        method_of(spec)
    assert message in str(caught.value)
