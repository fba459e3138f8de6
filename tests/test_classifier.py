from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
from transformers import AutoModelForCausalLM

from handful.calibration import softmax
from handful.classifier import Classifier
from handful.classifier_files import classifier_spec
from handful.errors import AdapterError, ModelError
from handful.llm.adapters import with_adapter
from handful.llm.engine import open_engine
from handful.llm.loading import load_model
from handful.llm.local import LocalLLM
from handful.llm.protocol import Precision
from handful.progress import Silent
from handful.prompts import classification_prompt
from handful.run import open_run
from handful.training_set import real_rows
from handful.tuning import tune_classifier
from tests.llm.reference import plain_scores
from tests.tiny import make_tiny_model
from tests.toys import RecordingLLM, job_of, small_recipe, two_label_task

TASK = two_label_task()


def scripted(shift: tuple[float, ...] | None = None) -> Classifier:
    spec = classifier_spec(TASK, small_recipe(), base_model="scripted", base_model_fingerprint="scripted-1",
                           demonstrations=TASK.examples)  # fmt: skip
    return Classifier(RecordingLLM(), replace(spec, shift=shift))


def test_probabilities_and_labels_agree() -> None:
    classifier, texts = scripted(), [e.text for e in TASK.examples]
    rows = classifier.predict_proba(texts)
    assert rows.shape == (8, 2)
    assert rows.sum(axis=1) == pytest.approx(np.ones(8))
    assert classifier.labels == ("good", "bad")
    assert classifier.predict(texts) == [classifier.labels[i] for i in rows.argmax(axis=1)]
    assert set(classifier.predict(texts)) == {"good", "bad"}


def test_the_shift_is_taken_off() -> None:
    texts = [e.text for e in TASK.examples]
    plain, shifted = scripted().predict_proba(texts), scripted((2.0, 0.0)).predict_proba(texts)
    odds = np.log(plain[:, 0] / plain[:, 1]) - np.log(shifted[:, 0] / shifted[:, 1])
    assert odds == pytest.approx(np.full(8, 2.0))
    assert scripted((2.0, 0.0)).log_probs(texts) == pytest.approx(scripted().log_probs(texts))


def test_wrong_inputs_are_refused_and_none_is_fine() -> None:
    with pytest.raises(TypeError, match=r"not one string; write \[text\]"):
        scripted().predict("a text")
    with pytest.raises(TypeError, match="every text must be a string, got int"):
        scripted().predict(["a", 3])  # type: ignore[list-item]
    assert scripted().predict([]) == []
    assert scripted().predict_proba([]).shape == (0, 2)
    assert scripted().prompt_tokens([]) == 0.0


def test_streams_keep_order_and_memory() -> None:
    taken = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal taken
        for index in range(2500):
            taken += 1
            yield f"id{index}", TASK.examples[index % 8].text

    chunks = scripted().predict_stream(rows())
    first = next(chunks)
    assert len(first) == taken == 1024
    predictions = [*first, *(p for chunk in chunks for p in chunk)]
    assert [p.text_id for p in predictions] == [f"id{index}" for index in range(2500)]
    expected = scripted().predict([e.text for e in TASK.examples])
    assert [p.label for p in predictions] == [expected[index % 8] for index in range(2500)]
    assert all(sum(p.probabilities.values()) == pytest.approx(1) for p in predictions[:20])
    assert list(scripted().predict_stream(iter([]))) == []


@pytest.fixture(scope="module")
def directory(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = ("train.min_steps=12", "train.learning_rate=0.01", "prompt.max_text_tokens=24")
    job = job_of(TASK, open_engine(str(tiny_model_dir), device="cpu"), *overrides)
    with open_run(tmp_path_factory.mktemp("run") / "run", {"identity": {}, "environment": {}}) as run:
        return tune_classifier(job, real_rows(TASK, job.recipe), [], run, Silent())


def test_loaded_and_plain_peft_give_the_same_probabilities(directory: Path, tiny_model_dir: Path) -> None:
    classifier = Classifier.load(directory, device="cpu")
    texts = ["lovely film", "dull <|im_end|> plot", "", "two\nlines", "x " * 200]
    base = load_model(str(tiny_model_dir), device="cpu")
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model_dir), str(directory)).eval()
    prompts = [classification_prompt(classifier.spec.prefix, text) for text in texts]
    scores = plain_scores(replace(base, model=model), prompts, classifier.spec.targets, max_text_tokens=24)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = classifier.predict_proba(texts)
    assert np.abs(probabilities - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-4
    untuned = Classifier(open_engine(str(tiny_model_dir), device="cpu").llm(max_text_tokens=24), classifier.spec)
    assert np.abs(untuned.predict_proba(texts) - probabilities).max() > 0.01


def test_cut_texts_are_said_so(directory: Path) -> None:
    classifier = Classifier.load(directory, device="cpu")
    long, short = "y" * 2000, "short"
    assert classifier.is_cut(long)
    assert not classifier.is_cut(short)
    assert not classifier.is_cut(short + " \n" * 500)
    ((first, second),) = list(classifier.predict_stream([("a", long), ("b", short)]))
    assert (first.cut, second.cut) == (True, False)
    # What is left out has no say.
    other = "y" * 100 + "zq" * 900 + "y" * 100
    assert classifier.predict_proba([other]) == pytest.approx(classifier.predict_proba([long]), abs=1e-6)
    assert classifier.prompt_tokens([long]) > classifier.prompt_tokens([short])


def test_another_base_model_is_refused_and_a_moved_one_is_found(
    directory: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="are not those this was made with"):
        Classifier.load(directory, base_model=str(make_tiny_model(tmp_path / "other", seed=1)))
    moved = make_tiny_model(tmp_path / "moved")
    texts = ["warm film", "dull"]
    expected = Classifier.load(directory, device="cpu").predict_proba(texts)
    found = Classifier.load(directory, base_model=str(moved), device="cpu").predict_proba(texts)
    assert found == pytest.approx(expected, abs=1e-6)
    with pytest.raises(AdapterError, match="not a classifier directory"):
        Classifier.load(tmp_path)


def test_fewer_layers_are_the_lowest_ones_with_their_adapter(tiny_model_dir: Path, tmp_path: Path) -> None:
    overrides = ("train.min_steps=12", "train.learning_rate=0.01", "train.layers=1")
    job = job_of(TASK, open_engine(str(tiny_model_dir), device="cpu"), *overrides)
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        directory = tune_classifier(job, real_rows(TASK, job.recipe), [], run, Silent())
    assert not (directory / "decision.json").exists()  # it would be used with all layers
    classifier, texts = Classifier.load(directory, device="cpu"), ["lovely film", "dull", ""]
    base = load_model(str(tiny_model_dir), device="cpu")
    base.model.model.layers = base.model.model.layers[:1]
    base.model.config.num_hidden_layers = 1
    model = peft.PeftModel.from_pretrained(base.model, str(directory)).eval()
    prompts = [classification_prompt(classifier.spec.prefix, text) for text in texts]
    scores = plain_scores(replace(base, model=model), prompts, classifier.spec.targets)
    assert np.abs(classifier.predict_proba(texts) - softmax(scores)).max() < 1e-4


def test_more_layers_than_there_are_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    job = job_of(TASK, open_engine(str(tiny_model_dir), device="cpu"), "train.layers=3")
    with (
        open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run,
        pytest.raises(ModelError, match="cannot be cut to 3 layers: it has 2 layers"),
    ):
        tune_classifier(job, real_rows(TASK, job.recipe), [], run, Silent())


@pytest.mark.parametrize(("precision", "most"), [("bfloat16", 0.02), ("int8", 0.05)])
def test_less_precision_is_near_and_its_cost_can_be_asked(directory: Path, precision: Precision, most: float) -> None:
    exact = Classifier.load(directory, device="cpu")
    short = Classifier.load(directory, device="cpu", precision=precision)
    texts = ["lovely film", "dull plot", "warm", "the music was too loud"]
    distance = np.abs(exact.predict_proba(texts) - short.predict_proba(texts)).max()
    assert 1e-7 < distance < most
    assert short.agreement(exact, texts) == np.mean(np.equal(short.predict(texts), exact.predict(texts)))


def test_an_adapter_beside_its_model_answers_like_a_merged_one(directory: Path, tiny_model_dir: Path) -> None:
    classifier, texts = Classifier.load(directory, device="cpu"), ["lovely film", "dull plot", ""]
    loaded = with_adapter(load_model(str(tiny_model_dir), device="cpu"), directory, merge=False)
    beside = Classifier(LocalLLM(loaded, max_text_tokens=24), classifier.spec)
    assert beside.predict_proba(texts) == pytest.approx(classifier.predict_proba(texts), abs=1e-4)
