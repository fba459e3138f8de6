"""Recipes from presets, YAML files and `--set`, with every unknown key and value out of range named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from handful.errors import RecipeError, TaskError
from handful.limits import MAX_LABEL_CHARS, MAX_YAML_BYTES
from handful.reading.labels import check_line
from handful.reading.wording import did_you_mean, short
from handful.reading.yaml_tree import NoAliases
from handful.recipe import PRESETS, Recipe

_LIMITED = (("generate", "synthetic_per_label", "synthetic_in_all"), ("filter", "judge_epochs", "judge_max_steps"))
"""Stage, key, and the key that may lower it: who gives a number wants that number, so that the limit is null then."""


def load_recipe(spec: str = "default", overrides: tuple[str, ...] = ()) -> Recipe:
    """Return a preset, or a YAML file's changes to one, with `stage.key=value` overrides applied in order.

    A file may name the preset it starts from: `base: paper`.

    Raises:
        RecipeError: Unknown preset, file or key, a value out of range, a name of several lines; names the key and the
            nearest known one.
    """
    changes: dict[str, Any] = {}
    if spec in PRESETS:
        base = PRESETS[spec]
    else:
        changes = _read_file(spec)
        base_name = str(changes.pop("base", "default"))
        if base_name not in PRESETS:
            raise RecipeError(f"unknown base recipe {base_name!r}", where=spec, mend=_suggest(base_name, list(PRESETS)))
        base = PRESETS[base_name]
        changes.setdefault("name", Path(spec).stem)
        for stage, key, limit in _LIMITED:
            own = changes.get(stage)
            if isinstance(own, dict) and key in own:
                own.setdefault(limit, None)
    return _build(base, _with_overrides(changes, overrides), where=spec)


def change_recipe(recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
    """Return a recipe with `stage.key=value` overrides; raises RecipeError as `load_recipe` does."""
    return _build(recipe, _with_overrides({}, overrides), where=recipe.name)


def _with_overrides(changes: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    given = {override.partition("=")[0].strip() for override in overrides}
    for stage, key, limit in _LIMITED:
        if f"{stage}.{key}" in given and f"{stage}.{limit}" not in given:
            overrides = (*overrides, f"{stage}.{limit}=null")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"{override!r} has no '='", where="--set", mend="Write stage.key=value.")
        _place(changes, key.strip(), value, override)
    return changes


def _read_file(spec: str) -> dict[str, Any]:
    path = Path(spec)
    if not path.is_file():
        mend = f"{_suggest(spec, list(PRESETS))} Or give the path of a YAML file."
        raise RecipeError(f"unknown recipe {spec!r}", mend=mend)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
        if len(data) > MAX_YAML_BYTES:
            raise RecipeError(f"the file is larger than {MAX_YAML_BYTES:,} bytes", where=spec, mend="Is it a recipe?")
        values = _values(data.decode("utf-8"))
    except (yaml.YAMLError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise RecipeError(f"not readable as YAML: {' '.join(str(error).split())}", where=spec) from error
    if not isinstance(values, dict):
        raise RecipeError("a recipe file must be a mapping", where=spec, mend="Write for example `train: {epochs: 6}`.")
    return values


def _values(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


class _Loader(NoAliases, yaml.SafeLoader):
    """Numbers, booleans and null as in YAML; a key that stands twice would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping as PyYAML does, unless a key stands in it twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                problem = f"the key {short(key.value)} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def _place(tree: dict[str, Any], dotted_key: str, value: str, override: str) -> None:
    *parents, last = dotted_key.split(".")
    node: Any = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            mend = f"{parent!r} was given a value of its own before."
            raise RecipeError(f"{override!r} sets a key of what has no keys", where="--set", mend=mend)
    try:
        node[last] = _values(value)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        raise RecipeError(f"{override!r} is not YAML behind its '='", where="--set", mend="Quote it.") from None


def _build(base: Recipe, changes: dict[str, Any], *, where: str) -> Recipe:
    merged = base.to_dict()
    for key, value in changes.items():
        if isinstance(merged.get(key), dict) and isinstance(value, dict):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    _refuse_truths(base.to_dict(), changes, where)
    try:
        built = TypeAdapter(Recipe).validate_python(merged)
        check_line(built.name, "name", where, MAX_LABEL_CHARS)
    except ValidationError as error:
        raise _as_recipe_error(error, where) from error
    except TaskError as error:
        raise RecipeError(error.message, where=error.where, mend=error.mend) from None
    return _reachable(built, changes)


def _reachable(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """Lift a preset's limit of candidates that is below the N that was given: it could never be reached."""
    given, most = changes.get("generate", {}), recipe.generate.max_candidates_per_label
    of_preset = {preset.generate.max_candidates_per_label for preset in PRESETS.values()} - {None}
    if "synthetic_per_label" not in given or "max_candidates_per_label" in given or most not in of_preset:
        return recipe
    if most is None or most >= recipe.generate.synthetic_per_label:
        return recipe
    return dataclasses.replace(recipe, generate=dataclasses.replace(recipe.generate, max_candidates_per_label=None))


def _refuse_truths(base: dict[str, Any], changes: dict[str, Any], where: str, above: str = "") -> None:
    """Refuse true and false where a number belongs: they would count as 1 and 0."""
    for key, value in changes.items():
        known = base.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _refuse_truths(known, value, where, f"{above}{key}.")
        elif isinstance(value, bool) and key in base and not isinstance(known, bool):
            raise RecipeError(f"{above}{key} is {str(value).lower()}, not a number or text", where=where)


def _as_recipe_error(error: ValidationError, where: str) -> RecipeError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = PRESETS["default"].to_dict()
        for parent in path[:-1]:
            known = known[parent]
        return RecipeError(f"unknown key {key!r}", where=where, mend=_suggest(path[-1], list(known)))
    message = first["msg"].removeprefix("Value error, ")
    prefix = "" if first["type"] == "value_error" else f"{key}: "
    shown = "" if first["type"] == "value_error" else f" (got {short(first['input'])})"
    return RecipeError(f"{prefix}{message}{shown}", where=where, mend="")


def _suggest(word: str, known: list[str]) -> str:
    return did_you_mean(word, known) or f"Known: {', '.join(known)}."
