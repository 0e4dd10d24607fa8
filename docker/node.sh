#!/bin/sh
# Starts this machine's, container's or job's part of a Ray cluster and stays in the foreground.
#
#   node.sh head [OPTION...]               the first node; the dashboard serves the API of jobs
#   node.sh worker HOST:PORT [OPTION...]   one more, as soon as the head answers
#   node.sh health [head]                  whether it works; with `head`, the head's own parts too
#
# Options are those of `ray start`. The token that all nodes share is read from the file that
# RAY_AUTH_TOKEN_PATH names, or from RAY_AUTH_TOKEN where a cluster hands it over like that; without
# one nothing is started. SWEEP_WAIT_S: seconds a worker waits for its head, 300 if not set.
set -eu

use() {
    echo "node.sh: $1; usage: node.sh head|worker HOST:PORT|health [OPTION...]" >&2
    exit 2
}

need_token() {
    export RAY_AUTH_MODE=token
    if [ -n "${RAY_AUTH_TOKEN:-}" ]; then
        return
    fi
    export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-/run/secrets/ray_token}"
    if [ ! -r "$RAY_AUTH_TOKEN_PATH" ] || [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
        echo "node.sh: no token can be read from $RAY_AUTH_TOKEN_PATH (user $(id -u)); make one with" \
            "\`openssl rand -hex 32\` and name its file in RAY_AUTH_TOKEN_PATH" >&2
        exit 2
    fi
}

[ "$#" -ge 1 ] || use "nothing to do"
role=$1
shift
case "$role" in
head)
    need_token
    exec ray start --head --block --disable-usage-stats --include-dashboard=true "$@"
    ;;
worker)
    [ "$#" -ge 1 ] || use "a worker needs the address of its head"
    address=$1
    shift
    need_token
    give_up=$(($(date +%s) + ${SWEEP_WAIT_S:-300}))
    until ray health-check --address "$address" >/dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$give_up" ]; then
            echo "node.sh: no head answers at $address, or it has another token" >&2
            exit 1
        fi
        sleep 1
    done
    exec ray start --address "$address" --block --disable-usage-stats "$@"
    ;;
health)
    exec python "${SWEEP_HEALTH:-$(dirname "$0")/health.py}" "$@"
    ;;
*)
    use "$role is nothing it does"
    ;;
esac
