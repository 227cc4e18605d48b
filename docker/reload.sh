#!/usr/bin/env bash
# reload.sh: make the running nginx use the present docker/nginx, settings and certificates.
set -euo pipefail
cd "$(dirname "$0")/.."
nginx=$(docker compose -f docker-compose.scale.yml ps --quiet nginx)
[ -n "$nginx" ] || { echo "no nginx runs; make scale starts one" >&2; exit 1; }
# With the compose files that the container was made from; there may be more than one.
COMPOSE_FILE=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project.config_files"}}' "$nginx")
export COMPOSE_FILE COMPOSE_PATH_SEPARATOR=,
# A container keeps the environment of its creation, so the environment that a new one would get is passed on.
given=$(docker compose run --rm --no-deps --no-TTY --entrypoint env nginx)
settings=()
while read -r line; do settings+=(--env "$line"); done <<<"$given"
docker compose exec --no-TTY "${settings[@]}" nginx sh /etc/nginx/fastprice/start.sh reload
