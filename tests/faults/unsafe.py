"""A worker that notes a message as sent before it sends it, for the checker to see: python -m tests.faults.unsafe"""

import asyncio

from application.processes import deliver
from domain.notification import Notification
from domain.outcomes import Accepted
from domain.template import Content
from entrypoints import bootstrap, cli


class HastyDelivery(deliver.Delivery):
    async def _attempt(
        self, notification: Notification, content: Content, rules: deliver.SendingRules, lapses: float
    ) -> None:
        sender = self._senders[notification.channel]
        email = deliver._email(notification, content, rules)
        envelope = self._envelope(notification, content)
        attempt = notification.attempt(
            sender.provider,
            None,
            deliver._digest(email),
            envelope,
            sender=email.sender,
            reply_to=None,
            **self._signed(),
        )
        await self._events.save(notification)
        await self._record(notification, attempt, Accepted(None), rules)
        await asyncio.sleep(0.5)
        await sender.send(email, attempt.key)


if __name__ == "__main__":
    bootstrap.Delivery = HastyDelivery  # type: ignore[misc]
    cli.main()
