"""A small run made by hand, whose numbers can be told in the head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from handful.evaluation.methods import OURS
from handful.reading.labels import Label
from handful.recipe import PRESETS
from handful.records import Candidate, Example, TrainingExample, Verdict
from handful.report.run_data import Answers, RunData
from handful.task import Task


def films(labels: tuple[str, str] = ("good", "bad"), n_test: int = 20, name: str = "films") -> Task:
    """Two labels, two examples each; every other test text is of the first."""
    words = {labels[0]: "lovely warm", labels[1]: "dull cold"}
    examples = tuple(Example(f"a {words[label]} film number {i}", label) for label in labels for i in range(2))
    test = tuple(Example(f"test {i}: a {words[labels[i % 2]]} story", labels[i % 2]) for i in range(n_test))
    return Task(
        name=name,
        instruction="Say whether the writer liked it.",
        text_name="film review",
        labels=tuple(Label(label, label, f"about {label}") for label in labels),
        examples=examples,
        test=test,
    )


def many_films(n_labels: int = 30) -> RunData:
    """A run of many labels: of the four test texts of each, label i has i % 4 answered as the next label."""
    names = tuple(f"label {index}" for index in range(n_labels))
    examples = tuple(Example(f"film of {name}", name) for name in names)
    test = tuple(Example(f"test {i} of {name}", name) for name in names for i in range(4))
    task = Task("films", "Say which.", "film", tuple(map(Label, names)), examples, test)
    told = [names[(at + 1) % n_labels if i < at % 4 else at] for at in range(n_labels) for i in range(4)]
    sure = tuple(tuple(0.9 if name == own else 0.1 / (n_labels - 1) for name in names) for own in told)
    own = Answers(tuple(example.label for example in test), tuple(told), sure)
    candidates = [Candidate(f"0-{at}-0", f"written {name}", name, 0, "p") for at, name in enumerate(names)]
    return RunData(
        task=task,
        recipe=PRESETS["default"].to_dict(),
        seed=3,
        model="smollm2-135m",
        candidates=candidates,
        verdicts=[Verdict(c.id, "kept", "agrees", c.intended_label, (), (0.0,) * n_labels) for c in candidates],
        training=[TrainingExample(c.text, c.intended_label, "synthetic") for c in candidates],
        timings=None,
        answers={OURS: own},
        results={"task": "films", "n_test": len(test), "methods": [result_row(OURS, "ours", 0.6, len(test))]},
    )


def judged(labels: Sequence[str] = ("good", "bad")) -> tuple[list[Candidate], list[Verdict]]:
    """Ten texts a label: six kept, one moved to the other label, two rejected by the judge, one a duplicate."""
    candidates, verdicts = [], []
    for index, label in enumerate(labels):
        other = labels[1 - index]
        for number in range(10):
            candidate = Candidate(f"0-{index}-{number}", f"written {label} text {number}", label, 0, "p")
            candidates.append(candidate)
            sure = (0.9 - number / 100, 0.1 + number / 100)
            row = sure if (number < 6) == (index == 0) else sure[::-1]
            if number < 6:
                verdicts.append(Verdict(candidate.id, "kept", "agrees", label, row, row, 0.8 - number / 50))
            elif number == 6:
                verdicts.append(Verdict(candidate.id, "relabelled", "relabelled", other, row, row, -0.7))
            elif number < 9:
                verdicts.append(Verdict(candidate.id, "rejected", "disagrees", label, row, row, -0.7))
            else:
                verdicts.append(Verdict(candidate.id, "rejected", "duplicate", label))
    return candidates, verdicts


def answers(task: Task, n_wrong: int) -> Answers:
    """All right but the first so many, which are wrong with falling probability."""
    labels, test = task.label_names, task.test or ()
    predicted, probabilities = [], []
    for place, example in enumerate(test):
        truth = labels.index(example.label)
        index = 1 - truth if place < n_wrong else truth
        sure = 0.95 - place / 100
        predicted.append(labels[index])
        probabilities.append((sure, 1 - sure) if index == 0 else (1 - sure, sure))
    return Answers(tuple(example.label for example in test), tuple(predicted), tuple(probabilities))


def result_row(method: str, title: str, accuracy: float, n_texts: int, **more: Any) -> dict[str, Any]:
    """One row of results.json."""
    return {
        "method": method,
        "title": title,
        "n_texts": n_texts,
        "accuracy": accuracy,
        "accuracy_low": max(0.0, accuracy - 0.1),
        "accuracy_high": min(1.0, accuracy + 0.1),
        "macro_f1": accuracy,
        "calibrated_accuracy": accuracy,
        "calibrated_macro_f1": accuracy,
        "ms_per_text": 12.5,
        "prompt_tokens": 40.0,
        **more,
    }


def run_data(task: Task | None = None, *, wrong: tuple[int, int] = (4, 2), measured: bool = True) -> RunData:
    """A run whose baseline and ours answer so many of the test texts wrongly."""
    task = films() if task is None else task
    candidates, verdicts = judged(task.label_names)
    texts = {candidate.id: candidate.text for candidate in candidates}
    rows = [TrainingExample(example.text, example.label, "real", 2.0) for example in task.examples]
    rows += [TrainingExample(texts[v.candidate_id], v.label, "synthetic") for v in verdicts if v.decision != "rejected"]
    data = RunData(
        task=task,
        recipe=PRESETS["default"].to_dict(),
        seed=3,
        model="smollm2-135m",
        candidates=candidates,
        verdicts=verdicts,
        training=rows,
        timings={"stages": {"train": {"seconds": 20.0, "units": 60, "unit": "steps"}}, "seconds": 20.0},
    )
    if not measured:
        return dataclasses.replace(data, task=dataclasses.replace(task, test=None))
    n_test = len(task.test or ())
    both = {"lora_real": answers(task, wrong[0]), OURS: answers(task, wrong[1])}
    titles = {"lora_real": "LoRA-2", OURS: "ours (2 + 21)"}
    methods = [result_row(m, titles[m], 1 - n / n_test, n_test) for m, n in zip(both, wrong, strict=True)]
    return dataclasses.replace(data, answers=both, results={"task": task.name, "n_test": n_test, "methods": methods})
