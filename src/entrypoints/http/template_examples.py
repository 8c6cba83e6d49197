"""Bodies to paste for the calls about templates: one template of one's own, from its first version on."""

from typing import Any

from domain.template import NotificationType

_VERSION: dict[str, Any] = {
    "category": "promotion",
    "purpose": "marketing",
    "priority": "low",
    "description": "Tells regular customers that the sale has begun.",
    "variables": {
        "first_name": {"type": "string", "example": "Jane", "description": "Who reads it."},
        "ends_at": {"type": "datetime", "example": "2035-03-31T22:00:00Z", "description": "When the sale is over."},
        "shop_url": {"type": "url", "example": "https://acme.example.com/sale"},
        "items": {
            "type": "list",
            "required": False,
            "example": [{"name": "Tulips", "price": 4.5}],
            "fields": {
                "name": {"type": "string", "example": "Tulips"},
                "price": {"type": "number", "example": 4.5},
            },
        },
    },
    "default_locale": "en",
    "texts": {
        "en": {
            "email": {
                "subject": "{{ first_name }}, the sale is on",
                "html": "<p>Hello {{ first_name }},</p>\n<p>until {{ ends_at|date }} everything costs less.</p>\n"
                '<p><a href="{{ shop_url }}">See what there is</a></p>\n',
                "text": "Hello {{ first_name }},\n\nuntil {{ ends_at|date }} everything costs less:\n{{ shop_url }}\n"
                "{% for item in items or [] %}\n* {{ item.name }}, {{ item.price|number }}\n{% endfor %}\n",
            },
            "sms": {"text": "{{ first_name }}, the sale is on until {{ ends_at|date }}: {{ shop_url }}"},
            "push": {"title": "The sale is on", "body": "Until {{ ends_at|date }}", "link": "{{ shop_url }}"},
        }
    },
}
_GERMAN = {
    "email": {
        "subject": "{{ first_name }}, der Ausverkauf läuft",
        "html": '<p>Hallo {{ first_name }},</p>\n<p>bis {{ ends_at|date }} ist <a href="{{ shop_url }}">alles</a> '
        "günstiger.</p>\n",
        "text": "Hallo {{ first_name }},\n\nbis {{ ends_at|date }} ist alles günstiger:\n{{ shop_url }}\n",
    },
    "sms": {"text": "{{ first_name }}, Ausverkauf bis {{ ends_at|date }}: {{ shop_url }}"},
    "push": {"title": "Der Ausverkauf läuft", "body": "Bis {{ ends_at|date }}", "link": "{{ shop_url }}"},
}


def template_examples(house: NotificationType) -> dict[str, Any]:
    """By operation. Those of an own template go with the name spring-sale, those of the house with any of its own."""
    given = {name: variable.example for name, variable in house.variables.items() if variable.required}
    return {
        "CreateTemplate": _one("A first version, in English, by three channels.", {"name": "spring-sale", **_VERSION}),
        "AddTemplateVersion": _one("All of it again, as it is to be from now on.", _VERSION),
        "LocalizeTemplate": _one("The same in German.", _GERMAN),
        "ActivateTemplate": _one("From now on.", {"version": 1}),
        "PreviewTemplate": {
            "examples": {"summary": "With the examples, for a reader in Austria.", "value": {"locale": "de-AT"}},
            house.name: {"summary": f"{house.name}, with variables of yours.", "value": {"variables": given}},
        },
        "TestTemplate": _one("With the examples, in German.", {"locale": "de"}),
    }


_OF_THE_HOUSE = frozenset({"GetTemplate", "PreviewTemplate", "TestTemplate"})


def path_example(operation: str, parameter: str) -> Any:
    """What stands in the address of the examples; None for what only the reader knows."""
    if parameter == "name":
        return "welcome" if operation in _OF_THE_HOUSE else "spring-sale"
    return {"locale": "de", "version": 1}.get(parameter)


def _one(summary: str, value: Any) -> dict[str, Any]:
    return {"example": {"summary": summary, "value": value}}
