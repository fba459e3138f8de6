from __future__ import annotations

import csv
import io
import itertools
import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handful.errors import DataError
from handful.limits import MAX_LONG_TEXT_CHARS, MAX_TEXT_CHARS
from handful.reading.readers import iter_texts, read_examples, read_rows
from handful.records import Example


def write(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def failure(path: Path, **options: Any) -> str:
    """The error of reading the examples, with the folder of the test left out."""
    with pytest.raises(DataError) as caught:
        read_examples(path, **options)
    return str(caught.value).replace(f"{path.parent}/", "")


class TestValuesStayAsWritten:
    VALUES = ("NA", "null", "0012", "yes", "1.0", "2026-11-22", " padded ", "NaN", "True", "🙂", "e\u0301", '"')

    @pytest.mark.parametrize("value", VALUES)
    @pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
    def test_delimited(self, tmp_path: Path, value: str, name: str, delimiter: str) -> None:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter).writerows([["text", "label"], ["t", value]])
        assert read_examples(write(tmp_path, out.getvalue(), name)) == [Example("t", value)]

    @pytest.mark.parametrize("value", VALUES)
    def test_jsonl(self, tmp_path: Path, value: str) -> None:
        path = write(tmp_path, json.dumps({"label": value, "text": "t", "id": 3}) + "\n", "a.jsonl")
        assert read_examples(path) == [Example("t", value)]

    @pytest.mark.parametrize("value", VALUES)
    def test_parquet(self, tmp_path: Path, value: str) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"text": ["t"], "label": [value], "n": [1]}), tmp_path / "a.parquet")
        assert read_examples(tmp_path / "a.parquet") == [Example("t", value)]

    @given(
        st.lists(
            st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)] * 2),
            max_size=5,
        )
    )
    def test_csv_round_trip(self, rows: list[tuple[str, str]]) -> None:
        out = io.StringIO()
        csv.writer(out).writerows([("text", "other"), *rows])
        stream = io.BytesIO(out.getvalue().encode())
        assert [(row["text"], row["other"]) for _, row in read_rows(stream, format="csv")] == rows

    def test_line_numbers_count_lines_not_rows(self, tmp_path: Path) -> None:
        path = write(tmp_path, 'text,label\n"two\nlines",a\n\nthree,b\n')
        assert list(read_rows(path)) == [
            (2, {"text": "two\nlines", "label": "a"}),
            (5, {"text": "three", "label": "b"}),
        ]

    def test_windows_line_ends_and_byte_order_mark(self, tmp_path: Path) -> None:
        path = write(tmp_path, b"\xef\xbb\xbftext,label\r\ncaf\xc3\xa9,a\r\n")
        assert read_examples(path) == [Example("café", "a")]

    def test_named_columns_and_no_others(self, tmp_path: Path) -> None:
        path = write(tmp_path, "id,body,kind\n1,t,a\n")
        assert read_examples(path, text_column="body", label_column="kind") == [Example("t", "a")]
        assert list(read_rows(path, columns=("kind",))) == [(2, {"kind": "a"})]

    def test_header_from_the_caller(self, tmp_path: Path) -> None:
        assert list(read_rows(write(tmp_path, "1,t\n"), header=("class", "text"))) == [(1, {"class": "1", "text": "t"})]


QUOTES = 'Close the quote, and write a quote within a quoted text twice: "".'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.csv: the file is empty. Give it a header line and one row per text."),
        ("\n\n", "a.csv: the file is empty. Give it a header line and one row per text."),
        ("text,label\n", "a.csv: there are no rows. Add one labelled text per line."),
        (
            "txt,label\na,b\n",
            "a.csv:1: there is no column 'text'; the columns are 'txt', 'label'. "
            "Did you mean 'txt'? Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
        ),
        (
            "Text, label\na,b\n",
            "a.csv:1: there is no column 'text'; the columns are 'Text', ' label'. "
            "Did you mean 'Text'? Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
        ),
        (
            "Great film,good\nBad film,bad\nFine film,good\n",
            "a.csv:1: the first line looks like a row, not a header: 'Great film', 'good'. "
            "Put a line with the names of the columns first: 'text,label'.",
        ),
        (
            "foo,bar\na,b\n",
            "a.csv:1: there is no column 'text'; the columns are 'foo', 'bar'. "
            "Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
        ),
        (
            "text;label\na;b\n",
            "a.csv:1: the first line has one column, 'text;label', and seems to be separated by ';'. "
            "Separate columns by commas, or name the file for what it is.",
        ),
        (
            "text ,label\na,b\n",
            "a.csv:1: there is no column 'text'; the columns are 'text ', 'label'. Did you mean 'text '? "
            "Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
        ),
        ("text,text,label\na,b,c\n", "a.csv: two columns are called 'text'. Rename one of them."),
        (
            "text,label\na,b\none, two,c\n",
            "a.csv:3: the row has 3 fields and the header 2. "
            "Put a text that holds a comma or a newline in double quotes.",
        ),
        (
            "text,label\nalone\n",
            "a.csv:2: the row has 1 field and the header 2. "
            "Put a text that holds a comma or a newline in double quotes.",
        ),
        ('text,label\na,b\n"c,d\ne,f\n', f"a.csv:3: a quoted text starts in this row and is never closed. {QUOTES}"),
        (
            'text,label\n"a" b,c\n',
            f"a.csv:2: the quotes in this row are broken (',' expected after '\"'). {QUOTES}",
        ),
        ("text,label\n ,a\n", "a.csv:2: the text is empty. Fill it in or delete the row."),
        ("text,label\na,\n", "a.csv:2: the label is empty. Fill it in or delete the row."),
        (
            b"text,label\na,b\ncaf\xe9,c\n",
            "a.csv:3: the byte 0xe9 at byte offset 18 is not UTF-8. Save the file as UTF-8.",
        ),
        (b"\xff\xfet\0e\0", "a.csv:1: the file is in UTF-16, not UTF-8. Save it as UTF-8."),
        (
            b"text,label\na\0,b\n",
            "a.csv:2: there is a NUL byte at byte offset 12. "
            "Save the file as plain text in UTF-8 (NUL bytes come from UTF-16 or from a damaged file).",
        ),
        (
            "text,label\ra,b\r",
            "a.csv:1: there is a bare carriage return outside quotes. Save the file with newline or Windows line ends.",
        ),
        (
            f"text,label\n{'x' * (MAX_TEXT_CHARS + 1)},b\n",
            "a.csv:2: the text has 100,001 characters, more than 100,000. Shorten it or leave it out.",
        ),
    ],
)
def test_broken_csv_says_what_where_and_how_to_mend(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert failure(write(tmp_path, content)) == message


def test_byte_offset_counts_the_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf\xe9text,label\n")
    assert "a.csv:1: the byte 0xe9 at byte offset 3 is not UTF-8" in failure(path)


def test_long_text_is_let_through_up_to_the_limit_exactly(tmp_path: Path) -> None:
    path = write(tmp_path, f"text,label\n{'x' * MAX_TEXT_CHARS},b\n")
    assert len(read_examples(path)[0].text) == MAX_TEXT_CHARS


MEND_JSON = 'Write one JSON object per line, like {"text": "...", "label": "..."}.'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"text": "t", "label": 1}',
            "a.jsonl:2: 'label' is 1, not a text. Write it as a text, in quotes: \"1\".",
        ),
        (
            '{"text": "t", "label": true}',
            "a.jsonl:2: 'label' is true, not a text. Write it as a text, in quotes: \"true\".",
        ),
        ('{"text": "t", "label": null}', "a.jsonl:2: 'label' is null. Fill it in or delete the row."),
        (
            '{"text": "t", "label": ["a"]}',
            "a.jsonl:2: 'label' is ['a'] (list), not a text. Write it as a text, in quotes.",
        ),
        (
            '{"text": "t"}',
            "a.jsonl:2: there is no column 'label'; the columns are 'text'. "
            "Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
        ),
        (
            '{"text": "t", "text": "u"}',
            f"a.jsonl:2: the line is not usable JSON: the key 'text' stands twice. {MEND_JSON}",
        ),
        (
            "{'text': 't'}",
            "a.jsonl:2: the line is not valid JSON: "
            f"Expecting property name enclosed in double quotes at character 2. {MEND_JSON}",
        ),
        ('"text"', f"a.jsonl:2: the line is a JSON str, not an object. {MEND_JSON}"),
        ("[", f"a.jsonl:2: the file is a JSON list, not JSONL. {MEND_JSON}"),
        (
            '{"text": "a\\u0000", "label": "b"}',
            "a.jsonl:2: the text 'a\\x00' holds a NUL character. Remove it.",
        ),
        (
            '{"text": "a\\ud83d", "label": "b"}',
            "a.jsonl:2: the text holds half a surrogate pair (U+D83D). Write the whole character in UTF-8.",
        ),
    ],
)
def test_broken_jsonl_says_what_where_and_how_to_mend(tmp_path: Path, line: str, message: str) -> None:
    assert failure(write(tmp_path, '{"text": "t", "label": "a"}\n' + line + "\n", "a.jsonl")) == message


def test_deeply_nested_json_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": ' + "[" * 100_000 + "\n", "a.jsonl")
    assert failure(path).startswith("a.jsonl:1: the line is not usable JSON: ")


class TestFiles:
    def test_missing_file_names_a_neighbour(self, tmp_path: Path) -> None:
        write(tmp_path, "x", "examples.csv")
        assert failure(tmp_path / "exmples.csv") == (
            "exmples.csv: there is no such file. Did you mean 'examples.csv' in the same folder?"
        )
        assert failure(tmp_path / "zzz.jsonl") == "zzz.jsonl: there is no such file. Check the path."

    def test_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").mkdir()
        assert failure(tmp_path / "a.csv") == "a.csv: this is a folder, not a file. Name the file in it."

    def test_unknown_suffix(self, tmp_path: Path) -> None:
        assert failure(write(tmp_path, "x", "a.xlsx")) == (
            "a.xlsx: files ending in .xlsx are not read. "
            "Save it as one of .csv, .tsv, .tab, .jsonl, .ndjson, .json, .parquet (UTF-8)."
        )
        assert read_examples(write(tmp_path, "text,label\na,b\n", "a.txt"), format="csv") == [Example("a", "b")]

    def test_parquet_without_pyarrow_names_the_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert failure(write(tmp_path, "x", "a.parquet")) == (
            "a.parquet: reading Parquet needs the package pyarrow. Install it with: pip install 'handful[parquet]'."
        )

    def test_broken_parquet(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        assert failure(write(tmp_path, "x", "a.parquet")).startswith("a.parquet: the file is not a Parquet file: ")

    def test_parquet_numbers_are_not_guessed_but_may_be_ids(self, tmp_path: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "a.parquet"
        parquet.write_table(pyarrow.table({"text": ["s", "t"], "label": [1, 2]}), path)
        assert failure(path) == "a.parquet:1: 'label' is 1, not a text. Write it as a text, in quotes: \"1\"."
        assert list(iter_texts(path, id_column="label")) == [("1", "s"), ("2", "t")]


class TestTextsToPredict:
    def test_ids_are_line_numbers_or_a_column(self, tmp_path: Path) -> None:
        path = write(tmp_path, 'id,text\n7,"a\nb"\n8,c\n')
        assert list(iter_texts(path)) == [("2", "a\nb"), ("4", "c")]
        assert list(iter_texts(path, id_column="id")) == [("7", "a\nb"), ("8", "c")]

    def test_whole_number_ids_in_jsonl(self) -> None:
        stream = io.BytesIO(b'{"id": 17, "text": "a"}\n')
        assert list(iter_texts(stream, id_column="id")) == [("17", "a")]

    def test_a_blank_line_of_one_column_is_an_empty_cell(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text('\ntext\ngood\n\n\n"of two\nlines"\n\nbad\n\n\n')
        texts = list(iter_texts(path))
        assert texts == [("3", "good"), ("4", ""), ("5", ""), ("6", "of two\nlines"), ("8", ""), ("9", "bad")]
        path.write_text("id,text\n1,good\n\n2,bad\n")
        assert list(iter_texts(path)) == [("2", "good"), ("4", "bad")]

    def test_blank_texts_are_passed_on(self, tmp_path: Path) -> None:
        assert list(iter_texts(write(tmp_path, 'text\n""\na\n'))) == [("2", ""), ("3", "a")]

    def test_header_only_is_no_text(self, tmp_path: Path) -> None:
        assert list(iter_texts(write(tmp_path, "text\n"))) == []

    def test_long_texts_up_to_ten_million_characters(self, tmp_path: Path) -> None:
        path = write(tmp_path, f"text\n{'x' * MAX_LONG_TEXT_CHARS}\n")
        assert [len(text) for _, text in iter_texts(path)] == [MAX_LONG_TEXT_CHARS]
        with pytest.raises(DataError, match=r"a\.csv:2: the text has 10,000,000 characters, more than 5"):
            list(iter_texts(path, max_chars=5))
        path = write(tmp_path, f"text\n{'x' * (MAX_LONG_TEXT_CHARS + 1)}\n")
        with pytest.raises(DataError, match=r"a\.csv:2: a field is longer than 10,000,000 characters"):
            list(iter_texts(path))

    @pytest.mark.parametrize("content", [b"text,x\na,b\n", b"x\ttext\nb\ta\n", b'\n{"text": "a"}\n'])
    def test_standard_input_is_recognised(self, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert list(iter_texts("-")) == [("2", "a")]

    def test_standard_input_errors_say_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\na,b\n")))
        with pytest.raises(DataError, match=r"^stdin:2: the row has 2 fields and the header 1\."):
            list(iter_texts("-", format="csv"))

    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
    def test_blank_lines_before_the_first_row_count_as_lines(self, tmp_path: Path, name: str) -> None:
        rows = "text\nt\n" if name == "a.csv" else '{"text": "s"}\n{"text": "t"}\n'
        path = write(tmp_path, "\n" * 99_000 + "\r\n" * 500 + rows, name)
        assert list(iter_texts(path))[-1] == (str(99_500 + 2), "t")

    @pytest.mark.parametrize("line", [b"\n", b" \t\r\n", b" " * 50_000 + b"\n"])
    def test_blank_lines_without_end_are_given_up(self, line: bytes) -> None:
        class Endless(io.RawIOBase):
            bytes_read = 0

            def readline(self, size: int | None = -1, /) -> bytes:
                self.bytes_read += len(line)
                return line

        stream: Any = Endless()
        with pytest.raises(DataError) as caught:
            next(iter_texts(stream))
        assert stream.bytes_read <= 100_000 + len(line)
        assert str(caught.value) == (
            "stream: there is nothing but white space in the first 100,000 characters. "
            "Delete the blank lines before the first row."
        )

    def test_memory_does_not_grow_with_the_file(self) -> None:
        class Endless(io.RawIOBase):
            lines = 50_000

            def __init__(self) -> None:
                self.rows: Iterator[bytes] = itertools.chain(
                    [b"text,b,c\n"], itertools.repeat(b"a text of some length,x,y\n", self.lines)
                )

            def readline(self, size: int | None = -1, /) -> bytes:
                return next(self.rows, b"")

        stream: Any = Endless()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            assert sum(1 for _ in iter_texts(stream, format="csv")) == Endless.lines
            assert tracemalloc.get_traced_memory()[1] - before < 500_000
        finally:
            tracemalloc.stop()
