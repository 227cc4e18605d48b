#!/usr/bin/env bash
# roll.sh: replace each replica behind nginx by a new one with the present image and settings, one after the other; an
# old replica is stopped only when a new one has a price.
set -euo pipefail
cd "$(dirname "$0")/.."
compose() { docker compose -f docker-compose.scale.yml "$@"; }
old=$(compose ps --quiet app)
count=$(wc -w <<<"$old")
[ "$count" -gt 0 ] || { echo "no replica runs; make scale starts some" >&2; exit 1; }
for replica in $old; do
  compose up --detach --no-deps --no-recreate --scale "app=$((count + 1))" --wait app
  sleep 2   # nginx resolves the replicas' name once a second.
  docker stop "$replica" >/dev/null   # The replica finishes its requests within its stop_grace_period.
  docker rm "$replica" >/dev/null
done
