"""A template in one piece for one language, so that a render does only what depends on its values.

Layouts, partials and macros are joined when the template is compiled, and each sentence becomes the text that it is
with its values between. What is not known how to join stays as it was, and Jinja does it in each render. A folded
template says what the files say, byte for byte; only the lines of the files are not known any more.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from string import Formatter
from typing import TypeVar

from jinja2 import Environment, Template, nodes
from jinja2.visitor import NodeTransformer

from adapters.templates.bundle import Sentence
from adapters.templates.catalogue import needed

N = TypeVar("N", bound=nodes.Node)

PLURAL, SHOWN = "plural form of", "as shown"
"""The filters that a folded sentence asks for: no template can name them."""

_SAID = frozenset({"t", "date", "day", "time", "zone", "money", "number", "duration"})
_NAMING = (nodes.Assign, nodes.AssignBlock, nodes.Import, nodes.FromImport, nodes.Macro)


def fold(
    environment: Environment, file: str, sentences: Mapping[str, Sentence], escape: Callable[[str], str]
) -> Template:
    """`file` with all that it refers to; `escape` is done to the words of sentences, not to their values."""
    tree = _copy(_whole(environment, file))
    _Sentences(sentences, escape).visit(tree)
    _set_in_place(tree)
    _Merger().visit(tree)
    tree.set_environment(environment)
    tree.set_lineno(1)
    code = environment.compile(tree, name=file, filename=file)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


@lru_cache(maxsize=16)
def _whole(environment: Environment, file: str) -> nodes.Template:
    """In as few pieces as can be: the same for all languages of a template, often wanted one after another."""
    try:
        return _joined(environment, file)
    except _CannotBeJoinedError:
        return _parsed(environment, file)


class _CannotBeJoinedError(Exception):
    """The template does what would mean something else in one piece."""


def _parsed(environment: Environment, file: str) -> nodes.Template:
    assert environment.loader is not None
    return environment.parse(environment.loader.get_source(environment, file)[0], name=file)


# Layouts and includes


def _joined(environment: Environment, file: str) -> nodes.Template:
    tree = _parsed(environment, file)
    if any(name.name in ("super", "self", "caller") for name in tree.find_all(nodes.Name)):
        raise _CannotBeJoinedError
    tree = _Includes(environment, file).visit(tree)
    _Macros(environment, file).unfold(tree)
    layout = _layout(tree)
    return tree if layout is None else _laid_out(environment, tree, layout)


def _layout(tree: nodes.Template) -> str | None:
    return next((_constant(node.template) for node in tree.body if isinstance(node, nodes.Extends)), None)


def _laid_out(environment: Environment, tree: nodes.Template, layout: str) -> nodes.Template:
    """The layout with the blocks of `tree` in it, after what `tree` says outside of them, which is never shown."""
    blocks = {node.name: node for node in tree.body if isinstance(node, nodes.Block)}
    said = [node for node in tree.body if not isinstance(node, nodes.Block | nodes.Extends | nodes.Output)]
    if not all(isinstance(node, nodes.Assign | nodes.If | nodes.FromImport) for node in said):
        raise _CannotBeJoinedError
    if _layout(_parsed(environment, layout)) is not None:
        raise _CannotBeJoinedError  # its blocks would be gone before those of `tree` take their places
    whole = _Blocks(blocks).visit(_joined(environment, layout))
    whole.body[:0] = [_Silence().visit(node) for node in said]
    return whole  # type: ignore[no-any-return] # Jinja's visitors are not typed


class _Blocks(NodeTransformer):
    def __init__(self, blocks: Mapping[str, nodes.Block]) -> None:
        self._blocks = blocks

    def visit_Block(self, node: nodes.Block) -> list[nodes.Node]:  # noqa: N802 - Jinja looks for the method by the node's name
        said = self._blocks.get(node.name, node)
        if any(True for _ in said.find_all(nodes.Block)):
            raise _CannotBeJoinedError
        return _scoped(said.body)

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        if any(True for _ in node.find_all(nodes.Block)):
            raise _CannotBeJoinedError
        return node


class _Silence(NodeTransformer):
    def visit_Output(self, node: nodes.Output) -> None:  # noqa: N802
        return None


class _Includes(NodeTransformer):
    def __init__(self, environment: Environment, file: str) -> None:
        self._environment = environment
        self._file = file

    def visit_Include(self, node: nodes.Include) -> list[nodes.Node]:  # noqa: N802
        name = _constant(node.template)
        if not node.with_context or node.ignore_missing or _kind(name) != _kind(self._file):
            raise _CannotBeJoinedError
        return _scoped(_joined(self._environment, name).body)


def _scoped(body: list[nodes.Node]) -> list[nodes.Node]:
    """What is named in it stays in it."""
    naming = any(isinstance(node, _NAMING) or any(True for _ in node.find_all(_NAMING)) for node in body)
    return [nodes.Scope(body)] if naming else body


def _constant(name: nodes.Expr) -> str:
    if not isinstance(name, nodes.Const) or not isinstance(name.value, str):
        raise _CannotBeJoinedError
    return name.value


def _kind(file: str) -> str:
    """What decides whether Jinja escapes."""
    return file.rpartition(".")[2]


# Macros


class _Macros(NodeTransformer):
    """Writes what a macro says in the place of each call whose result is shown as it is."""

    def __init__(self, environment: Environment, file: str) -> None:
        self._environment = environment
        self._file = file
        self._macros: dict[str, nodes.Macro] = {}

    def unfold(self, tree: nodes.Template) -> None:
        for node in tree.body:
            if isinstance(node, nodes.FromImport):
                self._macros |= self._imported(node)
        self.visit(tree)
        read = {name.name for name in tree.find_all(nodes.Name)}
        tree.body = [
            node for node in tree.body if not isinstance(node, nodes.FromImport) or read.intersection(_aliases(node))
        ]

    def _imported(self, node: nodes.FromImport) -> dict[str, nodes.Macro]:
        file = _constant(node.template)
        if node.with_context or _kind(file) != _kind(self._file):
            return {}
        found = {macro.name: macro for macro in _parsed(self._environment, file).find_all(nodes.Macro)}
        names = dict(name if isinstance(name, tuple) else (name, name) for name in node.names)
        return {alias: found[name] for name, alias in names.items() if name in found and _is_plain(found[name])}

    def visit_Output(self, node: nodes.Output) -> list[nodes.Node]:  # noqa: N802
        said: list[nodes.Node] = []
        for child in node.nodes:
            said += self._unfolded(child) or [nodes.Output([child])]
        return said

    def _unfolded(self, call: nodes.Expr) -> list[nodes.Node] | None:
        match call:
            case nodes.Call(node=nodes.Name(name=name), kwargs=[], dyn_args=None, dyn_kwargs=None):
                macro = self._macros.get(name)
                if macro is None or len(macro.args) != len(call.args):
                    return None
                given = dict(zip((arg.name for arg in macro.args), call.args, strict=True))
                if _stored(macro) & {read.name for arg in call.args for read in _names(arg)}:
                    return None
                return _scoped([_Given(given).visit(_copy(part)) for part in macro.body])
            case _:
                return None


class _Given(NodeTransformer):
    def __init__(self, values: Mapping[str, nodes.Expr]) -> None:
        self._values = values

    def visit_Name(self, node: nodes.Name) -> nodes.Expr:  # noqa: N802
        return _copy(self._values[node.name]) if node.name in self._values else node


def _is_plain(macro: nodes.Macro) -> bool:
    """It says nothing but its arguments, which stay what they are, and calls nothing."""
    given, named = {arg.name for arg in macro.args}, _stored(macro)
    read = {name.name for part in macro.body for name in part.find_all(nodes.Name)}
    calls = any(True for _ in macro.find_all((nodes.Call, nodes.Include, nodes.FromImport, nodes.Import)))
    return not macro.defaults and not calls and not given & named and read <= given | named


def _stored(macro: nodes.Macro) -> set[str]:
    return {name.name for part in macro.body for name in part.find_all(nodes.Name) if name.ctx == "store"}


def _names(node: nodes.Expr) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _aliases(node: nodes.FromImport) -> Iterator[str]:
    yield from (name if isinstance(name, str) else name[1] for name in node.names)


def _copy(node: N) -> N:
    """Of the node and all below it; what is given twice would be folded twice."""
    fields = {name: _copied(value) for name, value in node.iter_fields()}
    made = type(node)(*(fields[name] for name in node.fields))
    made.lineno, made.environment = node.lineno, node.environment
    return made


def _copied(value: object) -> object:
    match value:
        case nodes.Node():
            return _copy(value)
        case list():
            return [_copied(item) for item in value]
        case _:
            return value


# Sentences


class _Sentences(NodeTransformer):
    def __init__(self, sentences: Mapping[str, Sentence], escape: Callable[[str], str]) -> None:
        self._sentences = sentences
        self._escape = escape

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        node.nodes = [part for child in node.nodes for part in _parts(self.visit(child))]
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        match node:
            case nodes.Filter(name="t", node=nodes.Const(value=key), args=[], dyn_args=None, dyn_kwargs=None) if (
                key in self._sentences
            ):
                values = {str(pair.key): pair.value for pair in node.kwargs}
                sentence = self._sentences[key]
                return self._said(sentence, values) if needed(sentence) <= values.keys() else node
            case _:
                return node

    def _said(self, sentence: Sentence, values: Mapping[str, nodes.Expr]) -> nodes.Expr:
        if isinstance(sentence, str):
            return self._filled(sentence, values)
        said = self._filled(sentence["other"], values)
        for form in sorted(sentence.keys() - {"other"}):
            is_form = nodes.Compare(_filter(PLURAL, values["count"]), [nodes.Operand("eq", nodes.Const(form))])
            said = nodes.CondExpr(is_form, self._filled(sentence[form], values), said)
        return said

    def _filled(self, text: str, values: Mapping[str, nodes.Expr]) -> nodes.Expr:
        parts: list[nodes.Expr] = []
        for words, name, _, _ in Formatter().parse(text):
            if words:
                parts.append(nodes.TemplateData(str(self._escape(words))))
            if name is not None:
                parts.append(_shown(_copy(values[name])))
        return parts[0] if len(parts) == 1 else nodes.Concat(parts)


def _parts(said: nodes.Expr) -> list[nodes.Expr]:
    return said.nodes if isinstance(said, nodes.Concat) else [said]


def _shown(value: nodes.Expr) -> nodes.Expr:
    said = isinstance(value, nodes.Concat | nodes.TemplateData) or (
        isinstance(value, nodes.Filter) and value.name in _SAID
    )
    return value if said else _filter(SHOWN, value)


def _filter(name: str, value: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None)


def _set_in_place(tree: nodes.Template) -> None:
    """What is put together only to be shown is put together where it is shown."""
    names = list(tree.find_all(nodes.Name))
    stored = [name.name for name in names if name.ctx == "store"]
    shown = [
        part.name for output in tree.find_all(nodes.Output) for part in output.nodes if isinstance(part, nodes.Name)
    ]
    for node in list(tree.body):
        match node:
            case nodes.Assign(target=nodes.Name(name=name), node=nodes.Concat() as said):
                reads = [read for read in names if read.name == name and read.ctx == "load"]
                constant = not any(part.name in stored for part in said.find_all(nodes.Name))
                if stored.count(name) == 1 and constant and len(reads) == shown.count(name):
                    tree.body.remove(node)
                    _Shown(name, said).visit(tree)


class _Shown(NodeTransformer):
    def __init__(self, name: str, said: nodes.Concat) -> None:
        self._name = name
        self._said = said

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        node.nodes = [part for child in node.nodes for part in self._in_place(child)]
        return node

    def _in_place(self, child: nodes.Expr) -> list[nodes.Expr]:
        named = isinstance(child, nodes.Name) and child.name == self._name
        return _copy(self._said).nodes if named else [child]


class _Merger(NodeTransformer):
    """Texts that follow one another become one."""

    def generic_visit(self, node: nodes.Node, *args: object, **kwargs: object) -> nodes.Node:
        super().generic_visit(node)
        for field in ("body", "else_"):
            if isinstance(getattr(node, field, None), list):
                setattr(node, field, _merged(getattr(node, field)))
        return node


def _merged(body: list[nodes.Node]) -> list[nodes.Node]:
    merged: list[nodes.Node] = []
    for node in body:
        if isinstance(node, nodes.Output) and merged and isinstance(merged[-1], nodes.Output):
            merged[-1] = nodes.Output([*merged[-1].nodes, *node.nodes])
        else:
            merged.append(node)
    return merged
