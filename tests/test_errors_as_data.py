"""No code of logdrift looks into the text of an error: what it is about is a field of
it.

The text of exceptions that come from elsewhere (engines, the operating system, the hub)
is all that these have: the places that read it are listed, each with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.common import REPOSITORY

FOREIGN = {
    "core/engines/transformers/failures.py": "torch reports missing memory as text",
    "core/engines/vllm/start.py": "vLLM reports what failed in its engine as text",
    "core/errors.py": "an exception that no code foresaw is put on one line",
    "core/report/paint/html_tokens.py": (
        "a UnicodeDecodeError says with words what is missing"
    ),
    "core/worker/one_line.py": "an engine's exception is put on one line",
    "core/worker/weights_read.py": "an engine's exception is cut to one line",
    "cli/main.py": "an exception that no code foresaw is put on one line",
}
"""Files that read the text of exceptions that are not logdrift's own."""
_PATTERNS = (
    "re.search",
    "re.match",
    "re.fullmatch",
    "re.split",
    "re.sub",
    "re.findall",
)


def readings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of every place that looks into the text of an exception."""
    parents = {
        child: parent
        for parent in ast.walk(tree)
        for child in ast.iter_child_nodes(parent)
    }
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        errors = set(_errors(scope))
        texts = {
            target.id
            for node in _own_nodes(scope)
            if isinstance(node, ast.Assign) and _is_text(node.value, errors, set())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in _own_nodes(scope):
            if isinstance(node, ast.Attribute) and node.attr == "args":
                if _is_error(node.value, errors):
                    yield node.lineno, ast.unparse(node)
                continue
            text = isinstance(node, ast.expr) and _is_text(node, errors, texts)
            if text and _looks_into(node, parents[node]):
                yield node.lineno, ast.unparse(parents[node])


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function, those of functions within left out."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _own_nodes(child)


def _errors(scope: ast.AST) -> Iterator[str]:
    """Names of exceptions: caught ones, and parameters with the type of one."""
    for node in _own_nodes(scope):
        if isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        if isinstance(node, ast.arg) and node.annotation is not None:
            words = ast.unparse(node.annotation)
            if "Error" in words or "Exception" in words:
                yield node.arg


def _is_text(node: ast.AST, errors: set[str], texts: set[str]) -> bool:
    """Whether an expression is the text of an exception: ``str(error)``,
    ``words_of(error)``, ``error.reason``, ``f"{error}"``, or a variable with one.
    """
    if isinstance(node, ast.Name):
        return node.id in texts
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        called = node.func.id in ("str", "repr", "words_of") and len(node.args) == 1
        return called and _is_error(node.args[0], errors)
    if isinstance(node, ast.Attribute) and node.attr in ("reason", "remedy"):
        return _is_error(node.value, errors)
    if isinstance(node, ast.JoinedStr) and len(node.values) == 1:
        value = node.values[0]
        return isinstance(value, ast.FormattedValue) and _is_error(value.value, errors)
    return False


def _is_error(node: ast.AST, errors: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in errors


def _looks_into(node: ast.AST, parent: ast.AST) -> bool:
    """Whether a text is taken apart, compared or searched."""
    if isinstance(parent, ast.Attribute | ast.Subscript):
        return True
    if isinstance(parent, ast.Compare):
        others = [parent.left, *parent.comparators]
        return node in parent.comparators or any(
            isinstance(other, ast.Constant) for other in others
        )
    if isinstance(parent, ast.Call):
        return ast.unparse(parent.func) in _PATTERNS or _is_pattern_method(parent)
    return False


def _is_pattern_method(call: ast.Call) -> bool:
    methods = ("search", "match", "fullmatch", "findall", "finditer", "split")
    return isinstance(call.func, ast.Attribute) and call.func.attr in methods


def _files() -> list[Path]:
    folders = ("core", "cli", "tui")
    return sorted(p for name in folders for p in (REPOSITORY / name).rglob("*.py"))


def test_no_code_looks_into_the_text_of_an_error() -> None:
    found = []
    for path in _files():
        name = str(path.relative_to(REPOSITORY))
        if name not in FOREIGN:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [f"{name}:{line} {what}" for line, what in readings(tree)]
    assert not found


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_what_is_listed_still_does(name: str) -> None:
    tree = ast.parse((REPOSITORY / name).read_text(encoding="utf-8"))
    assert list(readings(tree)), f"{name} reads no text of an error any more"


@pytest.mark.parametrize(
    "line",
    [
        "if str(error).startswith('model'): pass",
        "if 'model' in str(error): pass",
        "a = str(error).partition(': ')[0]",
        "a = re.match('model', str(error))",
        "a = PATTERN.search(str(error))",
        "a = error.args[0]",
        "a = str(error)[4:]",
        "a = error.reason.removeprefix('x')",
        "a = words_of(error).split(':')",
        "text = str(error); b = text.removesuffix('x')",
        "a = str(error) == 'gone'",
        "a = f'{error}'.upper()",
    ],
)
def test_each_way_to_look_into_a_text_is_seen(line: str) -> None:
    handler = f"try: pass\nexcept OSError as error:\n    {line}\n"
    assert list(readings(ast.parse(handler)))
    body = f"def act(error: LogdriftError) -> None:\n    {line}\n"
    assert list(readings(ast.parse(body)))


@pytest.mark.parametrize(
    "line",
    [
        "show(str(error))",
        "a = f'backend: {error}'",
        "raise place.error(error.reason, error.remedy)",
        "a = error.field == 'model'",
        "a = isinstance(error, CannotWrite)",
        "if str(error) not in told: show(error)",
    ],
)
def test_to_print_an_error_is_fine(line: str) -> None:
    body = f"def act(error: LogdriftError) -> None:\n    {line}\n"
    assert not list(readings(ast.parse(body)))
