"""JMESPath, as tenants write it, which nobody trusts.

What has no end in the language is left out: what an expression puts together cannot be looked into again, so that
nothing can be doubled and doubled; only plain values are compared; and there are few functions. What remains is
counted: each step of a look costs one, and a look has so many and no more, however large the document is.
"""

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from jmespath import exceptions, functions, parser
from jmespath.visitor import Options, TreeInterpreter

from adapters.remarks import remark
from application.inbound.event import CostlyPathError

LONGEST = 500
"""Characters of one expression."""
MOST_NODES = 100
MOST_STEPS = 10_000
"""Of one look: 5 to 20 ms, by what the steps are."""
_OF_A_CALL = 2
"""What a function costs beyond the step that it is: what it is given is checked first."""
MOST_KEPT = 1024 * 1024
"""Characters and values that one look may come to, however often it finds the same ones."""
_EXPRESSIONS_KEPT = 4_096

_Node = Any
"""Of an expression that was read: its type, its children and, of some, a value."""

_SELECTING = frozenset(
    {
        "field",
        "identity",
        "current",
        "index",
        "subexpression",
        "index_expression",
        "projection",
        "value_projection",
        "filter_projection",
        "flatten",
        "pipe",
    }
)
"""What answers a part of the document, or a list of parts."""
_MAKING = frozenset({"literal", "multi_select_list", "multi_select_dict", "key_val_pair", "function_expression"})
_DECIDING = frozenset({"or_expression", "and_expression", "not_expression", "comparator"})
_LOOKING = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe", "flatten"}
)
"""What looks into what its first part answers."""


class JmesPaths:
    """Implements the port Paths."""

    def __init__(self) -> None:
        self._read: OrderedDict[str, _Node] = OrderedDict()

    def fault(self, path: str) -> str | None:
        try:
            self._node(path)
        except ValueError as error:
            return str(error)
        return None

    def look(self, document: Mapping[str, Any]) -> "_Look":
        return _Look(self, document)

    def _node(self, path: str) -> _Node:
        """The expression, read once. Raises ValueError."""
        node = self._read.get(path)
        if node is None:
            node = self._read[path] = _checked(path)
            if len(self._read) > _EXPRESSIONS_KEPT:
                self._read.popitem(last=False)
        return node


class _Look:
    """Implements the port Look."""

    def __init__(self, paths: JmesPaths, document: Mapping[str, Any]) -> None:
        self._paths = paths
        self._document = document
        self._counting = _Counting()
        self._room = MOST_KEPT

    def find(self, path: str) -> Any:
        try:
            found = self._counting.visit(self._paths._node(path), self._document)
        except (exceptions.JMESPathError, ValueError, TypeError, OverflowError):
            return None
        self._weigh(found)
        return found

    def _weigh(self, found: Any) -> None:
        """Parts of the document may be found many times over, and each is written out each time."""
        waiting = [found]
        while waiting:
            match waiting.pop():
                case str() as text:
                    self._room -= len(text)
                case dict() as fields:
                    waiting += fields.values()
                    self._room -= sum(map(len, fields))
                case list() as items:
                    self._room -= len(items)
                    waiting += items if self._room > 0 else ()
            self._room -= 1
            if self._room < 0:
                raise CostlyPathError("what the mapping asks for comes to more than 1 MiB")


class _Few(functions.Functions):
    """Functions that answer no more than they are given, in time that grows no faster."""

    FUNCTION_TABLE: dict[str, Any]


_Few.FUNCTION_TABLE = {
    name: known
    for name, known in functions.Functions.FUNCTION_TABLE.items()
    if name in {"contains", "ends_with", "join", "length", "not_null", "starts_with", "to_number", "to_string", "type"}
}


class _Counting(TreeInterpreter):
    """Walks an expression step by step, until there are too many."""

    def __init__(self) -> None:
        self._few = _Few()
        super().__init__(Options(custom_functions=self._few))
        self._left = MOST_STEPS

    def visit(self, node: _Node, *args: Any, **kwargs: Any) -> Any:
        self._spend(1)
        return super().visit(node, *args, **kwargs)

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise CostlyPathError(f"what the mapping asks for takes more than {MOST_STEPS} steps to find")

    def visit_flatten(self, node: _Node, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._spend(len(base) + sum(len(each) for each in base if isinstance(each, list)))
        return [item for each in base for item in (each if isinstance(each, list) else [each])]

    def visit_comparator(self, node: _Node, value: Any) -> Any:
        """Lists and objects are never equal to anything: to compare large ones takes long."""
        left, right = (self.visit(child, value) for child in node["children"])
        if isinstance(left, list | dict) or isinstance(right, list | dict):
            return node["value"] == "ne"
        self._spend(_pages(left) + _pages(right))
        literals = [{"type": "literal", "value": each} for each in (left, right)]
        plain: Any = {**node, "children": literals}
        return super().visit_comparator(plain, value)

    def visit_function_expression(self, node: _Node, value: Any) -> Any:
        given = [self.visit(child, value) for child in node["children"]]
        self._spend(_OF_A_CALL + sum(map(_pages, given)))
        if node["value"] == "to_string" and isinstance(given[0], list | dict):
            return None
        return self._few.call_function(node["value"], given)

    def visit_or_expression(self, node: _Node, value: Any) -> Any:
        found = self.visit(node["children"][0], value)
        return found if _is_true(found) else self.visit(node["children"][1], value)

    def visit_and_expression(self, node: _Node, value: Any) -> Any:
        found = self.visit(node["children"][0], value)
        return self.visit(node["children"][1], value) if _is_true(found) else found

    def visit_not_expression(self, node: _Node, value: Any) -> Any:
        return not _is_true(self.visit(node["children"][0], value))

    def _is_true(self, value: Any) -> bool:
        return _is_true(value)


def _is_true(value: Any) -> bool:
    """As the language has it: 0 is true, what is empty is not."""
    return bool(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _pages(value: Any) -> int:
    """What it costs to look through a value once."""
    return len(value) // 1_000 if isinstance(value, str) else len(value) if isinstance(value, list | dict) else 0


def _checked(path: str) -> _Node:
    if len(path) > LONGEST:
        raise ValueError(f"must be at most {LONGEST} characters")
    try:
        with warnings.catch_warnings(action="error"):  # of spellings that will be refused one day
            node: _Node = parser.Parser().parse(path).parsed
        nodes = list(_nodes(node))
    except exceptions.JMESPathError as error:
        raise ValueError(f"is no JMESPath: {remark(str(error).splitlines()[0])}") from None
    except (RecursionError, ValueError, TypeError, AttributeError, Warning):
        raise ValueError("is no JMESPath") from None
    if len(nodes) > MOST_NODES:
        raise ValueError(f"must have at most {MOST_NODES} parts")
    for each in nodes:
        if fault := _fault(each):
            raise ValueError(fault)
    if any(each["type"] in _LOOKING and not _is_selection(each["children"][0]) for each in nodes):
        raise ValueError("must not look into what it has put together")
    return node


def _nodes(node: _Node) -> Iterator[_Node]:
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [child for child in each["children"] if isinstance(child, dict)]


def _fault(node: _Node) -> str | None:
    kind = node["type"]
    if kind not in _SELECTING | _MAKING | _DECIDING:
        return f"must not have a {kind.replace('_', ' ')}"
    if kind == "function_expression" and node["value"] not in _Few.FUNCTION_TABLE:
        known = ", ".join(sorted(_Few.FUNCTION_TABLE))
        return f"must not call {remark(node['value'])}: there are {known}"
    return None


def _is_selection(node: _Node) -> bool:
    """Whether all it can answer are parts of the document; of two, whichever."""
    if node["type"] in ("or_expression", "and_expression"):
        return all(_is_selection(each) for each in node["children"])
    if node["type"] in ("subexpression", "pipe", "index_expression"):
        return all(_is_selection(each) for each in node["children"])
    if node["type"] in ("projection", "value_projection", "filter_projection"):
        return all(_is_selection(each) for each in node["children"][:2])
    if node["type"] == "flatten":
        return _is_selection(node["children"][0])
    return node["type"] in _SELECTING
