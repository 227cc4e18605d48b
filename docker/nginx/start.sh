#!/bin/sh
# start.sh           starts nginx with what can be known only here: its replicas, its settings, what its version can do.
# start.sh reload    lets the nginx that runs here take over what nginx.conf, the environment and the certificates say by
#                    now, without losing a request. What cannot be used is told and changes nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
run=${NGINX_RUN:-/run/fastprice}
new=$run/new
replicas=${REPLICAS:-app:8000}
version=$(nginx -v 2>&1); version=${version##*/}; version=${version%% *}

refuse() { echo "$1" >&2; exit 2; }
since() { [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ]; }
# The value of a variable: number NAME DEFAULT LEAST MOST
number() {
  eval "value=\${$1:-$2}"
  case $value in
    *[!0-9]* | ????????*) ;;
    *) if [ "$value" -ge "$3" ] && [ "$value" -le "$4" ]; then echo "$value"; return; fi ;;
  esac
  refuse "$1 is '$value', and has to be a whole number from $3 to $4"
}

chosen() {
  echo "resolver ${RESOLVER:-127.0.0.11} valid=1s ipv6=off;"
  if since 1.27.3; then
    # Looks the name up again by itself, and keeps connections to every replica open.
    echo "upstream replicas { zone replicas 512k; server $replicas resolve max_fails=0;"
    echo "  keepalive 512; keepalive_requests 100000; keepalive_timeout 60s; }"
    echo 'map "" $replicas { default replicas; }'
  else
    # An older nginx does the former only for a name in a variable, and then opens a connection for each request.
    echo "map \"\" \$replicas { default $replicas; }"
  fi
  # A worker that ends tells so in its next answer, instead of closing where a request may be on its way.
  if since 1.27.4; then echo "keepalive_min_timeout 5s;"; fi
  if [ "$micro_cache" -eq 1 ]; then cache=prices; else cache=off; fi
  echo "map \"\" \$micro_cache { default $cache; }"
  echo "map \"\" \$logged { default $logged; }"
  # Below this are one or two lines for each request that a replica does not answer: in an outage, every request.
  echo "error_log stderr $errors;"
}

case ${NGINX_ACCESS_LOG:-sample} in
  0 | 1) logged=$NGINX_ACCESS_LOG ;;
  sample) logged='$sampled' ;;
  *) refuse "NGINX_ACCESS_LOG is '$NGINX_ACCESS_LOG', and has to be sample, 1 for every request, or 0" ;;
esac
errors=${NGINX_ERROR_LOG:-crit}
case $errors in
  crit | error | warn | info) ;;
  *) refuse "NGINX_ERROR_LOG is '$errors', and has to be crit, error, warn or info" ;;
esac
# More workers would need more than the 256 MB that they get.
workers=$(number NGINX_WORKERS 2 1 32)
micro_cache=$(number MICRO_CACHE 0 0 1)
proxy_protocol=$(number PROXY_PROTOCOL 0 0 1)
# 0 is no limit, and further than this nginx does not count.
streams=$(number STREAMS_PER_ADDRESS 100 0 65535)
requests=$(number REQUESTS_PER_ADDRESS 0 0 1000000)
connections=$(number CONNECTIONS_PER_ADDRESS 0 0 65535)
# Who has no key is not counted. Without any limit of their own, streams would be counted among the requests under way.
subscriber='$client'
if [ "$streams" -eq 0 ]; then subscriber=; streams=1; fi
case ${TRUSTED_PROXIES:-} in *[!0-9a-fA-F.:/,]*) refuse "TRUSTED_PROXIES is '$TRUSTED_PROXIES', and has to be addresses or networks, separated by commas" ;; esac
from=X-Forwarded-For
if [ "$proxy_protocol" -eq 1 ]; then
  from=proxy_protocol
  [ -n "${TRUSTED_PROXIES:-}" ] || refuse "TRUSTED_PROXIES is '', and has to name load balancers with PROXY_PROTOCOL=1"
fi

# Who a client is, and how much of this one may ask for.
clients() {
  for proxy in $(echo "${TRUSTED_PROXIES:-}" | tr , ' '); do echo "set_real_ip_from $proxy;"; done
  echo "real_ip_header $from;"
  echo "map \"\" \$subscriber { default \"$subscriber\"; }"
  if [ "$requests" -ne 0 ]; then echo "limit_req_zone \$client zone=requests:8m rate=${requests}r/s;"; fi
}
limits() {
  if [ "$requests" -ne 0 ]; then echo "limit_req zone=requests burst=$requests nodelay;"; fi
  if [ "$connections" -ne 0 ]; then echo "limit_conn connections $connections;"; fi
}

# On every address, of IPv6 too where this machine has any; where it has none, nginx would not start.
listen_on() {
  echo "listen $1;"
  if grep -q . /proc/net/if_inet6 2>/dev/null; then echo "listen [::]:$1;"; fi
}
listen() {
  if [ "$proxy_protocol" -eq 1 ]; then proxy=proxy_protocol; else proxy=; fi
  listen_on "${NGINX_PORT:-8000} $proxy backlog=4096"
  [ -n "${TLS_CERTIFICATE:-}" ] || return 0
  if since 1.25.1; then echo "http2 on;"; http2=; else http2=http2; fi
  listen_on "${NGINX_TLS_PORT:-8443} ssl $http2 $proxy backlog=4096"
  echo "ssl_certificate $TLS_CERTIFICATE; ssl_certificate_key ${TLS_KEY:?};"
  echo "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:8m; ssl_session_timeout 1d; ssl_session_tickets off;"
}

rm -rf "$new"
mkdir -p "$new"
echo "worker_processes $workers;" > "$new/workers.conf"
chosen > "$new/chosen.conf"
listen > "$new/listen.conf"
listen_on "${NGINX_STATUS_PORT:-8081}" > "$new/listen_status.conf"
echo "limit_conn streams $streams;" > "$new/stream_limit.conf"
clients > "$new/clients.conf"
limits > "$new/limits.conf"
# Its directory has to be where this can write.
cp "$here"/*.conf "$new/"

case ${1:-start} in
  start)
    rm -rf "$run/conf"
    mv "$new" "$run/conf"
    exec nginx -p "$run" -c conf/nginx.conf -g "daemon off;" ;;
  reload)
    [ -s "$run/nginx.pid" ] || refuse "no nginx runs with $run"
    nginx -q -t -p "$run" -c new/nginx.conf || refuse "nginx goes on with what it had"
    rm -rf "$run/conf"
    mv "$new" "$run/conf"
    kill -HUP "$(cat "$run/nginx.pid")" ;;
  *) refuse "usage: start.sh [reload]" ;;
esac
