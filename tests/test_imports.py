"""Which module may import which, beside the contracts in pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grimp
import pytest


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import of every module, those for types and inside functions included."""
    return grimp.build_graph(
        "logdrift", exclude_type_checking_imports=False, cache_dir=None
    )


def circles(graph: grimp.ImportGraph) -> Iterator[frozenset[str]]:
    """The largest sets of modules that all reach each other (Tarjan, 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_modules: list[str] = []

    def visit(module: str) -> Iterator[frozenset[str]]:
        order[module] = lowest[module] = len(order)
        open_modules.append(module)
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if imported not in order:
                yield from visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in open_modules:
                lowest[module] = min(lowest[module], order[imported])
        if lowest[module] == order[module]:
            start = open_modules.index(module)
            circle = frozenset(open_modules[start:])
            del open_modules[start:]
            if len(circle) > 1:
                yield circle

    for module in sorted(graph.modules):
        if module not in order:
            yield from visit(module)


def test_no_circle_of_imports(graph: grimp.ImportGraph) -> None:
    assert not [sorted(circle) for circle in circles(graph)]


@pytest.mark.parametrize(
    "links", [["ab", "ba"], ["ab", "bc", "ca"], ["ab", "bc", "cb", "cd"]]
)
def test_a_circle_is_found(links: Sequence[str]) -> None:
    made = grimp.ImportGraph()
    for importer, imported in links:
        made.add_module(importer)
        made.add_module(imported)
        made.add_import(importer=importer, imported=imported)
    assert len(list(circles(made))) == 1
