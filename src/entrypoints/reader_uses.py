"""What can be done about readers, each with the ports it needs."""

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.postgres.event_store import PostgresEventStore
from application.commands.choose import Chosen, choose, chosen
from application.commands.preferences import (
    PreferencesAnswer,
    SubscribeAnswer,
    UnsubscribeAnswer,
    change_preferences,
    remove_contact,
    subscribe,
    unsubscribe,
    update_preferences,
)
from application.commands.suppressions import ImportProgress, SuppressionAnswer, allow, import_list, suppress
from application.ports.time_and_chance import Clock, Dice
from application.queries.preferences import UserPreferences, get_preferences
from application.queries.suppressions import SuppressionPage, SuppressionReader, export, list_suppressions
from application.readers import AddressDigest, HeardOf, Readers


@dataclass(frozen=True)
class ReaderUses:
    preferences: Callable[..., Coroutine[Any, Any, UserPreferences]]
    update: Callable[..., Coroutine[Any, Any, PreferencesAnswer]]
    change: Callable[..., Coroutine[Any, Any, PreferencesAnswer]]
    unsubscribe: Callable[..., Coroutine[Any, Any, UnsubscribeAnswer]]
    subscribe: Callable[..., Coroutine[Any, Any, SubscribeAnswer]]
    remove_contact: Callable[..., Coroutine[Any, Any, PreferencesAnswer]]
    chosen: Callable[..., Coroutine[Any, Any, Chosen]]
    choose: Callable[..., Coroutine[Any, Any, None]]
    suppress: Callable[..., Coroutine[Any, Any, SuppressionAnswer]]
    allow: Callable[..., Coroutine[Any, Any, SuppressionAnswer]]
    list_suppressions: Callable[..., Coroutine[Any, Any, SuppressionPage]]
    count_suppressions: Callable[[str], Coroutine[Any, Any, int]]
    export_suppressions: Callable[[str], AsyncIterator[str]]
    import_suppressions: Callable[..., AsyncIterator[ImportProgress]]
    digest: AddressDigest


def reader_uses(
    store: PostgresEventStore,
    readers: Readers,
    reader: SuppressionReader,
    digest: AddressDigest,
    clock: Clock,
    dice: Dice,
) -> ReaderUses:
    events = HeardOf(store, readers)
    lists: dict[str, Any] = {"events": events, "persons": store, "digest": digest, "clock": clock}
    return ReaderUses(
        preferences=partial(get_preferences, events=store),
        update=partial(update_preferences, events=events, clock=clock),
        change=partial(change_preferences, events=events, clock=clock),
        unsubscribe=partial(unsubscribe, **lists),
        subscribe=partial(subscribe, events=events, persons=store, clock=clock, dice=dice),
        remove_contact=partial(remove_contact, events=events, clock=clock),
        chosen=partial(chosen, events=store, digest=digest),
        choose=partial(choose, **lists),
        suppress=partial(suppress, **lists),
        allow=partial(allow, events=events, digest=digest, clock=clock),
        list_suppressions=partial(list_suppressions, reader=reader),
        count_suppressions=reader.count,
        export_suppressions=partial(export, reader=reader),
        import_suppressions=partial(import_list, **lists),
        digest=digest,
    )
