"""The shape of the package, as design.md promises it: who imports whom, who prints, who writes files."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "handful"
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TORCH = {
    "llm/adapters",
    "llm/gguf_cache",
    "llm/head",
    "llm/label_scores",
    "llm/loading",
    "llm/local",
    "llm/lora",
    "llm/packing",
    "llm/sampling",
    "llm/attention",
    "llm/bodies",
    "llm/decoder",
    "llm/linear",
    "llm/merged_attention",
    "llm/tree_attention",
    "adapter_loss",
    "train",
}
STAGES = {"generate", "filter", "screening", "training_set", "train", "classifier", "tuning", "evaluation"}
MAY = {
    "evaluation": {"classifier", "tuning", "training_set"},
    "tuning": {"classifier"},
}
"""Stages that use another: everything else travels through pipeline.py."""
ABOVE = {"cli", "pipeline", "rounds", "job", "distributed", "benchmark"}
"""What puts the stages together; no stage looks up to it, but for the job they are given."""
MOST_LINES = 315


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield what a module imports, anywhere in it; handful's own modules with slashes."""
    skipped = {id(node) for block in type_checking(module) for node in ast.walk(block)}
    for node in ast.walk(tree(module)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        for name in names:
            yield name.removeprefix("handful.").replace(".", "/") if name.startswith("handful.") else name


def type_checking(module: str) -> list[ast.If]:
    """Blocks that are only for the type checker."""
    found = [node for node in ast.walk(tree(module)) if isinstance(node, ast.If)]
    return [node for node in found if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"]


def own_imports(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES}


def part(module: str) -> str:
    return module.partition("/")[0]


@pytest.mark.parametrize("module", MODULES)
def test_torch_stays_where_models_are(module: str) -> None:
    roots = {name.partition(".")[0].partition("/")[0] for name in imports(module)}
    if module not in TORCH:
        assert not roots & {"torch", "peft", "accelerate"}
        assert "transformers" not in roots


@pytest.mark.parametrize("module", MODULES)
def test_stages_do_not_import_one_another(module: str) -> None:
    own = part(module)
    if own in STAGES:
        others = {part(name) for name in own_imports(module)} & STAGES - {own}
        assert others <= MAY.get(own, set())


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_upwards(module: str) -> None:
    own, used = part(module), {part(name) for name in own_imports(module)}
    if own not in {"cli", "__main__", "handful"} and module != ".":
        assert "cli" not in used
    if own in STAGES:
        assert used & ABOVE <= {"job"}
    if own in {"storage", "errors", "limits", "records", "seeding"}:
        assert used <= {"storage", "errors", "limits"}
    if own == "reading":
        assert used <= {"reading", "errors", "limits", "records"}
    if own == "llm":
        assert used <= {"llm", "encoding", "errors", "prompts", "seeding", "training_plan", "train"}


def calls(module: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call))


def written_mode(call: ast.Call) -> str | None:
    """Return the mode of an `open` that writes."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name != "open":
        return None
    # As a function the mode is the second argument, as a method the first.
    place = call.args[0 if isinstance(call.func, ast.Attribute) else 1 :][:1]
    modes = [*place, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    text = "".join(str(node.value) for mode in modes for node in ast.walk(mode) if isinstance(node, ast.Constant))
    return text if set(text) & set("wax+") else None


@pytest.mark.parametrize("module", MODULES)
def test_only_the_storage_writes_files(module: str) -> None:
    writes = []
    for call in calls(module):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in {"write_text", "write_bytes", "save_pretrained", "mkdir", "touch"} or written_mode(call):
            writes.append(f"{module}:{call.lineno} {name or 'open'}")
    # gguf_cache.py keeps its entries; tuning.py and train.py use folders of tempfile; environment.py tells the kernel.
    allowed = part(module) == "storage" or module in {"run", "llm/gguf_cache", "tuning", "train", "environment"}
    assert allowed or not writes
    if module in {"tuning", "train"} and writes:
        assert any("TemporaryDirectory" in ast.unparse(call.func) for call in calls(module))


@pytest.mark.parametrize("module", MODULES)
def test_only_the_command_line_prints_and_exits(module: str) -> None:
    if part(module) == "cli":
        return
    for call in calls(module):
        assert ast.unparse(call.func) not in {"print", "sys.exit", "exit", "input", "os._exit"}, f"line {call.lineno}"


def docstrings(module: str) -> set[int]:
    """Ids of the strings that are documentation, of attributes too."""
    return {
        id(node.value)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


@pytest.mark.parametrize("module", MODULES)
def test_only_prompts_lays_out_prompts(module: str) -> None:
    if module == "prompts":
        return
    documentation = docstrings(module)
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            assert "Text:" not in node.value, f"line {node.lineno}"
            assert "Label:" not in node.value, f"line {node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short_and_documented(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert source.count("\n") <= MOST_LINES
    assert ast.get_docstring(tree(module)), "no docstring"
    public = [
        node
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    nested = {
        id(child)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef)
        for child in ast.walk(node)
        if child is not node
    }
    private = {
        id(child)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef) and node.name.startswith("_")
        for child in ast.walk(node)
    }
    bare = [node.name for node in public if id(node) not in nested | private and not ast.get_docstring(node)]
    assert not bare


@pytest.mark.parametrize("module", MODULES)
def test_functions_are_short(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            documentation = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno + 1 - documentation <= 50, node.name


REPORT_ONLY = {"matplotlib", "jinja2", "markupsafe"}


@pytest.mark.parametrize("module", MODULES)
def test_the_report_is_a_leaf(module: str) -> None:
    own = part(module)
    roots = {name.partition(".")[0] for name in imports(module)}
    if own == "report":
        used = {part(name) for name in own_imports(module)}
        assert not used & (ABOVE | {"llm", "train", "generate", "filter", "tuning"})
        at_once = {alias for node in tree(module).body for alias in imported_roots(node)}
        assert not at_once & (REPORT_ONLY - {"markupsafe"}), "imported before it is needed"
    else:
        assert not roots & REPORT_ONLY
        assert own == "cli" or "report" not in {part(name) for name in own_imports(module)}


def imported_roots(node: ast.stmt) -> set[str]:
    """Top packages that a statement itself imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {str(node.module).partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()
