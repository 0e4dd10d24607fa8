#!/usr/bin/env bash
# One run on all nodes of an allocation: a Ray cluster that lives as long as the job.
#   sbatch --nodes=4 docker/slurm/cluster.sh STUDY RESULTS [OPTION of sweep run...]
# RESULTS is where the first node can write; a job that was ended goes on with the same line. The token
# of the cluster is a file that only you can read, in the folder the job was submitted from (or in
# SWEEP_SHARED), which all nodes must see. SWEEP_HEAD_IP, SWEEP_PORT: where the head listens.
#SBATCH --job-name=sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --output=sweep-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --signal=B:TERM@180
# For GPUs: sbatch --gpus-per-node=4 ...
set -euo pipefail

fail() {
    echo "cluster.sh: $1" >&2
    exit 2
}

if [ "$#" -lt 2 ]; then
    fail "usage: sbatch --nodes=N cluster.sh STUDY RESULTS [OPTION of sweep run...]"
fi
study=$1 results=$2
shift 2
job=${SLURM_JOB_ID:?"is set within a job: use sbatch"}
# Slurm runs a copy of this script, so its own place says nothing.
scripts=${SWEEP_SCRIPTS:-${SLURM_SUBMIT_DIR:-$PWD}/docker}
if [ ! -x "$scripts/node.sh" ]; then
    fail "no $scripts/node.sh; submit from the checkout, or name its docker folder in SWEEP_SCRIPTS"
fi

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
others=("${hosts[@]:1}")
address=${SWEEP_HEAD_IP:-$(getent ahostsv4 "${hosts[0]}" | awk 'NR == 1 {print $1}')}
case "$address" in
"") fail "${hosts[0]} has no address; give it in SWEEP_HEAD_IP" ;;
127.*)
    # Workers of this machine find it there, those of others do not.
    if [ "${#others[@]}" -gt 0 ] && [ -z "${SWEEP_HEAD_IP:-}" ]; then
        fail "${hosts[0]} is $address to itself; give the address others reach it at in SWEEP_HEAD_IP"
    fi
    ;;
esac
port=${SWEEP_PORT:-$((20000 + job % 10000))} # jobs of others may have a head on this machine
cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}

private=$(mktemp -d "${SWEEP_SHARED:-${SLURM_SUBMIT_DIR:-$PWD}}/.sweep-$job-XXXXXX")
temporary=$(mktemp -d "/tmp/sweep-$job-XXXXXX") # on this node, and short: Ray's sockets lie below
started=()
finish() {
    trap '' TERM INT
    for one in "${started[@]}"; do kill -TERM "$one" 2>/dev/null || true; done
    for one in "${started[@]}"; do wait "$one" 2>/dev/null || true; done
    rm -rf "$private" "$temporary"
}
trap finish EXIT

export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$private/token
unset RAY_AUTH_TOKEN
(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH")

# This script runs on the first node: the head is here, and so is what drives the run.
"$scripts/node.sh" head --node-ip-address "$address" --port "$port" --temp-dir "$temporary" \
    --dashboard-host 127.0.0.1 --dashboard-port "$((port + 10000))" \
    --num-cpus "$cpus" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" &
started+=("$!")
if [ "${#others[@]}" -gt 0 ]; then
    list=$(IFS=, && echo "${others[*]}")
    srun --nodes="${#others[@]}" --ntasks="${#others[@]}" --ntasks-per-node=1 --nodelist="$list" \
        --cpus-per-task="$cpus" --no-kill --kill-on-bad-exit=0 --export=ALL \
        "$scripts/slurm/worker.sh" "$address:$port" &
    started+=("$!")
fi

give_up=$((SECONDS + ${SWEEP_WAIT_S:-300}))
until ray health-check --address "$address:$port" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$give_up" ] || ! kill -0 "${started[0]}" 2>/dev/null; then
        fail "the head did not start on ${hosts[0]}"
    fi
    sleep 1
done

# Nodes that come later are used as they come; it is better shared out among all from the start.
all_there() {
    local nodes
    nodes=$(ray status --address "$address:$port" 2>/dev/null | grep -c '^ [0-9][0-9]* node_') || true
    [ "${nodes:-0}" -ge "${#hosts[@]}" ]
}
until all_there || [ "$SECONDS" -ge "$give_up" ]; do sleep 1; done

# Beside this shell, so that a signal reaches it at once: the run ends, and keeps what is finished.
sweep run "$study" --results "$results" --address "$address:$port" "$@" &
run=$!
trap 'asked=yes && kill -TERM "$run" 2>/dev/null' TERM INT
asked=yes
while [ -n "$asked" ]; do
    status=0 asked=
    wait "$run" || status=$?
done
exit "$status"
