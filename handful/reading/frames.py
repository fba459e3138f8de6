"""Examples from whatever the user has at hand: a path, lists, a Hugging Face Dataset, a pandas or polars frame.

Data sets and frames are known by what they can do; none of their packages is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from handful.errors import DataError
from handful.limits import MAX_TEXT_CHARS
from handful.reading.columns import check_columns
from handful.reading.decoding import check_text
from handful.reading.readers import Located, locate_examples
from handful.reading.wording import short
from handful.records import Example


def locate_examples_from(
    data: Any, *, text_column: str = "text", label_column: str = "label", name: str = "examples"
) -> list[Located]:
    """Return the labelled texts of a path, a list, a Hugging Face Dataset, or a pandas or polars frame.

    Each comes with its place, for later errors: file and line, or `name[index]`.

    Args:
        data: A path; an iterable of `Example`, `(text, label)` or mappings; or a table with named columns.
            The labels of a Dataset whose label feature has class names are those names.
        text_column: The column, or key, of the text.
        label_column: The column, or key, of the label.
        name: What the data are called in errors.

    Raises:
        DataError: If a text or label is not a usable string; says which row.
    """
    if isinstance(data, str | Path):
        return locate_examples(data, text_column=text_column, label_column=label_column)
    if isinstance(data, Mapping):
        known = ", ".join(str(key) for key in data)
        mend = f"Give one table or a list of (text, label) pairs; of several splits, one: {known}."
        raise DataError(f"examples cannot be read from an object of type {type(data).__name__}", where=name, mend=mend)
    if hasattr(data, "collect"):
        raise DataError("this is a lazy frame", where=name, mend="Collect it first: frame.collect().")
    if hasattr(data, "columns") or hasattr(data, "column_names"):
        pairs = _table_pairs(data, text_column, label_column, name)
    elif isinstance(data, Iterable):
        pairs = [_pair(item, text_column, label_column, f"{name}[{index}]") for index, item in enumerate(data)]
    else:
        raise DataError(
            f"examples cannot be read from an object of type {type(data).__name__}",
            where=name,
            mend="Give a path or a list.",
        )
    return [_located(text, label, f"{name}[{index}]") for index, (text, label) in enumerate(pairs)]


def _table_pairs(table: Any, text_column: str, label_column: str, name: str) -> list[tuple[Any, Any]]:
    # A Hugging Face Dataset has column_names; pandas and polars have columns.
    found = list(table.column_names if hasattr(table, "column_names") else table.columns)
    check_columns([str(column) for column in found], (text_column, label_column), name)
    texts, labels = list(table[text_column]), list(table[label_column])
    class_names = getattr((getattr(table, "features", None) or {}).get(label_column), "names", None)
    if class_names is not None:
        labels = [_class_name(label, class_names, f"{name}[{index}]") for index, label in enumerate(labels)]
    return list(zip(texts, labels, strict=True))


def _class_name(label: Any, names: Sequence[str], where: str) -> Any:
    if isinstance(label, str):
        return label
    if not isinstance(label, Integral) or not 0 <= int(label) < len(names):
        message = f"the label {label!r} is not one of the {len(names)} classes of the data set"
        raise DataError(message, where=where, mend="Is this a split without labels (-1)? Give a labelled one.")
    return names[int(label)]


def _pair(item: Any, text_column: str, label_column: str, where: str) -> tuple[Any, Any]:
    if isinstance(item, Example):
        return item.text, item.label
    if isinstance(item, Mapping):
        check_columns([str(key) for key in item], (text_column, label_column), where)
        return item[text_column], item[label_column]
    if isinstance(item, Sequence) and not isinstance(item, str | bytes) and len(item) == 2:
        return item[0], item[1]
    raise DataError(f"{short(item)} is not an example", where=where, mend="Give (text, label) pairs.")


def _located(text: Any, label: Any, where: str) -> Located:
    for what, value in (("text", text), ("label", label)):
        if not isinstance(value, str):
            message = f"the {what} is {short(value)} ({type(value).__name__}), not a string"
            raise DataError(
                message, where=where, mend=f"Turn the {what}s into strings yourself, so that none is guessed."
            )
        check_text(value, where, limit=MAX_TEXT_CHARS, what=what)
    # str() makes plain strings of subclasses such as numpy.str_.
    return Located(Example(str(text), str(label)), where)
