"""What a report comes to, said first: which method to use here, and how sure that is."""

from __future__ import annotations

from collections import Counter

from handful.evaluation.methods import METHODS, OURS
from handful.evaluation.metrics import GUESSING, chance_of
from handful.report.comparison import Row, best_other, difference_to, rows_by_method
from handful.report.page import Verdict
from handful.report.run_data import RunData
from handful.report.wording import percent, plural, points, quoted
from handful.training_set import least_kept


def verdict(data: RunData) -> Verdict:
    """Say which method to use; without test texts, what is known."""
    ours = rows_by_method(data).get(OURS)
    other = best_other(data)
    if ours is None or other is None:
        only = ours or other or next(iter(rows_by_method(data).values()), None)
        return _unmeasured(data) if only is None else _alone(data, only)
    details = [_advice(data, ours, other), _written(data)]
    details += _better_calibrated(data, ours)
    chance = chance_of(data.labels, [example.label for example in data.task.test or ()])
    if max(ours["accuracy_low"], other["accuracy_low"]) <= chance:
        details.insert(0, f"Neither is clearly better than {GUESSING} which is right {percent(chance)} of the time.")
    return Verdict(_headline(data, ours, other), tuple(details))


def _alone(data: RunData, only: Row) -> Verdict:
    """Say how right the one method is that was measured."""
    interval = f"{percent(only['accuracy_low'])} to {percent(only['accuracy_high'])}"
    headline = (
        f"{only['title']} is right on {percent(only['accuracy'])} of {plural(only['n_texts'], 'test text')} "
        f"(95\u00a0% interval {interval}). What to use instead was not measured beside it."
    )
    return Verdict(headline, (_written(data),))


def _headline(data: RunData, ours: Row, other: Row) -> str:
    name, own = other["title"], ours["title"]
    texts = plural(ours["n_texts"], "test text")
    against = f"{percent(ours['accuracy'])} right against {percent(other['accuracy'])}"
    difference = difference_to(data, other["method"])
    if difference is None:
        return f"{own} and {name}: {against} on {texts}. Whether that is more than chance was not tested."
    interval = (
        f"a difference of {points(difference.mean)} points "
        f"(95\u00a0% interval {points(difference.low)} to {points(difference.high)})"
    )
    if difference.low > 0:
        return f"Use {own}: on these {texts} it beats {name}, the best other method, {against}: {interval}."
    if difference.high < 0:
        return f"Use {name}, not {own}: on these {texts} ours is worse, {against}: {interval}."
    return f"{name} and {own} cannot be told apart on these {texts}: ours is {against}, {interval}."


def _advice(data: RunData, ours: Row, other: Row) -> str:
    difference = difference_to(data, other["method"])
    speed = f"A text takes {ours['ms_per_text']:.1f} ms with ours, {other['ms_per_text']:.1f} ms with {other['title']}."
    if not data.has_classifier:
        return f"A benchmark keeps no classifier; `handful run` with these examples makes it. {speed}"
    if difference is not None and difference.high < 0:
        return f"The classifier in adapter/ is ours all the same. Before using it, read what the filter kept. {speed}"
    more = "" if difference is not None and difference.low > 0 else "More test texts would narrow the interval. "
    return f"The classifier in adapter/ is ours, ready for use. {more}{speed}"


def _better_calibrated(data: RunData, ours: Row) -> list[str]:
    """Say so where another method passes ours once its prior is taken out without a test text."""
    others = [row for name, row in rows_by_method(data).items() if METHODS[name].is_rival]
    return [
        f"{row['title']} with its label prior taken out, as the written texts show it, is right on "
        f"{percent(row['calibrated_accuracy'])}, ours as it answers on {percent(ours['accuracy'])}."
        for row in others
        if (row["calibrated_accuracy"] or 0) > ours["accuracy"]
    ]


def _unmeasured(data: RunData) -> Verdict:
    trained = "the classifier" if data.training else "what will be trained on these texts"
    if data.task.test:
        headline = f"Not measured yet: how good {trained} is will be known after `handful evaluate`."
        mend: tuple[str, ...] = ()
    else:
        headline = f"Nothing was measured: the task has no test texts, so how good {trained} is, is not known."
        mend = (
            "Label some texts that are not among the examples, name them in the task file as `test:`, and give the "
            "command again. With 100 texts, an accuracy is known to within ten points either way. Until then `handful "
            "estimate` says what the examples alone can say.",
        )
    return Verdict(headline, (_written(data), *mend))


def _written(data: RunData) -> str:
    judged = data.judged
    kept = [(candidate, verdict) for candidate, verdict in judged if verdict.decision != "rejected"]
    if not data.recipe["generate"]["synthetic_per_label"]:
        return "No text was written: the examples alone are learnt."
    if not judged:
        return "No text was written yet."
    moved = sum(verdict.decision == "relabelled" for _, verdict in kept)
    found = Counter(verdict.label for _, verdict in kept)
    wanted = data.recipe["generate"]["synthetic_per_label"]
    least = least_kept(wanted, relabel=data.recipe["filter"]["relabel"])
    starved = [label for label in data.labels if found[label] < least]
    said = (
        f"Of {plural(len(judged), 'text')} the model wrote, {percent(len(kept) / len(judged))} were kept"
        f"{f', {moved:,} of them under another label' if moved else ''}."
    )
    if starved:
        names = ", ".join(f"{quoted(label)} {found[label]}" for label in starved[:5])
        more = f" and {len(starved) - 5} more" if len(starved) > 5 else ""
        said += f" Fewer than the {wanted} wanted: {names}{more}."
    return said
