"""An SMTP server as a process of its own that writes down every message it takes: python -m tests.faults.smtp"""

import argparse
import asyncio
import json
import signal
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class _Sink:
    """What is written down has taken effect, whether or not the sender ever hears of it."""

    def __init__(self, log: Path, latency: float) -> None:
        self._log = log.open("a", buffering=1)
        self._latency = latency

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        subject = message_from_bytes(envelope.content or b"", policy=policy.default)["subject"]  # type: ignore[arg-type]
        for address in envelope.rcpt_tos:
            line = {"to": address, "time": time.time(), "new": True, "subject": str(subject)}
            self._log.write(json.dumps(line) + "\n")
        await asyncio.sleep(self._latency)
        return "250 2.0.0 taken"


async def _serve(sink: _Sink) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, hostname="localhost", loop=loop), "127.0.0.1", 0)
    sys.stdout.write(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.smtp")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(_serve(_Sink(arguments.log, arguments.latency_ms / 1000)))
