#!/bin/sh
# start.sh           starts nginx with what is known only here: its replicas, its settings, what its version can do.
# start.sh reload    makes the running nginx use the present nginx.conf, environment and certificates, without losing a
#                    request. A wrong setting is reported and changes nothing.
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
  refuse "$1 is '$value', but must be a whole number from $3 to $4"
}

chosen() {
  echo "resolver ${RESOLVER:-127.0.0.11} valid=1s ipv6=off;"
  if since 1.27.3; then
    # Resolves the name again by itself, and keeps connections to every replica open.
    echo "upstream replicas { zone replicas 512k; server $replicas resolve max_fails=0;"
    echo "  keepalive 512; keepalive_requests 100000; keepalive_timeout 60s; }"
    echo 'map "" $replicas { default replicas; }'
  else
    # An older nginx resolves again only a name in a variable, and then opens a connection for each request.
    echo "map \"\" \$replicas { default $replicas; }"
  fi
  # A worker that ends announces it in its next answer, instead of closing while a request may be on its way.
  if since 1.27.4; then echo "keepalive_min_timeout 5s;"; fi
  if [ "$micro_cache" -eq 1 ]; then cache=prices; else cache=off; fi
  echo "map \"\" \$micro_cache { default $cache; }"
  echo "map \"\" \$logged { default $logged; }"
  # Less severe levels log one or two lines for each request that a replica does not answer: in an outage, for all.
  echo "error_log stderr $errors;"
}

case ${NGINX_ACCESS_LOG:-sample} in
  0 | 1) logged=$NGINX_ACCESS_LOG ;;
  sample) logged='$sampled' ;;
  *) refuse "NGINX_ACCESS_LOG is '$NGINX_ACCESS_LOG', but must be sample, 1 for every request, or 0" ;;
esac
errors=${NGINX_ERROR_LOG:-crit}
case $errors in
  crit | error | warn | info) ;;
  *) refuse "NGINX_ERROR_LOG is '$errors', but must be crit, error, warn or info" ;;
esac
# More workers would need more memory than the 256 MB of the container.
workers=$(number NGINX_WORKERS 2 1 32)
micro_cache=$(number MICRO_CACHE 0 0 1)
proxy_protocol=$(number PROXY_PROTOCOL 0 0 1)
# 0 means no limit, and nginx cannot count higher than the maximum.
streams=$(number STREAMS_PER_ADDRESS 100 0 65535)
requests=$(number REQUESTS_PER_ADDRESS 0 0 1000000)
connections=$(number CONNECTIONS_PER_ADDRESS 0 0 65535)
# A request with an empty key is not counted. Without any limit of their own, streams would count as requests under way.
subscriber='$client'
if [ "$streams" -eq 0 ]; then subscriber=; streams=1; fi
case ${TRUSTED_PROXIES:-} in *[!0-9a-fA-F.:/,]*) refuse "TRUSTED_PROXIES is '$TRUSTED_PROXIES', but must be addresses or networks, separated by commas" ;; esac
from=X-Forwarded-For
if [ "$proxy_protocol" -eq 1 ]; then
  from=proxy_protocol
  [ -n "${TRUSTED_PROXIES:-}" ] || refuse "TRUSTED_PROXIES is '', but must name load balancers with PROXY_PROTOCOL=1"
fi

# Who a client is, and how many requests a client may send.
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

# On every address, including IPv6 if this machine has it; without IPv6, nginx would not start with such an address.
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
# nginx.conf must be in a directory to which this script can write.
cp "$here"/*.conf "$new/"

case ${1:-start} in
  start)
    rm -rf "$run/conf"
    mv "$new" "$run/conf"
    exec nginx -p "$run" -c conf/nginx.conf -g "daemon off;" ;;
  reload)
    [ -s "$run/nginx.pid" ] || refuse "no nginx is running with $run"
    nginx -q -t -p "$run" -c new/nginx.conf || refuse "nginx keeps its previous configuration"
    rm -rf "$run/conf"
    mv "$new" "$run/conf"
    kill -HUP "$(cat "$run/nginx.pid")" ;;
  *) refuse "usage: start.sh [reload]" ;;
esac
