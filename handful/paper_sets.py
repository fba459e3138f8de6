"""The paper's three sets as tasks: SST-2, TREC and AG News, with their official splits.

The training split is the pool of examples; draw a handful of it with `Task.sample`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from handful.errors import DataError
from handful.reading.decoding import Encoding, text_lines
from handful.reading.frames import locate_examples_from
from handful.reading.labels import Label
from handful.reading.readers import Located, opened, read_rows
from handful.reading.wording import did_you_mean, listing, short
from handful.records import Example
from handful.task import Task

Split = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class PaperSet:
    """How a set is described to the model, and how its sources write its labels."""

    instruction: str
    text_name: str
    labels: tuple[Label, ...]
    files: Mapping[Split, str]
    """The files as the authors distribute them."""
    codes: Mapping[str, str]
    """Label of each code in those files."""
    hub: Mapping[str, str]
    """Arguments of `datasets.load_dataset`."""
    hub_label: str
    """The label column there."""
    hub_names: Mapping[str, str]
    """Label of each name in that column."""
    hub_dev: str | None = None
    """The split there that is the development set."""


_SENTIMENT = (
    Label("positive", "positive", "the reviewer likes the movie or praises something about it"),
    Label("negative", "negative", "the reviewer dislikes the movie or criticises something about it"),
)
_ANSWERS = (
    Label("abbreviation", "abbreviation", "what an abbreviation stands for, or how something is abbreviated"),
    Label("entity", "entity", "a thing, such as an animal, a product, a food, a colour, a word or an event"),
    Label("description", "description", "a definition, a description, a reason or a way to do something"),
    Label("human", "human", "a person, a group of people or an organisation"),
    Label("location", "location", "a place, such as a city, a country or a mountain"),
    Label("number", "number", "a number, such as a count, a date, a price, a distance or an age"),
)
_NEWS = (
    Label("world", "world", "international politics, conflicts, disasters and society"),
    Label("sports", "sports", "games, matches, athletes and teams"),
    Label("business", "business", "companies, markets and the economy"),
    Label("technology", "technology", "computers, the internet, science and space"),
)

PAPER_SETS: Mapping[str, PaperSet] = {
    "sst2": PaperSet(
        "Classify the movie review by its sentiment.",
        "movie review",
        _SENTIMENT,
        {"train": "stsa.binary.train", "dev": "stsa.binary.dev", "test": "stsa.binary.test"},
        {"0": "negative", "1": "positive"},
        {"path": "SetFit/sst2"},
        "label_text",
        {"negative": "negative", "positive": "positive"},
        "validation",
    ),
    "trec": PaperSet(
        "Classify the question by the type of its answer.",
        "question",
        _ANSWERS,
        {"train": "train_5500.label", "test": "TREC_10.label"},
        dict(zip(("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"), (label.name for label in _ANSWERS), strict=True)),
        # The main branch is a loading script, which datasets no longer runs.
        {"path": "CogComp/trec", "revision": "refs/convert/parquet"},
        "coarse_label",
        dict(zip(("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"), (label.name for label in _ANSWERS), strict=True)),
    ),
    "ag_news": PaperSet(
        "Classify the news article by its topic.",
        "news article",
        _NEWS,
        {"train": "train.csv", "test": "test.csv"},
        {str(index): label.name for index, label in enumerate(_NEWS, start=1)},
        {"path": "fancyzhx/ag_news"},
        "label",
        dict(zip(("World", "Sports", "Business", "Sci/Tech"), (label.name for label in _NEWS), strict=True)),
    ),
}


def load_paper_set(name: str, root: str | Path | None = None, *, test_split: Literal["test", "dev"] = "test") -> Task:
    """Load a set from `root/name/train.csv` and `root/name/test.csv` (columns text and label).

    Args:
        name: One of sst2, trec, ag_news.
        root: The folder of the sets; by default the environment variable HANDFUL_DATA.
        test_split: Which split the task is tested on; "dev" needs `dev.csv`.

    Raises:
        DataError: If the set is unknown, or the folder or a file is missing or not usable.
    """
    _paper_set(name)
    root = root or os.environ.get("HANDFUL_DATA")
    if not root:
        mend = f"Fetch it with `handful data {name} -o sets`; name that folder with --data, or set HANDFUL_DATA to it."
        raise DataError("it is not known where the sets are", where=name, mend=mend)
    folder = Path(root) / name
    return _task(name, *(folder / f"{split}.csv" for split in ("train", test_split)), source=str(folder))


def from_distribution(name: str, folder: str | Path, *, test_split: Literal["test", "dev"] = "test") -> Task:
    """Load a set from the files as its authors distribute them.

    SST as `stsa.binary.train`, `.dev` and `.test`; TREC as `train_5500.label` and `TREC_10.label` (Latin-1), coarse
    labels only; AG News as `train.csv` and `test.csv` without header, title and description joined by a space.

    Raises:
        DataError: If the set or split is unknown, or a file is missing or not usable.
    """
    chosen = _paper_set(name)
    if test_split not in chosen.files:
        raise DataError(f"{name} has no development set", where=name, mend="Use the test split.")
    rows = [list(_distributed(name, Path(folder) / chosen.files[split])) for split in ("train", test_split)]
    return _task(name, *rows, source=str(folder))


def from_hub(name: str, *, test_split: Literal["test", "dev"] = "test", load: Callable[..., Any] | None = None) -> Task:
    """Load a set from the Hugging Face hub, by the package datasets (`handful[data]`).

    Args:
        name: One of sst2, trec, ag_news.
        test_split: Which split the task is tested on.
        load: What is called instead of `datasets.load_dataset`.

    Raises:
        DataError: If the set or split is unknown, datasets is not installed, or the hub cannot be reached.
    """
    chosen = _paper_set(name)
    test_name = chosen.hub_dev if test_split == "dev" else "test"
    if test_name is None:
        raise DataError(f"{name} has no development set", where=name, mend="Use the test split.")
    where = f"hub:{chosen.hub['path']}"
    load = load or _hub_loader(where)
    rows = []
    for split in ("train", test_name):
        try:
            table = load(**chosen.hub, split=split)
        # The hub's client lets its own and its HTTP library's errors through; most are no OSError.
        except Exception as error:
            message = f"the hub gave no data: {type(error).__name__}: {short(str(error), 200)}"
            mend = "Without a network, put the set in a folder and set HANDFUL_DATA to it."
            raise DataError(message, where=where, mend=mend) from error
        found = locate_examples_from(table, label_column=chosen.hub_label, name=f"{where}/{split}")
        rows.append([_named(row, chosen.hub_names) for row in found])
    return _task(name, *rows, source=where)


def has_dev(name: str) -> bool:
    """Return whether a set has a development split; raises DataError if there is no such set."""
    return "dev" in _paper_set(name).files


def _paper_set(name: str) -> PaperSet:
    if name not in PAPER_SETS:
        mend = did_you_mean(name, PAPER_SETS) or f"The sets are {listing(PAPER_SETS)}."
        raise DataError(f"{short(name)} is not one of the paper's sets", mend=mend)
    return PAPER_SETS[name]


def _task(name: str, train: Any, test: Any, *, source: str) -> Task:
    chosen = PAPER_SETS[name]
    task = Task.create(
        name, chosen.labels, train, test=test, instruction=chosen.instruction, text_name=chosen.text_name
    )
    return replace(task, source=source)


def _hub_loader(where: str) -> Callable[..., Any]:
    try:
        from datasets import load_dataset
    except ImportError:
        mend = "Install it with: pip install 'handful[data]'."
        raise DataError("reading from the hub needs the package datasets", where=where, mend=mend) from None
    loader: Callable[..., Any] = load_dataset
    return loader


def _distributed(name: str, path: Path) -> Iterator[Example]:
    codes = PAPER_SETS[name].codes
    if name == "ag_news":
        for line, row in read_rows(path, header=("class", "title", "description")):
            text = f"{row['title']} {row['description']}"
            yield _named(Located(Example(text, row["class"]), f"{path}:{line}"), codes)
        return
    encoding: Encoding = "latin-1" if name == "trec" else "utf-8"
    with opened(path) as (stream, source):
        for number, line_text in enumerate(text_lines(stream, source, encoding=encoding), start=1):
            if line_text.strip():
                code, _, text = line_text.strip().partition(" ")
                yield _named(Located(Example(text, code.partition(":")[0]), f"{source}:{number}"), codes)


def _named(row: Located, names: Mapping[str, str]) -> Example:
    example, where = row
    if example.label not in names:
        message = f"{short(example.label)} is not a label of this set; they are {listing(names)}"
        raise DataError(message, where=where, mend="Is this the right file?")
    return Example(example.text, names[example.label])
