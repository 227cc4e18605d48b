"""Configurations of nginx and Varnish: no logs, connections kept forever, all files in the given directories."""

import os
from pathlib import Path

from bench.peers.answer import PATH, Answer

NGINX = """
{user}
daemon off;
pid nginx.pid;
error_log stderr crit;
worker_processes {workers};
events {{ worker_connections 16384; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  keepalive_timeout 75;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  {http}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {server}
  }}
}}
"""
# An in-memory cache for one second; one request to the app at a time, while clients get the old answer.
CACHE = """
  proxy_cache_path {memory}/cache keys_zone=prices:1m max_size=16m use_temp_path=off;
  upstream app {{ server 127.0.0.1:{app}; keepalive 8; }}
  {files}
"""
# As in Debian's nginx.conf; and the fastest for answers as small as ours: read once, written with the head.
PACKAGED = "sendfile on; tcp_nopush on;"
TUNED = "sendfile off; open_file_cache max=100 inactive=60s; open_file_cache_valid 1s;"
CACHED = """
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache prices;
      proxy_cache_key $uri;
      proxy_cache_valid 200 1s;
      proxy_ignore_headers Cache-Control Expires;
      proxy_cache_lock on;
      proxy_cache_use_stale updating;
      proxy_cache_background_update on;
    }
"""
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
# Each subscriber gets only messages that are published after it has subscribed.
PUSHED = """
    location = {stream} {{
      nchan_subscriber eventsource;
      nchan_channel_id price;
      nchan_subscriber_first_message newest;
    }}
    location = {publish} {{
      nchan_publisher http;
      nchan_channel_id price;
      nchan_message_buffer_length 1;
    }}
"""
VARNISH = """vcl 4.1;
backend app { .host = "127.0.0.1"; .port = "%d"; }
sub vcl_backend_response {
  set beresp.ttl = 1s;
  set beresp.grace = 10s;
}
"""


def nginx_constant(port: int, answer: Answer, workers: int = 1) -> str:
    headers = [f"add_header {name} '{value}';" for name, value in answer.headers.items()]
    inside = " ".join([*headers, f"return 200 '{answer.body.decode()}';"])
    return _nginx(port, "", f"location = {PATH} {{ {inside} }}", workers)


def nginx_cache(port: int, app: int, memory: Path, files: str) -> str:
    return _nginx(port, CACHE.format(app=app, memory=memory, files=files), CACHED)


def nginx_nchan(port: int, stream: str, publish: str) -> str:
    """Subscribers request `stream`; what is posted to `publish` is pushed to them."""
    return f"load_module {NCHAN};\n{_nginx(port, '', PUSHED.format(stream=stream, publish=publish))}"


def _nginx(port: int, http: str, server: str, workers: int = 1) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    return NGINX.format(user=user, port=port, http=http, server=server, workers=workers)


def nginx_words(directory: Path, config: str) -> list[str]:
    (directory / "nginx.conf").write_text(config)
    return ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", "stderr"]


def varnish_words(directory: Path, port: int, app: int) -> list[str]:
    (directory / "prices.vcl").write_text(VARNISH % app)
    words = ["varnishd", "-F", "-j", "none", "-T", "none", "-s", "malloc,16m", "-a", f"127.0.0.1:{port}"]
    return [*words, "-n", str(directory / "varnish"), "-f", str(directory / "prices.vcl")]
