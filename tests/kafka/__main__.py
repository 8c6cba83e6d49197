"""`make kafka`: one node of Apache Kafka, on this machine alone and with nothing stored before, until Ctrl-C.

Needs Java 17 and Maven, which fetches the published jars the first time.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import click

_ROOT = Path(__file__).parents[2]
_POM = Path(__file__).parent / "pom.xml"
_OLDEST_JAVA = 17
_WITHIN = 60.0  # seconds
_HEAP = "-Xmx512m"

_SETTINGS = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=9092, show_default=True, help="0: any that is free.")
def main(port: int) -> None:
    """Run one node of Apache Kafka until Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):  # also where the shell that started it lets none through
        signal.signal(number, signal.default_int_handler)
    _demand_java()
    jars = _jars()
    port = port or _free_port()
    if _answers(port):
        raise click.ClickException(f"port {port} is taken: say another one, make kafka KAFKA_PORT=...")
    with tempfile.TemporaryDirectory(prefix="carillon-kafka-") as folder, suppress(KeyboardInterrupt):
        settings = Path(folder, "server.properties")
        settings.write_text(_SETTINGS.format(port=port, controller=_free_port(), data=f"{folder}/data"))
        _java(jars, "kafka.tools.StorageTool", "format", "--cluster-id", _cluster_id(), "--config", str(settings))
        _serve(jars, settings, port)


def _serve(jars: Path, settings: Path, port: int) -> None:
    with subprocess.Popen(_command(jars, "kafka.Kafka", str(settings))) as server:
        try:
            until = time.monotonic() + _WITHIN
            while not _answers(port):
                if server.poll() is not None or time.monotonic() > until:
                    raise click.ClickException("Kafka did not start")
                time.sleep(0.1)
            click.echo(f"Apache Kafka answers; in another shell:\n\n  make test KAFKA_BROKERS=127.0.0.1:{port}\n")
            server.wait()
        finally:
            server.terminate()


def _demand_java() -> None:
    for program in ("java", "mvn"):
        if not shutil.which(program):
            raise click.ClickException(f"{program} is not on PATH: Java {_OLDEST_JAVA} and Maven are needed for this")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < _OLDEST_JAVA:
        raise click.ClickException(f"Java {_OLDEST_JAVA} or newer is needed, and this is: {said.splitlines()[0]}")


def _jars() -> Path:
    """Fetched once for each state of the list of them."""
    folder = _ROOT / "build" / f"kafka-{sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        click.echo("Fetching Apache Kafka, about 45 MB")
        new = folder.with_suffix(".new")
        goal = "dependency:copy-dependencies"
        fetched = subprocess.run(["mvn", "--quiet", "--batch-mode", "--file", _POM, goal, f"-DoutputDirectory={new}"])
        if fetched.returncode:
            raise click.ClickException("Maven could not fetch it")
        new.rename(folder)
    return folder


def _java(jars: Path, *arguments: str) -> None:
    done = subprocess.run(_command(jars, *arguments), capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr or done.stdout)


def _command(jars: Path, *arguments: str) -> Sequence[str]:
    return ["java", _HEAP, "-classpath", f"{jars}{os.sep}*", *arguments]


def _cluster_id() -> str:
    return uuid4().hex[:22]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
