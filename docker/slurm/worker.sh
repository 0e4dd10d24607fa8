#!/bin/sh
# What cluster.sh starts on every node but the first: HOST:PORT of the head.
set -eu
own=$(mktemp -d "/tmp/sweep-$SLURM_JOB_ID-XXXXXX") # on this node, and short: Ray's sockets lie below
ray=
trap 'rm -rf "$own"' EXIT
trap 'kill -TERM "$ray" 2>/dev/null || true' TERM INT
"$(dirname "$0")/../node.sh" worker "$1" --temp-dir "$own" \
    --num-cpus "${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}" \
    --num-gpus "${SLURM_GPUS_ON_NODE:-0}" &
ray=$!
wait "$ray" || wait "$ray" || true # the first comes back where a signal is handled
