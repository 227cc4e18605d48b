#!/bin/sh
# Starts nginx with what can be known only here: where the replicas are, and what this nginx is able to do.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
run=${NGINX_RUN:-/run/fastprice}
replicas=${REPLICAS:-app:8000}
version=$(nginx -v 2>&1); version=${version##*/}; version=${version%% *}

mkdir -p "$run"
{
  echo "resolver ${RESOLVER:-127.0.0.11} valid=1s ipv6=off;"
  if [ "$(printf '%s\n' 1.27.3 "$version" | sort -V | head -n 1)" = 1.27.3 ]; then
    # Looks the name up again by itself, and keeps connections to every replica open.
    echo "upstream replicas { zone replicas 512k; server $replicas resolve max_fails=0;"
    echo "  keepalive 512; keepalive_requests 100000; keepalive_timeout 60s; }"
    echo 'map "" $replicas { default replicas; }'
  else
    # An older nginx does the former only for a name in a variable, and then opens a connection for each request.
    echo "map \"\" \$replicas { default $replicas; }"
  fi
  if [ "${MICRO_CACHE:-0}" = 1 ]; then cache=prices; else cache=off; fi
  echo "map \"\" \$micro_cache { default $cache; }"
  echo "map \"\" \$logged { default ${NGINX_ACCESS_LOG:-1}; }"
} > "$run/chosen.conf"
echo "limit_conn streams ${STREAMS_PER_ADDRESS:-100};" > "$run/streams.conf"

# Paths in nginx.conf are relative to where it stands, and that has to be where this can write.
cp "$here/nginx.conf" "$run/nginx.conf"
exec nginx -p "$run" -c nginx.conf -g "daemon off; worker_processes ${NGINX_WORKERS:-2};" "$@"
