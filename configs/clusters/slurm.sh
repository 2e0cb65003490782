#!/usr/bin/env bash
# Purpose:  a SLURM job: vLLM servers on its first node, training on the others; goes on by itself when time runs out.
# Hardware: nodes of 8 GPUs with a shared file system; see docs/clusters.md.
# Command:  sbatch configs/clusters/slurm.sh [flags of `rtt fit`]
#           from a folder on the shared file system, in an environment that has `rtt` and `vllm`
#SBATCH --job-name=rtt
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=3
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
# Seconds before the end; must be more than a window of rollouts, an update and a checkpoint take.
#SBATCH --signal=B:TERM@600
set -euo pipefail

MODEL=Qwen/Qwen2.5-7B-Instruct # that of models/qwen2.5-7b.yaml
RUN=runs/paper                 # that of data/paper.yaml and clusters/*.yaml
GPUS=8
TRAINING_NODES=$((SLURM_JOB_NUM_NODES - 1))

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
mkdir -p "$RUN/weights"

# This script runs on the first node. Servers that are its own processes get no signal that is meant for job steps.
servers=() urls=()
trap 'kill "${servers[@]}" 2>/dev/null || true' EXIT
for ((gpu = 0; gpu < GPUS; gpu++)); do
    CUDA_VISIBLE_DEVICES=$gpu VLLM_SERVER_DEV_MODE=1 vllm serve "$MODEL" --port $((8000 + gpu)) --tokens-only \
        --logprobs-mode processed_logprobs --max-model-len 6144 >"$RUN/server-$gpu.log" 2>&1 &
    servers+=("$!")
    urls+=("http://${hosts[0]}:$((8000 + gpu))")
done

# A process that is done first must not have the others killed while they end: the guard sees to those that fail.
export MASTER_ADDR=${hosts[1]}
srun --nodes="$TRAINING_NODES" --relative=1 --ntasks=$((TRAINING_NODES * GPUS)) --ntasks-per-node="$GPUS" \
    --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 \
    rtt fit --config methods/rtt.yaml --config models/qwen2.5-7b.yaml --config data/paper.yaml \
    --config clusters/fsdp.yaml --config clusters/servers.yaml --trainer.num_nodes="$TRAINING_NODES" \
    --rollout.engine.init_args.urls="[$(IFS=, && echo "${urls[*]}")]" --ckpt_path="$RUN/checkpoints" "$@" &
training=$!

# On SIGTERM the training finishes its update, saves and exits with 143. It must not go to srun, which kills at once.
signalled=
trap 'signalled=yes; scancel --signal=TERM "$SLURM_JOB_ID.0" || true' TERM
until # a signal ends `wait`, not the training
    code=0
    wait "$training" || code=$?
    [[ -z $signalled ]]
do
    signalled=
done

# A job that was cancelled ends with 143 too, but is no longer running.
if [[ $code == 143 && $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) == RUNNING ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
