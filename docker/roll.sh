#!/usr/bin/env bash
# roll.sh: put a new replica, of the image and the settings as they are now, in the place of each one that runs behind
# nginx; one after the other, and an old one goes only when there is a new one that has a price.
set -euo pipefail
cd "$(dirname "$0")/.."
compose() { docker compose -f docker-compose.scale.yml "$@"; }
old=$(compose ps --quiet app)
count=$(wc -w <<<"$old")
[ "$count" -gt 0 ] || { echo "no replica runs; make scale starts some" >&2; exit 1; }
for replica in $old; do
  compose up --detach --no-deps --no-recreate --scale "app=$((count + 1))" --wait app
  sleep 2   # nginx looks the replicas up once a second.
  docker stop "$replica" >/dev/null   # It finishes what it was asked, within its stop_grace_period.
  docker rm "$replica" >/dev/null
done
