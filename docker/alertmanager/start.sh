#!/bin/sh
# Starts Alertmanager with the setting that it cannot read from its environment: where alerts are sent, if anywhere.
set -eu
config=${ALERTMANAGER_RUN:-/run/fastprice}/alertmanager.yml
webhook=
[ -z "${ALERT_WEBHOOK:-}" ] || webhook="webhook_configs: [{url: \"$ALERT_WEBHOOK\"}]"
cat > "$config" <<END
route:
  receiver: operators
  # One message per alert and fleet, whichever replicas, sources and pairs it is about.
  group_by: [alertname, cluster, namespace]
  group_wait: ${ALERT_GROUP_WAIT:-10s}
  group_interval: 5m
  repeat_interval: 12h
receivers:
  # Without a webhook, alerts are only shown.
  - name: operators
    $webhook
inhibit_rules:
  # If the whole is gone, its parts need no notifications of their own.
  - source_matchers: ['alertname="NoReplica"']
    target_matchers: ['alertname=~"ReplicaDown|NginxDown"']
    equal: [cluster, namespace]
  - source_matchers: ['alertname="PriceGone"']
    target_matchers: ['alertname="PriceStale"']
    equal: [cluster, namespace, symbol]
  - source_matchers: ['alertname="AllSourcesDown"']
    target_matchers: ['alertname=~"FewSources|NotFirstSource|StreamDown"']
    equal: [cluster, namespace]
END
# Debian uses another name for the program.
exec "$(command -v alertmanager || command -v prometheus-alertmanager)" --config.file="$config" "$@"
