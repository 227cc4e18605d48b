"""The nginx of docker/ in front of the services of a scene, which it finds by name, as in the compose file."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from bench.drills.clients import Door
from bench.drills.drill import Notes
from bench.drills.scene import Scene, clients, scene
from bench.processes import missing
from tests.nginx import Front, fronted

FIRST = 2
ASKERS = 60


@contextlib.asynccontextmanager
async def behind_nginx(
    notes: Notes, replicas: int = 2, *, askers: int = ASKERS, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Scene, Front]]:  # fmt: skip
    """Replicas on addresses of their own, and nginx, through which all clients connect."""
    if lacking := missing("nginx"):
        raise RuntimeError(f"this needs {lacking[0]}")
    async with scene(notes, 0, doors=False, redis=True, askers=0, environ=environ) as stage:
        async with fronted(stage.directory / "nginx", replicas=0) as front:
            for _ in range(replicas):
                await join(stage, front)
            await stage.settle()
            stage.doors.append(Door("nginx", front.port, is_shared=True))
            async with clients(stage, askers):
                yield stage, front


async def join(stage: Scene, front: Front) -> None:
    """Start one more replica, which nginx finds by its name."""
    host = f"127.0.0.{FIRST + len(stage.services) + len(stage.retired)}"
    service = stage.made(HOST=host, PORT=str(front.replica_port))
    await service.start()
    await stage.learn()
    front.names.addresses.append(host)
