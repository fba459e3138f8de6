import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handful.errors import RunError
from handful.records import Example, LabelScores
from handful.storage.jsonl import decode, encode, encode_lines, fingerprint, read_jsonl

# Lone surrogates are allowed but not pairs of them, which JSON cannot tell from the character they stand for.
texts = st.text(st.characters(exclude_categories=())).filter(
    lambda s: s == s.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


def _read_back(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    path.write_bytes(b"".join(encode_lines(rows, "rows")))
    return read_jsonl(path)


@given(st.lists(st.dictionaries(texts, values, max_size=4), max_size=4))
def test_rows_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    assert repr(_read_back(rows, tmp_path_factory.getbasetemp() / "rows.jsonl")) == repr(rows)


def test_odd_characters_stay_on_one_line(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\x85c\nd\re\x0bf \ud83d é 字"}, {"text": "\udc00"}]
    assert _read_back(rows, tmp_path / "rows.jsonl") == rows
    data = (tmp_path / "rows.jsonl").read_bytes()
    assert data.count(b"\n") == 2
    assert b"\\ud83d" in data
    assert "é 字".encode() in data


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_refused_with_its_place(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant") as caught:
        encode_lines([{"p": 0.5}, {"p": value}], "verdicts")
    assert caught.value.__notes__ == ["in row 2 of verdicts"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint([value])


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        encode_lines([{"p": {1}}], "verdicts")


def test_fingerprints_name_values_not_layouts() -> None:
    expected = hashlib.sha256(b'{"a": 1, "b": [1, 2]}').hexdigest()[:16]
    assert fingerprint({"a": 1, "b": (1, 2)}) == fingerprint({"b": [1, 2], "a": 1}) == expected
    assert fingerprint(Example("t", "l")) == fingerprint({"text": "t", "label": "l"})
    assert fingerprint(LabelScores("1", (0.5,))) == fingerprint({"candidate_id": "1", "log_probs": [0.5]})
    different: list[object] = [1, 1.5, "1", None, [], {}, [1, 2], [2, 1], "\ud800", "\\ud800", "é", {"a": 1}, ["a", 1]]
    assert len({fingerprint(value) for value in different}) == len(different)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"b": 2}')
    assert read_jsonl(path) == [{"a": 1}, {"b": 2}]
    for data, number in (
        (b'{"a": 1}\n[1]\n', 2),
        (b'{"a": 1}\nnull\n', 2),
        (b'{"a": \n{"b": 2}\n', 1),
        (b'{"a": 1}\n{"b": ', 2),
        (b'{"a": 1}\n' + bytes(20), 2),
    ):
        path.write_bytes(data)
        with pytest.raises(RunError) as caught:
            read_jsonl(path)
        assert str(caught.value) == f"{path}:{number}: not a JSON object. Correct or delete this line"
    with pytest.raises(RunError, match="cannot be read: No such file"):
        read_jsonl(tmp_path / "none.jsonl")


@pytest.mark.parametrize("opening", ["[", '{"a": '])
def test_what_is_nested_deeply_is_no_file_of_ours(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    for depth in (99, 700, 100_000):
        text = f"{opening * depth}1{closing * depth}"
        if depth < 100:
            assert encode(decode(text)) == text.encode()
        else:
            with pytest.raises(ValueError, match="nested too deeply"):
                decode(text)
