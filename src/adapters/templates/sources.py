"""What can be known of a template file without running it."""

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.meta import find_referenced_templates, find_undeclared_variables

from adapters.templates.problems import TemplateFolderError


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a sentence: its key, and the names it is given values for."""

    key: str
    given: frozenset[str]
    line: int


@dataclass(frozen=True, slots=True)
class Inspected:
    file: str
    references: frozenset[str]
    reads: frozenset[str]
    sets: frozenset[str]
    calls: tuple[Call, ...]


def inspect(file: str, source: str, environment: Environment) -> Inspected:
    """Raises TemplateFolderError for a syntax error, and for what can only be known by running it.

    `environment` knows the file under its name, and keeps it compiled.
    """
    try:
        tree = environment.parse(source, name=file)
        environment.get_template(file)
    except TemplateSyntaxError as error:
        raise TemplateFolderError(file, f"line {error.lineno}: {error.message}") from error
    return Inspected(
        file=file,
        references=frozenset(_references(file, tree)),
        reads=frozenset(find_undeclared_variables(tree)) - frozenset(environment.globals),
        sets=frozenset(_sets(tree)),
        calls=tuple(_calls(file, tree)),
    )


def _references(file: str, tree: nodes.Template) -> Iterator[str]:
    for name in find_referenced_templates(tree):
        if name is None:
            raise TemplateFolderError(file, "the name of an extended or included file is not written out")
        yield name


def _sets(tree: nodes.Template) -> Iterator[str]:
    """What is assigned or imported somewhere; a block sees it without declaring it."""
    yield from (name.name for name in tree.find_all(nodes.Name) if name.ctx == "store")
    for imported in tree.find_all(nodes.FromImport):
        yield from (name if isinstance(name, str) else name[1] for name in imported.names)


def _calls(file: str, tree: nodes.Template) -> Iterator[Call]:
    for filter_ in tree.find_all(nodes.Filter):
        if filter_.name != "t":
            continue
        match filter_:
            case nodes.Filter(node=nodes.Const(value=str(key)), args=[], dyn_args=None, dyn_kwargs=None):
                yield Call(key, frozenset(str(argument.key) for argument in filter_.kwargs), filter_.lineno)
            case _:
                raise TemplateFolderError(file, f"line {filter_.lineno}: the key of a sentence is not written out")
