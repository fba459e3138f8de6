from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.speed import parts, results
from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.child import run
from benchmarks.speed.classify_plain import against_plain_loop, require_agreement
from benchmarks.speed.exponents import fitted_exponent, last_exponent
from benchmarks.speed.gemm import Peak, Products, products_of
from benchmarks.speed.generation_work import kept, line, stop_ids
from benchmarks.speed.hf_generate import hf_generate
from benchmarks.speed.plain import first_tokens, left_padded, plain_label_log_probs, whole_prompts
from benchmarks.speed.settings import DisagreementError, PartResult, Settings
from benchmarks.speed.whole_run import candidates_by_label, scaled
from handful.classifier import Classifier
from handful.classifier_files import classifier_spec
from handful.llm.loading import LoadedModel
from handful.llm.local import LocalLLM
from handful.llm.protocol import Sampling
from handful.prompts import Prompt, Segment
from handful.recipe import PRESETS
from tests.toys import single_token_task


def test_sides_take_turns_and_the_median_of_the_ratios_counts() -> None:
    order: list[str] = []

    def side(name: str, seconds: list[float]) -> Any:
        def measure(repeat: int) -> Measurement:
            order.append(f"{name}{repeat}")
            return Measurement(10.0, seconds[repeat])

        return measure

    comparison = alternate("x", side("a", [1.0, 1.0, 1.0]), side("b", [2.0, 9.0, 3.0]), 3)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert comparison.ratios == pytest.approx([2.0, 9.0, 3.0])
    assert comparison.ratio == pytest.approx(3.0)
    kept_repeats = comparison.to_dict()
    assert [m["seconds"] for m in kept_repeats["reference"]] == [2.0, 9.0, 3.0]
    assert json.loads(json.dumps(kept_repeats)) == kept_repeats


def test_rates_count_work_not_only_time() -> None:
    comparison = alternate("x", lambda _: Measurement(30, 2.0), lambda _: Measurement(10, 1.0), 1)
    assert comparison.ratio == pytest.approx(1.5)
    measured = timed(lambda: 7)
    assert measured.work == 7
    assert measured.seconds > 0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponents_are_found(power: float) -> None:
    sizes = [1, 10, 100, 1000]
    costs = [3 * size**power for size in sizes]
    assert fitted_exponent(sizes, costs) == pytest.approx(power)
    assert last_exponent(sizes, costs) == pytest.approx(power)
    assert fitted_exponent([0, *sizes], [99.0, *costs]) == pytest.approx(power)


def test_a_fixed_cost_is_told_from_growth_at_the_end() -> None:
    sizes = [1, 10, 100_000]
    assert last_exponent(sizes, [5 + size for size in sizes]) == pytest.approx(1, abs=0.15)
    assert fitted_exponent(sizes, [5 + size for size in sizes]) < 1
    with pytest.raises(ValueError, match="two different sizes"):
        fitted_exponent([0, 5], [1.0, 1.0])


def entry(date: str, **figures: Any) -> dict[str, Any]:
    settings = Settings(5, quick=False, scratch=Path())
    return {**results.entry(PartResult(figures), settings, "c", 1.0), "date": date}


def test_parts_measured_anew_replace_their_own_entry_only(tmp_path: Path) -> None:
    first = results.merged(None, {"run": entry("2026-01-02", run_vs_script=3.0), "a": entry("2026-01-01", x=1.0)})
    assert first["run_vs_script"] == 3.0
    assert first["generate_vs_hf"] is None
    assert first["date"] == "2026-01-02"
    results.write(tmp_path / "r" / "speed.json", first)
    again = results.merged(results.read(tmp_path / "r" / "speed.json"), {"a": entry("2026-01-03", x=2.0)})
    assert (again["run_vs_script"], again["x"], again["date"]) == (3.0, 2.0, "2026-01-03")
    assert again["parts"]["run"] == first["parts"]["run"]
    assert set(results.FIGURES) <= set(again)
    assert {"cpu", "cores", "memory_gib", "instructions"} <= set(again["machine"])
    assert "torch" in again["versions"]
    assert results.read(tmp_path / "missing.json") is None


def test_numbers_are_rounded_wherever_they_stand() -> None:
    assert results.rounded({"a": [1.23456789, (2, "x")], "b": None}) == {"a": [1.23457, [2, "x"]], "b": None}


def test_parts_are_chosen_by_name_or_beginning() -> None:
    assert parts.chosen(None) == list(parts.PARTS)
    assert parts.chosen("run, train") == ["train.label", "train.paper", "run"]
    with pytest.raises(ValueError, match="unknown parts nonsense"):
        parts.chosen("train,nonsense")


def classifier(loaded: LoadedModel) -> Classifier:
    spec = classifier_spec(single_token_task(), PRESETS["default"], base_model="tiny", base_model_fingerprint="f",
                           demonstrations=single_token_task().examples)  # fmt: skip
    return Classifier(LocalLLM(loaded), spec)


TEXTS = ["it was fine", "dull", "the whole story was told well and the music was lovely", "x y z"]


def test_the_plain_loop_does_our_work(tiny_loaded: LoadedModel) -> None:
    ours, tokenizer = classifier(tiny_loaded), tiny_loaded.tokenizer
    rows = whole_prompts(ours.spec.prefix, TEXTS, tokenizer, 512)
    labels = first_tokens(ours.spec.targets, tokenizer)
    scores = plain_label_log_probs(tiny_loaded.model, rows, labels, pad=tokenizer.pad_token_id, batch=3)
    assert np.abs(scores - ours.log_probs(TEXTS)).max() < 1e-4
    comparison, facts = against_plain_loop("tiny", ours, ours, tiny_loaded, [TEXTS, TEXTS[:2]], batch=2)
    assert [m.work for m in comparison.ours] == [m.work for m in comparison.reference] == [4, 2]
    assert facts["largest_difference"] < 1e-4


def test_other_work_is_refused(tiny_loaded: LoadedModel) -> None:
    ours = classifier(tiny_loaded)
    other = Classifier(LocalLLM(tiny_loaded), replace(ours.spec, prefix=(Segment("Something else. Text:"),)))
    mixed = Classifier(other._llm, ours.spec)
    require_agreement(mixed.log_probs(TEXTS), ours.log_probs(TEXTS), "same")
    with pytest.raises(DisagreementError, match="scores differ"):
        require_agreement(other.log_probs(TEXTS), ours.log_probs(TEXTS), "other prompt")
    with pytest.raises(DisagreementError):
        require_agreement([float("nan")], [0.0], "not a number")
    with pytest.raises(ValueError, match="labels of one token"):
        first_tokens([" positive", " several tokens here"], tiny_loaded.tokenizer)


def test_rows_end_in_the_same_column() -> None:
    inputs = left_padded([[5], [6, 7]], 9)
    assert inputs["input_ids"].tolist() == [[9, 5], [6, 7]]
    assert inputs["attention_mask"].tolist() == [[0, 1], [1, 1]]


def test_greedy_texts_are_those_of_generate(tiny_loaded: LoadedModel) -> None:
    tokenizer = tiny_loaded.tokenizer
    prompts = [Prompt((Segment(text),)) for text in ("Text: the", "Text: a dull story and", "was")]
    stop = stop_ids(tokenizer, tiny_loaded.model.config.vocab_size)
    ids = whole_prompts_of(prompts, tokenizer)
    rows = hf_generate(tiny_loaded.model, ids, stop, pad=tokenizer.pad_token_id, max_new_tokens=8, top_k=50,
                       greedy=True, batch=2)  # fmt: skip
    ours = LocalLLM(tiny_loaded).generate(prompts, [0, 0, 0], Sampling(8, top_k=1))
    assert [line(kept(row, frozenset(stop)), tokenizer) for row in rows] == [g.text for g in ours]
    assert [len(kept(row, frozenset(stop))) for row in rows] == [g.n_tokens for g in ours]


def whole_prompts_of(prompts: list[Prompt], tokenizer: Any) -> list[list[int]]:
    from handful.encoding import encode

    return [list(encode(prompt, tokenizer, max_text_tokens=64).prefix_ids) for prompt in prompts]


def test_what_stands_behind_the_end_is_not_kept() -> None:
    assert kept([3, 4, 9, 5], frozenset({9})) == [3, 4, 9]
    assert kept([3, 4], frozenset({9})) == [3, 4]


def test_operations_are_those_of_the_model(tiny_loaded: LoadedModel) -> None:
    products = products_of(tiny_loaded.model.config)
    assert products == Products((64, 32), (32, 32), (128, 32), (32, 64), 2)
    layer = 64 * 32 + 32 * 32 + 128 * 32 + 32 * 64
    assert products.needed_flops(10, 10) == 2 * 10 * 2 * layer
    assert products.needed_flops(10, 1) == 2 * (10 * (layer + 64 * 32) + layer - 64 * 32)
    measured = Peak(products, rows=10).measure(3)
    assert measured.work == 3 * products.needed_flops(10, 10)
    assert torch.is_grad_enabled()


def test_a_child_is_timed_and_weighed() -> None:
    finished = run(["cat"], "hello")
    assert finished.stdout == "hello"
    assert finished.seconds > 0
    assert 0 < finished.peak_gb < 0.1  # of `cat`, not of this process, which has torch loaded
    with pytest.raises(RuntimeError, match="code 1"):
        run(["false"])


def test_the_script_is_scaled_by_its_training_alone() -> None:
    assert scaled(100.0, 60.0, 3, 100) == pytest.approx(40 + 2000)


def test_candidates_are_counted_by_label(tmp_path: Path) -> None:
    lines = [json.dumps({"intended_label": label}) for label in "aab"]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    assert candidates_by_label(tmp_path / "c.jsonl") == {"a": 2, "b": 1}
