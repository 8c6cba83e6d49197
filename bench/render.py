"""What rendering one message costs once its template is compiled."""

import asyncio
from datetime import UTC, datetime
from time import process_time

from adapters.memory.template_archive import MemoryTemplateArchive
from adapters.templates.files import FileTemplates
from adapters.templates.renderer import JinjaRenderer
from bench.figures import Figure
from bench.stage import Stage
from domain.template import NotificationType
from domain.vocabulary import Channel
from entrypoints import settings
from entrypoints.bootstrap import templates_folder

ROUNDS, RENDERS = 5, 200


def renders(stage: Stage) -> list[Figure]:
    """Each file template in German with its examples: CPU for all of its parts, the best of five rounds."""
    templates = FileTemplates(templates_folder(settings.load(stage.environment)), "en")
    costs = {type_.name: asyncio.run(_cost(templates, type_)) for type_ in templates.types()}
    slowest = max(costs, key=lambda name: costs[name])
    return [
        Figure("all parts, median template", sorted(costs.values())[len(costs) // 2], "us"),
        Figure(f"all parts, slowest template ({slowest})", costs[slowest], "us"),
    ]


async def _cost(templates: FileTemplates, type_: NotificationType) -> float:
    renderer = JinjaRenderer(MemoryTemplateArchive(), templates.bundles)
    pin = templates.current("bench", type_.name, Channel.EMAIL, "de").pin
    examples = {name: variable.example for name, variable in type_.variables.items()}
    rounds = []
    for _ in range(ROUNDS + 1):
        began = process_time()
        for _ in range(RENDERS):
            at = datetime.now(UTC)
            await renderer.render(type_.name, Channel.EMAIL, pin, examples, at=at, time_zone="Europe/Berlin")
        rounds.append(process_time() - began)
    return min(rounds[1:]) / RENDERS * 1e6
