#!/bin/bash
# One training on two machines of a Slurm cluster: sbatch deploy/slurm.sh
# Recordings, cache and runs lie on a disk that both see. A process that dies is begun again, and the training goes on from its
# checkpoint; so does a job that Slurm puts back into its queue, because its folder bears the number of the job.
#SBATCH --job-name=sounddetect
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
run=runs/job-$SLURM_JOB_ID
words=(train data/ --config config.yaml --run "$run")
if [ -e "$run/data.json" ]; then words=(resume "$run"); fi
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes="$SLURM_NNODES" --nproc_per_node="${SLURM_GPUS_ON_NODE:-1}" --max-restarts=3 \
	--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:29500" -m -- sounddetect "${words[@]}"
