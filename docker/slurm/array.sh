#!/usr/bin/env bash
# A study in N parts, each by a task of an array, with results of its own:
#   sbatch --array=1-8 docker/slurm/array.sh STUDY 8 RESULTS [OPTION of sweep run...]
# and when the array is done:
#   sweep merge RESULTS/shard-* RESULTS/joined
# Parts that failed or were ended are given again, with the same N: sbatch --array=3,5 ... STUDY 8 RESULTS
# TEACHERS=DIR: results that hold teachers, taken over before a part begins (docker/README.md).
#SBATCH --job-name=sweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --output=sweep-%A-%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
# For GPUs: sbatch --gpus=1 ...
set -euo pipefail

if [ "$#" -lt 3 ]; then
    echo "usage: sbatch --array=1-N array.sh STUDY N RESULTS [OPTION of sweep run...]" >&2
    exit 2
fi
study=$1 count=$2 results=$3
shift 3
part=${SLURM_ARRAY_TASK_ID:?"is set for the tasks of an array: sbatch --array=1-$count"}
own=$results/shard-$part

if [ -n "${TEACHERS:-}" ]; then
    sweep merge "$TEACHERS" "$own"
fi
# In the place of this shell, so that Slurm's signal reaches the run: what is finished is kept.
exec sweep run "$study" --shard "$part/$count" --results "$own" \
    --workers "${SLURM_CPUS_PER_TASK:-1}" "$@"
