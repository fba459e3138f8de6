from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from handful.errors import DataError, HandfulError, TaskError
from handful.limits import MAX_LABEL_CHARS, MAX_YAML_BYTES
from handful.task import Example, Label, Task, load_task

CSV = "text,label\nI was charged twice,billing\nRefund me,billing\nI cannot log in,access\nReset my password,access\n"
EXAMPLES = [
    ("I was charged twice", "billing"),
    ("Refund me", "billing"),
    ("I cannot log in", "access"),
    ("Reset my password", "access"),
]
FULL = """\
name: support-tickets
instruction: Classify the support ticket by what the customer needs.
text_name: support ticket
labels:
  billing: {verbalizer: Billing, description: "charges, invoices and refunds"}
  access:
    description: >
      logging in,
      passwords
examples: examples.csv
test: test.csv
unlabeled: tickets.csv
"""


def folder_of(tmp_path: Path, task: str, examples: str = CSV, **files: str) -> Path:
    (tmp_path / "examples.csv").write_text(examples, encoding="utf-8")
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content, encoding="utf-8")
    path = tmp_path / "task.yaml"
    path.write_text(task, encoding="utf-8")
    return path


def failure(path: Path, kind: type[HandfulError] = TaskError) -> str:
    with pytest.raises(kind) as caught:
        load_task(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def inline(labels: str, rows: list[tuple[str, str]]) -> str:
    listed = json.dumps([{"text": text, "label": label} for text, label in rows], ensure_ascii=False)
    return f"labels: {labels}\nexamples: {listed}\n"


class TestLoading:
    def test_full_file(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, FULL, test="text,label\nHi,access\n", tickets="text\nHello\n")
        task = load_task(path)
        assert task == Task(
            name="support-tickets",
            instruction="Classify the support ticket by what the customer needs.",
            text_name="support ticket",
            labels=(
                Label("billing", "Billing", "charges, invoices and refunds"),
                Label("access", "access", "logging in, passwords"),
            ),
            examples=tuple(Example(*row) for row in EXAMPLES),
            test=(Example("Hi", "access"),),
            unlabeled_path=tmp_path / "tickets.csv",
            source=str(path),
            warnings=("the texts of `unlabeled` are not used: every recipe does without",),
        )
        assert task.label_names == ("billing", "access")
        assert task.verbalizers == {"billing": "Billing", "access": "access"}
        assert task.examples_of("access") == (Example(*EXAMPLES[2]), Example(*EXAMPLES[3]))

    def test_smallest_file(self, tmp_path: Path) -> None:
        task = load_task(folder_of(tmp_path, "labels: [billing, access]\nexamples: examples.csv\n"))
        assert (task.name, task.text_name, task.test, task.unlabeled_path) == ("task", "text", None, None)
        assert task.instruction == "Classify the text as one of the labels."
        assert task.warnings == ()

    def test_default_instruction_names_the_text(self, tmp_path: Path) -> None:
        task = "labels: [billing, access]\ntext_name: support ticket\nexamples: examples.csv\ntest: null\n"
        assert load_task(folder_of(tmp_path, task)).instruction == ("Classify the support ticket as one of the labels.")

    def test_columns_of_other_names(self, tmp_path: Path) -> None:
        task = (
            "labels: {billing: , access: null}\nexamples: examples.csv\nunlabeled: more.csv\n"
            "text_column: body\nlabel_column: kind\n"
        )
        path = folder_of(tmp_path, task, CSV.replace("text,label", "body,kind"), more="body\nx\n")
        loaded = load_task(path)
        assert loaded.examples[0] == Example("I was charged twice", "billing")
        assert loaded.text_column == "body"

    @pytest.mark.parametrize("label", ["yes", "no", "null", "~", "1.0", "2026-11-22", "0x1F", "🙂", "1_000", "on"])
    def test_scalars_are_labels_not_values(self, tmp_path: Path, label: str) -> None:
        for labels in (f"[{label}, other]", f"{{{label}: , other: }}", f"{{{label}: null, other: ~}}"):
            path = folder_of(tmp_path, inline(labels, [("a", label), ("b", "other")]))
            assert load_task(path).labels == (Label(label), Label("other"))

    def test_a_quoted_label_keeps_its_quotes_and_colons(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, inline("""{'"a": b': , '# c': }""", [("x", '"a": b'), ("y", "# c")]))
        assert load_task(path).label_names == ('"a": b', "# c")

    def test_decomposed_letters_are_kept_byte_for_byte(self, tmp_path: Path) -> None:
        label = "cafe\u0301"
        path = folder_of(tmp_path, inline(f"[{label}, tea]", [("x", label), ("y", "tea")]))
        assert load_task(path).label_names == (label, "tea")


HEAD = "labels: [billing, access]\n"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("", "task.yaml: the file is empty. See the documentation for a task file."),
        ("- a\n", "task.yaml:1: the task has to be a mapping with the keys 'name', 'instruction', 'text_name', "
         "'labels', 'examples', 'test', 'unlabeled', 'attributes', 'text_column', "
         "'label_column'. Write it as name: ..."),
        ("labels: [a, b]\n", "task.yaml:1: the task has no key 'examples'. Add examples: ..."),
        ("lables: [a, b]\nexamples: e\n", "task.yaml:1: the task has an unknown key 'lables'. Did you mean 'labels'?"),
        (HEAD + "examples: examples.csv\nlabels: [a]\n",
         "task.yaml:3: the key 'labels' stands twice (first at task.yaml:1). Delete one."),
        ("labels:\n  billing:\n    verbaliser: B\n  access:\nexamples: examples.csv\n",
         "task.yaml:3: the label 'billing' has an unknown key 'verbaliser'. Did you mean 'verbalizer'?"),
        ("labels:\n  billing: Billing\n  access:\nexamples: examples.csv\n",
         "task.yaml:2: the label 'billing' is followed by the text 'Billing'. "
         "Write {verbalizer: Billing} if this is the word the model should write."),
        ("labels: billing\nexamples: examples.csv\n", "task.yaml:1: labels has to be a mapping or a list. "
         "Write labels: [one, other], or one per line with its description."),
        ("labels: [billing]\nexamples: examples.csv\n",
         "task.yaml:1: there is one label, 'billing'. Give at least two labels to choose from."),
        ("labels: []\nexamples: examples.csv\n",
         "task.yaml:1: there are no labels. Give at least two labels to choose from."),
        ("labels:\n- billing\n- access\n- billing\nexamples: examples.csv\n",
         "task.yaml:4: the label 'billing' is given twice (first at task.yaml:2). Delete one."),
        ("labels:\n- billing\n- ''\nexamples: examples.csv\n",
         "task.yaml:3: the label is empty. Fill it in, in quotes if need be."),
        ("labels:\n- billing\n- ' access'\nexamples: examples.csv\n",
         "task.yaml:3: the label ' access' has white space around it. Write it as 'access'."),
        ('labels:\n- billing\n- "a\\nb"\nexamples: examples.csv\n',
         "task.yaml:3: the label 'a\\nb' holds the control character U+000A. "
         "Keep it to one line of visible characters."),
        ('labels:\n- billing\n- "a\\Lb"\nexamples: examples.csv\n',
         "task.yaml:3: the label 'a\\u2028b' holds the control character U+2028. "
         "Keep it to one line of visible characters."),
        ('labels:\n- "caf\\u00e9"\n- "cafe\\u0301"\nexamples: examples.csv\n',
         "task.yaml:3: the label 'cafe\u0301' looks the same as the one at task.yaml:2 but is written with other "
         "code points. Write both in the same Unicode form (NFC)."),
        ("labels:\n  billing: {verbalizer: B}\n  access: {verbalizer: B}\nexamples: examples.csv\n",
         "task.yaml:3: the labels 'billing', 'access' have the same verbalizer 'B' (first at task.yaml:2). "
         "Give each label a verbalizer of its own."),
        ("labels:\n  billing:\n    verbalizer: ''\n  access:\nexamples: examples.csv\n",
         "task.yaml:3: the verbalizer is empty. Fill it in, in quotes if need be."),
        ('labels:\n  billing:\n    verbalizer: "B\\t1"\n  access:\nexamples: examples.csv\n',
         "task.yaml:3: the verbalizer 'B\\t1' holds the control character U+0009. "
         "Keep it to one line of visible characters."),
        (HEAD + "examples: {file: a}\n",
         "task.yaml:2: examples has to be a path or a list. "
         "Write examples: file.csv, or a list of {text: ..., label: ...}."),
        (HEAD + "examples:\n- {text: a, label: billing}\n- {text: b}\n",
         "task.yaml:4: the example has no key 'label'. Add label: ..."),
        (HEAD + "examples: []\n",
         "task.yaml:2: each label needs at least 1 example; there are 'billing' 0, 'access' 0. "
         "Add examples of 'billing', 'access'."),
        (HEAD + "examples:\n- {text: a, label: billing}\n- {text: b, label: billing}\n",
         "task.yaml:2: each label needs at least 1 example; there are 'billing' 2, 'access' 0. "
         "Add examples of 'access'."),
        (HEAD + "name: [a]\nexamples: examples.csv\n",
         "task.yaml:2: name is a list, not a text. Put the text in quotes."),
        ("labels: &x [a, b]\nexamples: *x\n",
         "task.yaml:1: this is not valid YAML: anchors and aliases (& and *) are not supported. "
         "Check the indentation, and quote values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `."),
        ("labels: [a, b\nexamples: x\n",
         "task.yaml:2: this is not valid YAML: expected ',' or ']', but got ':' (while parsing a flow sequence). "
         "Check the indentation, and quote values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `."),
        ("a: b\nc: \x07\n", "task.yaml:2: the character U+0007 may not stand in YAML. Delete it."),
        ("? [a]\n: b\n",
         "task.yaml:1: a key has to be a text. "
         "Check the indentation, and quote values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `."),
        ("[" * 5_000, "task.yaml: the lists or mappings are nested too deeply. "
         "Check the indentation, and quote values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `."),
    ],
)  # fmt: skip
def test_broken_task_says_what_where_and_how_to_mend(tmp_path: Path, task: str, message: str) -> None:
    assert failure(folder_of(tmp_path, task)) == message


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,biling\n", "examples.csv:6: 'biling' is not a label of the task ('billing', 'access'). "
         "Did you mean 'billing'?"),
        ("a,zzz\n", "examples.csv:6: 'zzz' is not a label of the task ('billing', 'access'). "
         "Add it under labels, or correct the row."),
        ("refund  ME,access\n", "examples.csv:6: the text 'refund  ME' has the label 'access' here "
         "and 'billing' at examples.csv:3. Keep the one that is right. Upper and lower case count as the same."),
        ("a\n", "examples.csv:6: the row has 1 field and the header 2. "
         "Put a text that holds a comma or a newline in double quotes."),
    ],
)  # fmt: skip
def test_broken_examples_say_what_where_and_how_to_mend(tmp_path: Path, rows: str, message: str) -> None:
    path = folder_of(tmp_path, HEAD + "examples: examples.csv\n", CSV + rows)
    assert failure(path, DataError) == message


class TestFilesAround:
    def test_task_file_missing_folder_too_large_or_not_utf8(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        assert failure(tmp_path / "folder") == "folder: this is a folder, not a file. Name the file in it."
        assert failure(tmp_path / "none.yaml") == "none.yaml: there is no such file. Check the path."
        path = folder_of(tmp_path, "#" * (MAX_YAML_BYTES + 1))
        assert failure(path) == (
            "task.yaml: the file is larger than 1,000,000 bytes. "
            "Move the examples to a CSV file and name it under examples."
        )
        path.write_bytes(b"name: a\nlabels: caf\xe9\n")
        assert failure(path) == ("task.yaml:2: the byte 0xe9 at byte offset 19 is not UTF-8. Save the file as UTF-8.")

    def test_examples_file_missing(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, HEAD + "examples: example.csv\n")
        assert failure(path, DataError) == (
            "example.csv: there is no such file. Did you mean 'examples.csv' in the same folder?"
        )

    def test_unlabeled_file_is_checked_at_once(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, HEAD + "examples: examples.csv\nunlabeled: u.csv\n", u="body\nx\n")
        assert failure(path, DataError).startswith("u.csv:1: there is no column 'text'; the columns are 'body'.")

    def test_label_of_a_test_text_is_checked(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, HEAD + "examples: examples.csv\ntest: t.csv\n", t="text,label\na,acess\n")
        assert failure(path, DataError) == (
            "t.csv:2: 'acess' is not a label of the task ('billing', 'access'). Did you mean 'access'?"
        )

    def test_inline_text_is_checked_at_its_line(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, HEAD + "examples:\n- text: a\n  label: billing\n- label: access\n  text: ''\n")
        assert failure(path, DataError) == "task.yaml:6: the text is empty. Fill it in or delete the row."

    def test_half_a_surrogate_pair_is_named(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, HEAD + 'examples:\n- text: a\n  label: "\\ud83d"\n')
        assert failure(path, DataError) == (
            "task.yaml:4: the label holds half a surrogate pair (U+D83D). Write the whole character in UTF-8."
        )


class TestWarnings:
    def test_repeats_are_left_out(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, HEAD + "examples: examples.csv\n", CSV + "refund me,billing\n")
        task = load_task(path)
        assert task.examples == tuple(Example(*row) for row in EXAMPLES)
        assert task.warnings == (
            f"1 example repeats another and is left out, "
            f"first {tmp_path}/examples.csv:6 (as {tmp_path}/examples.csv:3)",
        )

    def test_test_texts_with_two_labels_are_named_and_kept(self) -> None:
        test = [("new one", "billing"), ("New  one", "access"), ("new one", "billing")]
        task = Task.create("t", None, EXAMPLES, test=test)
        assert len(task.test or ()) == 3
        assert task.warnings == ("1 test text is there with another label, too, first test[1] (as test[0])",)

    def test_leaked_test_texts_are_named_and_kept(self) -> None:
        task = Task.create("t", None, EXAMPLES, test=[("new", "access"), ("Refund  me", "billing")])
        assert task.warnings == ("1 test text is also an example, first test[1]: 'Refund  me'",)
        assert task.test == (Example("new", "access"), Example("Refund  me", "billing"))


class TestCreate:
    @pytest.mark.parametrize(
        ("labels", "expected"),
        [
            (None, (Label("access"), Label("billing"))),
            (["billing", Label("access", "Access")], (Label("billing"), Label("access", "Access"))),
            (
                {"billing": "Bill", "access": {"description": "d"}},
                (Label("billing", "Bill"), Label("access", "access", "d")),
            ),
            ({"billing": None, "access": {}}, (Label("billing"), Label("access"))),
        ],
    )
    def test_labels(self, labels: Any, expected: tuple[Label, ...]) -> None:
        assert Task.create("t", labels, EXAMPLES).labels == expected

    def test_a_set_of_labels_has_one_order(self) -> None:
        names = {f"label {n}" for n in range(20)} | {"billing", "access"}
        examples = [*EXAMPLES, *((f"text {n}", f"label {n}") for n in range(20))]
        assert Task.create("t", names, examples).label_names == tuple(sorted(names))

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ("billing", "labels: labels is one string, 'billing'. Give a list of label names."),
            ([1, 2], "labels: the label 1 is not made of strings. "
             "Give names, verbalizers and descriptions as strings."),
            ({"a": {"verb": "b"}}, "labels: the label 'a' is given as {'verb': 'b'}. "
             "Give a verbalizer, or {verbalizer: ..., description: ...}."),
            (["billing", "x" * (MAX_LABEL_CHARS + 1)], f"labels: the label '{'x' * 60}...' has 151 characters, "
             "more than 150. Shorten it."),
            (map(str, range(1_001)), "labels: there are 1,001 labels, more than 1,000"),
        ],
    )  # fmt: skip
    def test_unusable_labels(self, labels: Any, message: str) -> None:
        with pytest.raises(TaskError) as caught:
            Task.create("t", labels, EXAMPLES)
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"name": " "}, "name: the name is empty. Fill it in, in quotes if need be."),
            ({"text_name": "a\nb"}, "text_name: the text_name 'a\\nb' holds the control character U+000A. "
             "Keep it to one line of visible characters."),
            ({"instruction": "\n"}, "instruction: the instruction is empty. "
             "Fill it in, in quotes if need be."),
            ({"instruction": "a\n b\x1b"}, "instruction: the instruction 'b\\x1b' holds the control character U+001B. "
             "Keep it to one line of visible characters."),
        ],
    )  # fmt: skip
    def test_unusable_words(self, fields: dict[str, str], message: str) -> None:
        with pytest.raises(TaskError) as caught:
            Task.create(**{"name": "t", "labels": None, "examples": EXAMPLES, **fields})  # type: ignore[arg-type]
        assert str(caught.value) == message

    def test_instruction_may_have_several_lines(self) -> None:
        assert Task.create("t", None, EXAMPLES, instruction="One.\n\nTwo.").instruction == "One.\n\nTwo."

    def test_require_shots_lists_the_counts(self) -> None:
        task = Task.create("t", None, EXAMPLES[:3])
        task.require_shots(1)
        with pytest.raises(TaskError) as caught:
            task.require_shots(2)
        assert str(caught.value) == (
            "Python: each label needs at least 2 examples; there are 'access' 1, 'billing' 2. Add examples of 'access'."
        )

    def test_examples_of_an_unknown_label(self) -> None:
        with pytest.raises(TaskError, match="the task has no label 'x'"):
            Task.create("t", None, EXAMPLES).examples_of("x")


POOL = [(f"text {index} of {label}", label) for label in ("a", "b", "c") for index in range(30)]


class TestSample:
    def test_does_not_depend_on_row_order_or_other_labels(self) -> None:
        drawn = Task.create("t", ["a", "b", "c"], POOL).sample(4, seed=7)
        shuffled = random.Random(1).sample(POOL, len(POOL))
        assert Task.create("t", ["a", "b", "c"], shuffled).sample(4, seed=7) == drawn
        fewer = Task.create("t", ["b", "a"], [row for row in POOL if row[1] != "c"]).sample(4, seed=7)
        assert fewer.examples_of("a") == drawn.examples_of("a")
        assert [example.label for example in drawn.examples] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4

    def test_is_the_same_on_every_machine(self) -> None:
        drawn = Task.create("t", None, POOL).sample(2, seed=0)
        assert [example.text for example in drawn.examples] == EXPECTED_DRAW

    def test_seeds_differ_and_larger_draws_hold_smaller(self) -> None:
        task = Task.create("t", None, POOL)
        assert task.sample(4, seed=0).examples != task.sample(4, seed=1).examples
        assert set(task.sample(4, seed=0).examples) < set(task.sample(8, seed=0).examples)

    def test_too_few_or_none(self) -> None:
        with pytest.raises(TaskError, match="each label needs at least 31 examples; there are 'a' 30, 'b' 30, 'c' 30"):
            Task.create("t", None, POOL).sample(31, seed=0)
        with pytest.raises(TaskError, match="shots_per_label is 0"):
            Task.create("t", None, POOL).sample(0, seed=0)

    def test_warns_only_of_the_leaks_drawn(self) -> None:
        task = Task.create("t", None, POOL, test=POOL[:1])
        assert len(task.warnings) == 1
        assert task.sample(30, seed=0).warnings == task.warnings
        drawn = task.sample(1, seed=0)
        assert bool(drawn.warnings) == (Example(*POOL[0]) in drawn.examples)

    def test_keeps_the_warnings_that_are_not_of_the_test_texts(self) -> None:
        task = Task.create("t", None, [*POOL, POOL[0]])
        assert len(task.warnings) == 1
        assert task.sample(1, seed=0).warnings == task.warnings


# Fixed once: a change here changes every published draw.
EXPECTED_DRAW = ["text 17 of a", "text 9 of a", "text 12 of b", "text 26 of b", "text 1 of c", "text 29 of c"]


class TestSaving:
    def make(self, **changes: Any) -> Task:
        fields: dict[str, Any] = {
            "name": "t",
            "labels": ["billing", "access"],
            "examples": EXAMPLES,
            "test": [("x", "access")],
        }
        return Task.create(**{**fields, **changes})

    def test_round_trip_through_json(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path, FULL, test="text,label\nRefund me,billing\n", tickets="text\nHello\n")
        for task in (load_task(path), self.make()):
            assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task

    def test_unusable_saved_task(self) -> None:
        for row in ({"name": "t"}, {**self.make().to_dict(), "extra": 1}):
            with pytest.raises(TaskError, match="this is not a saved task: "):
                Task.from_dict(row)

    def test_fingerprint_is_of_what_affects_results(self) -> None:
        base = self.make().fingerprint()
        assert base == self.make(name="other").fingerprint()
        assert len(base) == 64
        changes: list[dict[str, Any]] = [
            {"labels": ["access", "billing"]},
            {"labels": {"billing": "B", "access": None}},
            {"labels": {"billing": {"description": "d"}, "access": None}},
            {"examples": EXAMPLES[::-1]},
            {"instruction": "Other."},
            {"text_name": "ticket"},
        ]
        assert len({base, *(self.make(**change).fingerprint() for change in changes)}) == len(changes) + 1

    def test_test_texts_have_a_fingerprint_of_their_own(self) -> None:
        base, other = self.make(), self.make(test=None)
        assert base.fingerprint() == other.fingerprint()
        fewer = self.make(test=[("x", "access"), ("y", "billing")])
        assert len({one.test_fingerprint() for one in (base, other, fewer)}) == 3
        assert base.test_fingerprint() == self.make(instruction="Other.").test_fingerprint()

    def test_unlabelled_texts_decide_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "u.csv"
        path.write_text("text\nx\n")
        assert self.make(unlabeled=path).fingerprint() == self.make().fingerprint()


def with_attributes(folder: Path, value: str) -> Path:
    path = folder / "task.yaml"
    rows = "[{text: one, label: a}, {text: two, label: b}]"
    path.write_text(f"name: t\nlabels: [a, b]\nexamples: {rows}\nattributes: {value}\n")
    return path


def test_attributes_are_read_as_text(tmp_path: Path) -> None:
    task = load_task(with_attributes(tmp_path, "{length: [short, long], year: [1999, no]}"))
    assert [(entry.name, entry.values) for entry in task.attributes] == [
        ("length", ("short", "long")),
        ("year", ("1999", "no")),
    ]


@pytest.mark.parametrize(
    "value", ["[short, long]", "short", "{length: short}", "{length: []}", "{length: [[a]]}", "{length: }"]
)
def test_attributes_of_another_shape_are_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(TaskError, match=r"task\.yaml:4"):
        load_task(with_attributes(tmp_path, value))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"length": "short"}, "the attribute 'length' has no list of values"),
        ({"length": []}, "the attribute 'length' has no list of values"),
        ({"length": [1]}, "the value 1 is not a string"),
        ({" ": ["short"]}, "the attribute is empty"),
        ({"length": ["a\nb"]}, "holds the control character U+000A"),
    ],
)
def test_attributes_from_python_are_checked_as_those_of_a_file(attributes: Any, message: str) -> None:
    with pytest.raises(TaskError) as refused:
        Task.create("t", ["a", "b"], [("x", "a"), ("y", "b")], attributes=attributes)
    assert message in str(refused.value)
