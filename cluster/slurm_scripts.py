"""The batch scripts of a cluster, as an administrator may read them in its folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cluster.capacity import HEAD_ENVIRONMENT
from cluster.slurm_file import Request, SlurmFile, Workers
from cluster.slurm_site import TASKS

NOTICE_SECONDS = 60
"""Before its walltime a job is told that it ends. SLURM may tell up to a minute sooner."""
STORE_BYTES = 256 * 2**20
"""Of Ray's object store: chunks go through storage, not through Ray."""

_COMMON = """
# Everything of this job is in a folder of its own, under its own ports: the node may be shared.
scratch=@scratch@/cf-$SLURM_JOB_ID
base=$(( 20000 + SLURM_JOB_ID % 1200 * 10 ))
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=@folder@/token RAY_TMPDIR=$scratch
export RAY_USAGE_STATS_ENABLED=0 RAY_DEDUP_LOGS=0
@environment@
rm -rf "$scratch" && mkdir -m 700 "$scratch" || exit 1
trap 'rm -rf "$scratch"' EXIT
ports=(--metrics-export-port=$base --dashboard-agent-listen-port=$((base + 1))
  --dashboard-agent-grpc-port=$((base + 2)) --runtime-env-agent-port=$((base + 3))
  --node-manager-port=$((base + 4)) --object-manager-port=$((base + 5)))
"""

_HEAD = """#!/bin/bash
@lines@
#SBATCH --no-requeue
#SBATCH --output=@folder@/logs/head-%j.out

# The head of a chunkflow cluster: Ray's head with its autoscaler, which asks SLURM for workers
# (worker-*.sbatch) as work waits and returns them when it is done. It runs no work itself.
@common@
export AUTOSCALER_METRIC_PORT=$((base + 9)) RAY_enable_autoscaler_v2=0
export RAY_AUTOSCALER_UTILIZATION_SCORER=cluster.slurm_provider.in_order
address=$(@python@ -m cluster.slurm_address) || exit 1
# The autoscaler names this file `address` once it is at work: Ray, its client, dashboard and jobs, this job.
echo "$address:$((base + 6)) $address:$((base + 7)) $address:$((base + 8)) $SLURM_JOB_ID" \\
  > @folder@/address.next
@ray@ start --head --block --node-ip-address="$address" --port=$((base + 6)) \\
  --ray-client-server-port=$((base + 7)) --dashboard-host="$address" --dashboard-port=$((base + 8)) \\
  --num-cpus=0 --num-gpus=0 --object-store-memory=@store@ \\
  --resources="{\\"NODE_ID_AS_RESOURCE\\": $(( SLURM_JOB_ID * @tasks@ ))}" \\
  --autoscaling-config=@folder@/autoscaling.yaml --temp-dir="$scratch" "${ports[@]}" &
ray=$!
trap 'kill -TERM $ray' TERM
wait $ray
trap '' TERM
wait $ray
"""

_WORKER = """#!/bin/bash
@lines@
#SBATCH --signal=B:TERM@@notice@
#SBATCH --@requeue@
#SBATCH --open-mode=append
#SBATCH --output=@folder@/logs/@group@-%A_%a.out

# A worker of a chunkflow cluster: one Ray node, which joins the head whose address is in the folder.
@common@
export CHUNKFLOW_NOTICE=$scratch/notice CHUNKFLOW_ENDS=@ends@
export RAY_gcs_rpc_server_reconnect_timeout_s=@patience@  # then a worker whose head is gone ends
read -r head _ < @folder@/address || exit 1
@ray@ start --block --address="$head" --num-cpus=@cpus@ --num-gpus=@gpus@ --memory=@memory@ \\
  --object-store-memory=@store@ --temp-dir="$scratch" "${ports[@]}" \\
  --resources="{\\"NODE_ID_AS_RESOURCE\\": $(( SLURM_ARRAY_JOB_ID * @tasks@ + SLURM_ARRAY_TASK_ID )), \\
\\"device:@device@\\": 1}" &
ray=$!

# The walltime comes, or the node is wanted back: chunkflow reads the notice and gives nothing new to this
# node. When no worker process is left, or when there is no more time, Ray's own processes are ended.
leave() {
  touch "$CHUNKFLOW_NOTICE"
  for ((second = 0; second < @notice@ - 5; second++)); do
    sleep 1
    kill -0 $ray 2>/dev/null || break
    raylet=$(pgrep -P $ray -f raylet/raylet) || break
    ps -o args= --ppid "$raylet" | grep '^ray::' | grep -qv '^ray::IDLE' || break
  done
  kill -TERM $ray 2>/dev/null
}
trap leave TERM
wait $ray
trap '' TERM
wait $ray
"""


def head_script(file: SlurmFile) -> str:
    """The batch script of the head."""
    own = {"lines": _lines(file.head), "store": STORE_BYTES, "environment": _exports(HEAD_ENVIRONMENT)}
    return _filled(_HEAD, file, own)


def worker_script(file: SlurmFile, group: str, workers: Workers, limit: float | None) -> str:
    """The batch script of one group of workers; `limit` is the seconds that one may run."""
    ends = (
        f"${{SLURM_JOB_END_TIME:-$(( $(date +%s) + {limit:.0f} ))}}" if limit else "${SLURM_JOB_END_TIME:-}"
    )
    own = {
        "lines": _lines(workers),
        "notice": NOTICE_SECONDS,
        "requeue": "requeue" if workers.preemptable else "no-requeue",
        "group": group,
        "ends": ends,
        "patience": file.patience,
        "cpus": workers.cpus,
        "gpus": workers.gpus,
        "memory": memory_bytes(workers),
        "store": STORE_BYTES,
        "device": workers.device or workers.partition or group,
        "environment": "",
    }
    return _filled(_WORKER, file, own)


def memory_bytes(workers: Workers) -> int:
    """What Ray may hand out of a worker's memory."""
    return int(workers.memory * 2**30) - STORE_BYTES


def request_words(request: Request) -> list[str]:
    """What is asked of SLURM, as sbatch takes it."""
    words = [
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={request.cpus}",
        f"--mem={request.memory * 1024:.0f}M",
    ]
    for name in ("partition", "account", "qos", "time"):
        value = getattr(request, name)
        words += [f"--{name}={value}"] if value else []
    if isinstance(request, Workers) and request.gpus:
        words.append("--gres=gpu:" + f"{request.gpu_type}:{request.gpus}".lstrip(":"))
    return [*words, *request.sbatch]


def _lines(request: Request) -> str:
    return "\n".join(f"#SBATCH {word}" for word in request_words(request))


def _exports(variables: dict[str, str]) -> str:
    return "export " + " ".join(f"{name}={value}" for name, value in variables.items())


def _filled(template: str, file: SlurmFile, own: dict[str, object]) -> str:
    ray = Path(sys.executable).with_name("ray")
    shared = {
        "folder": shlex.quote(str(file.folder)),
        "scratch": shlex.quote(file.scratch),
        "python": shlex.quote(sys.executable),
        "ray": shlex.quote(str(ray)),
        "tasks": TASKS,
    }
    text = template.replace("@common@", _COMMON.strip())
    for name, value in {**own, **shared}.items():
        text = text.replace(f"@{name}@", str(value))
    return text
