#!/bin/sh
# Redirects the TCP connections of this network namespace to the Envoy in it: outgoing ones to port 15001, incoming ones
# to 15006. Run it once, as root (NET_ADMIN and NET_RAW are enough), before the Envoy and the application start: in
# Kubernetes as an init container of the Pod. `redirect.sh remove` takes it back.
#
#   PROXY_UID         the user that Envoy runs as, and nothing else; what it opens is left alone   (1337)
#   EXCLUDE_INBOUND   ports of the workload that are not redirected, for example of probes          (none)
#   EXCLUDE_OUTBOUND  addresses or ranges that are not redirected                                   (none)
set -eu

proxy=${PROXY_UID:-1337}
table() { iptables -w -t nat "$@"; }

if [ "${1:-}" = remove ]; then
    table -D PREROUTING -p tcp -j PILOTAGE_INBOUND || true
    table -D OUTPUT -p tcp -j PILOTAGE_OUTBOUND || true
    for chain in PILOTAGE_INBOUND PILOTAGE_OUTBOUND PILOTAGE_TO_15006 PILOTAGE_TO_15001; do
        table -F "$chain" || true
    done
    for chain in PILOTAGE_INBOUND PILOTAGE_OUTBOUND PILOTAGE_TO_15006 PILOTAGE_TO_15001; do
        table -X "$chain" || true
    done
    exit 0
fi

for chain in PILOTAGE_TO_15001 PILOTAGE_TO_15006 PILOTAGE_INBOUND PILOTAGE_OUTBOUND; do
    table -N "$chain"
done
table -A PILOTAGE_TO_15001 -p tcp -j REDIRECT --to-ports 15001
table -A PILOTAGE_TO_15006 -p tcp -j REDIRECT --to-ports 15006

# What comes in from elsewhere.
for port in ${EXCLUDE_INBOUND:-}; do
    table -A PILOTAGE_INBOUND -p tcp --dport "$port" -j RETURN
done
table -A PILOTAGE_INBOUND -p tcp -j PILOTAGE_TO_15006

# The proxy handing a call to the workload: it comes from this address, and must not come back.
table -A PILOTAGE_OUTBOUND -o lo -s 127.0.0.6/32 -j RETURN
# The proxy calling an endpoint that is this workload itself: it comes in like a call from elsewhere.
table -A PILOTAGE_OUTBOUND -o lo ! -d 127.0.0.1/32 -m owner --uid-owner "$proxy" -j PILOTAGE_TO_15006
# The proxy on its way out, and whatever stays on the machine.
table -A PILOTAGE_OUTBOUND -m owner --uid-owner "$proxy" -j RETURN
table -A PILOTAGE_OUTBOUND -o lo -j RETURN
for range in ${EXCLUDE_OUTBOUND:-}; do
    table -A PILOTAGE_OUTBOUND -d "$range" -j RETURN
done
table -A PILOTAGE_OUTBOUND -p tcp -j PILOTAGE_TO_15001

# Last, so that nothing is redirected by half of the rules.
table -A PREROUTING -p tcp -j PILOTAGE_INBOUND
table -A OUTPUT -p tcp -j PILOTAGE_OUTBOUND
