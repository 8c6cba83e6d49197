"""The description of the API as a page."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, get
from markupsafe import Markup, escape

from entrypoints.http.description import JSON_PATH
from entrypoints.http.page import environment, page
from entrypoints.http.request import OPEN, JsonRequest

_CODE = re.compile(r"`([^`]*)`")
_METHODS = ("post", "get", "put", "patch", "delete")


class Row(msgspec.Struct, frozen=True):
    """One field or parameter. `name` is the whole path, such as `recipients[].email`."""

    name: str
    type: str
    required: bool
    limits: str
    description: str
    choices: list[str]


class Shape(msgspec.Struct, frozen=True):
    """One form that a body may have."""

    name: str
    description: str
    rows: list[Row]


class Answer(msgspec.Struct, frozen=True):
    status: str
    description: str
    media_type: str
    shapes: list[Shape]


class Example(msgspec.Struct, frozen=True):
    name: str
    summary: str
    curl: Markup


class Operation(msgspec.Struct, frozen=True):
    id: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    parameters: list[Row]
    body: list[Shape]
    answers: list[Answer]
    problems: list[Answer]
    examples: list[Example]


class Section(msgspec.Struct, frozen=True):
    name: str
    description: str
    operations: list[Operation]


@get("/docs", include_in_schema=False, opt=OPEN)
async def docs(request: JsonRequest) -> Response[str]:
    """Made from the application's own description, so it says what the application does."""
    schema = request.app.openapi_schema.to_schema()
    reader = _Reader(schema, request.parts.settings.public_url or str(request.base_url).rstrip("/"))
    return page(
        "docs.html",
        info=schema["info"],
        sections=list(reader.sections()),
        problem=reader.shapes({"$ref": "#/components/schemas/ProblemDetails"}),
        json_path=JSON_PATH,
    )


class _Reader:
    def __init__(self, schema: Mapping[str, Any], address: str) -> None:
        self._schema = schema
        self._address = address

    def sections(self) -> Iterator[Section]:
        for tag in self._schema["tags"]:
            operations = [
                self._operation(method, path, item[method])
                for path, item in self._schema["paths"].items()
                for method in _METHODS
                if method in item and tag["name"] in item[method]["tags"]
            ]
            yield Section(tag["name"], tag["description"], operations)

    def _operation(self, method: str, path: str, said: Mapping[str, Any]) -> Operation:
        needs_key = said.get("security") != []
        content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
        answers = [self._answer(status, self._resolved(answer)) for status, answer in said["responses"].items()]
        return Operation(
            id=said["operationId"],
            method=method,
            path=path,
            summary=said["summary"],
            description=said.get("description", ""),
            needs_key=needs_key,
            parameters=[self._parameter(parameter) for parameter in said.get("parameters", [])],
            body=self.shapes(content["schema"]) if content else [],
            answers=[answer for answer in answers if answer.media_type != "application/problem+json"],
            problems=[answer for answer in answers if answer.media_type == "application/problem+json"],
            examples=list(self._examples(method, path, said, needs_key)),
        )

    def _answer(self, status: str, answer: Mapping[str, Any]) -> Answer:
        for media_type, content in answer.get("content", {}).items():
            return Answer(status, answer["description"], media_type, self.shapes(content["schema"]))
        return Answer(status, answer["description"], "", [])

    def _parameter(self, parameter: Mapping[str, Any]) -> Row:
        row = self._row(parameter["name"], parameter["schema"], parameter["required"])
        said = parameter.get("description") or row.description
        return msgspec.structs.replace(row, type=f"{row.type}, {parameter['in']}", description=said)

    def shapes(self, schema: Mapping[str, Any]) -> list[Shape]:
        """An answer of many forms has one table for each."""
        forms = schema.get("oneOf") or schema.get("anyOf") or [schema]
        return [self._shape(form) for form in forms]

    def _shape(self, schema: Mapping[str, Any]) -> Shape:
        if schema.get("type") == "array":
            inner = self._resolved(schema["items"])
            return Shape(f"list of {inner['title']}", inner.get("description", ""), list(self._rows(inner, "[].", ())))
        whole = self._resolved(schema)
        return Shape(whole.get("title", ""), whole.get("description", ""), list(self._rows(whole, "", ())))

    def _rows(self, schema: Mapping[str, Any], prefix: str, above: tuple[str, ...]) -> Iterator[Row]:
        required = schema.get("required", [])
        fields = schema.get("properties", {})
        for name in sorted(fields, key=lambda name: name not in required):
            yield self._row(prefix + name, fields[name], name in required)
            inner, many = self._inside(fields[name])
            title = inner.get("title", "")
            if "properties" in inner and title not in above:
                yield from self._rows(inner, f"{prefix}{name}{'[]' if many else ''}.", (*above, title))

    def _inside(self, schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        whole = self._given(schema)
        if whole.get("type") == "array":
            return self._given(whole["items"]), True
        return whole, False

    def _row(self, name: str, schema: Mapping[str, Any], required: bool) -> Row:
        given = self._given(schema)
        inner, many = self._inside(schema)
        or_null = " or null" if given.get("nullable") and required else ""
        kind = inner.get("format") or inner.get("type") or _kind(inner)
        described = schema.get("description") or ("" if "$ref" in given else given.get("description", ""))
        return Row(
            name,
            f"{f'list of {kind}s' if many else kind}{or_null}",
            required,
            "; ".join(_limits({**given, **{key: schema[key] for key in ("default",) if key in schema}})),
            described if "properties" not in inner or described else inner.get("description", ""),
            [str(choice) for choice in inner.get("enum", [])],
        )

    def _given(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """What it is when it is not null."""
        forms = [self._resolved(form) for form in schema.get("anyOf", [])]
        given = [form for form in forms if form.get("type") != "null"]
        if len(given) == 1 and len(forms) > 1:
            return {**given[0], "nullable": True}
        return self._resolved(schema)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in schema:
            return schema
        found: Any = self._schema
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found  # type: ignore[no-any-return]

    def _examples(self, method: str, path: str, said: Mapping[str, Any], needs_key: bool) -> Iterator[Example]:
        if "Provider callbacks" in said["tags"]:
            return  # only a provider can sign one
        for parameter in said.get("parameters", []):
            if parameter["in"] == "path" and "example" in parameter:
                path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
        needed = {p["name"]: p["example"] for p in said.get("parameters", []) if p["in"] == "query" and "example" in p}
        path += f"?{urlencode(needed)}" if needed else ""
        if file := said.get("requestBody", {}).get("content", {}).get("text/csv"):
            yield Example("", "", self._curl(method, path, needs_key, file["example"]))
            return
        content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
        examples = content.get("examples", {})
        if not examples:
            yield Example("", "", self._curl(method, path, needs_key))
        for name, example in examples.items():
            yield Example(name, example.get("summary", ""), self._curl(method, path, needs_key, example["value"]))
        if examples and any(parameter["name"] == "Idempotency-Key" for parameter in said.get("parameters", [])):
            once = next(iter(examples.values()))["value"]
            summary = "With a key: paste it twice, and it is sent once."
            curl = self._curl(method, path, needs_key, once, "Idempotency-Key: my-first-send")
            yield Example("idempotent", summary, curl)

    def _curl(self, method: str, path: str, needs_key: bool, body: Any = None, header: str | None = None) -> Markup:
        """To paste into a shell. What the reader fills in is marked, so that the page can put it there.

        A body that is text is a file.
        """
        address = escape(self._address + path)
        for name in re.findall(r"{(\w+)}", path):
            place = Markup('<span data-fill="{}">${}</span>').format(name, name.upper())
            address = address.replace(f"{{{name}}}", place)
        verb = "" if method == ("post" if body is not None else "get") else f"-X {method.upper()} "
        lines = [Markup('curl {}"{}"').format(verb, address)]
        if needs_key:
            lines.append(Markup('-H "Authorization: Bearer <span data-fill="key">$CARILLON_KEY</span>"'))
        if header:
            lines.append(Markup("-H {}").format(shlex.quote(header)))
        if isinstance(body, str):
            lines.append(Markup("-H 'Content-Type: text/csv'"))
            lines.append(Markup("--data-binary {}").format(shlex.quote(body)))
        elif body is not None:
            lines.append(Markup("-H 'Content-Type: application/json'"))
            lines.append(Markup("-d {}").format(shlex.quote(msgspec.json.format(msgspec.json.encode(body)).decode())))
        return Markup(" \\\n  ").join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    forms = [form["type"] for form in schema.get("anyOf", schema.get("oneOf", [])) if "type" in form]
    return " or ".join(forms) or "anything"


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    for least, most, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minimum", "maximum", ""),
    ):
        low, high = schema.get(least), schema.get(most)
        if low is not None and high is not None:
            yield f"{low:,.0f} to {high:,.0f}{unit}"
        elif high is not None:
            yield f"at most {high:,.0f}{unit}"
        elif low is not None:
            yield f"at least {low:,.0f}{unit}"
    default = schema.get("default")
    if default not in (None, {}, [], "") and not isinstance(default, dict):
        yield f"default {default}"


def _prose(text: str) -> Markup:
    """Paragraphs, with `code` in them."""
    paragraphs = (Markup("<p>{}</p>").format(_inline(each)) for each in text.split("\n\n") if each.strip())
    return Markup("").join(paragraphs)


def _inline(text: str) -> Markup:
    parts = _CODE.split(text)
    marked = (Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts))
    return Markup("").join(marked)


environment.filters["prose"] = _prose
environment.filters["inline"] = _inline
