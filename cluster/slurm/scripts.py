"""The batch scripts of a cluster, as an administrator may read them in its folder."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.slurm.file import Request, SlurmFile, Workers
from cluster.slurm.site import TASKS
from cluster.workers.capacity import HEAD_ENVIRONMENT

NOTICE_SECONDS = 60
"""Before its walltime a job is told that it ends. SLURM may tell up to a minute sooner."""
TURN_SECONDS = 5.0
"""Between two turns of the autoscaler; SLURM is asked more seldom."""
STORE_BYTES = 256 * 2**20
"""Of Ray's object store: chunks go through storage, not through Ray."""
HEAD_EXPORTS = " ".join(f"{name}={value}" for name, value in HEAD_ENVIRONMENT.items())
"""The environment of a head, as `export` takes it."""

_COMMON = r"""
# Everything of this job is in a folder of its own, under its own ports: the node may be shared.
scratch=@scratch@/cf-${SLURM_JOB_ID:?}
base=$(( 24000 + SLURM_JOB_ID % 800 * 10 ))  # Ray's client takes 23000 to 23999
ports=(--metrics-export-port=$base --dashboard-agent-listen-port=$((base + 1))
  --dashboard-agent-grpc-port=$((base + 2)) --runtime-env-agent-port=$((base + 3))
  --node-manager-port=$((base + 4)) --object-manager-port=$((base + 5)))
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=@folder@/token RAY_TMPDIR=$scratch
export RAY_USAGE_STATS_ENABLED=0 PATH=@bin@:$PATH

# Whatever ends this script ends Ray: each process that it started, by its id. Asked politely, Ray can wait
# for minutes for a head that is gone.
below() { local child; for child in $(pgrep -P "$1"); do echo "$child"; below "$child"; done; }
end() {
  local ray
  for ray in $(jobs -rp); do kill -KILL "$ray" $(below "$ray") 2>/dev/null; done
  wait 2>/dev/null
  rm -rf "${scratch:?}"
}
launch() {
  ray start --block --temp-dir="$scratch/ray" --object-store-memory=@store@ "${ports[@]}" "$@" &
  ray=$!
}
# Ray gives its own processes a quarter of a minute to start, which is too little where hundreds of jobs load
# Python from one file system: what has not joined is tried again.
had_joined() { compgen -G "$scratch/ray/session_*/logs/ray_process_exit.log" > /dev/null; }
start() {
  local try
  for try in 1 2 3; do
    launch "$@"
    wait $ray
    had_joined && break
    rm -rf "${scratch:?}/ray"
  done
}
# Ray opens its own folder to everybody, so it lies in one that was made for it here and is closed to others.
# They can lay no other where the place is root's or this user's, and has the sticky bit, by which each takes
# away only what is their own, or is for this user to write alone, or with a group in which no one else is.
refuse() { echo "Ray's folder is not safe: $1; name another place as scratch." >&2; exit 1; }
closed=(-perm -1000 -o ! -perm /022)
[[ $(getent group "$(id -g)") == "$(id -un)":*: ]] && closed+=(-o ! -perm /002 -gid "$(id -g)")
[ -d @scratch@/ ] || refuse "there is no folder "@scratch@
[ "$(find -L @scratch@/ -maxdepth 0 \( -uid 0 -o -uid $UID \) \( "${closed[@]}" \))" ] ||
  refuse "others may replace $scratch"
for try in 1 2 3; do  # what a script before this one ended may write for a moment longer
  rm -rf "${scratch:?}" && break
  sleep 1
done
mkdir -m 700 "$scratch" || refuse "$scratch cannot be made, or is another user's"
trap end EXIT
"""

_HEAD = """#!/bin/bash
@lines@
#SBATCH --no-requeue
#SBATCH --output=@folder@/logs/head-%j.out

# The head of a chunkflow cluster: Ray's head with its autoscaler, which asks SLURM for workers by the other
# scripts here as work waits, and returns them when it is done. It runs no chunks itself.
@common@
trap 'exit 0' TERM
export AUTOSCALER_METRIC_PORT=$((base + 9)) AUTOSCALER_UPDATE_INTERVAL_S=@turn@ RAY_enable_autoscaler_v2=0
export RAY_AUTOSCALER_UTILIZATION_SCORER=cluster.slurm.provider.in_order
export @environment@
address=$(python -m cluster.slurm.address) || exit 1
# The autoscaler names this file `address` once it is at work: Ray, its client, dashboard and jobs, this job.
echo "$address:$((base + 6)) $address:$((base + 7)) $address:$((base + 8)) $SLURM_JOB_ID" \\
  > @folder@/address.next
start --head --node-ip-address="$address" --port=$((base + 6)) \\
  --ray-client-server-port=$((base + 7)) --dashboard-host="$address" --dashboard-port=$((base + 8)) \\
  --num-cpus=0 --num-gpus=0 --resources="{\\"NODE_ID_AS_RESOURCE\\": $(( SLURM_JOB_ID * @tasks@ ))}" \\
  --autoscaling-config=@folder@/autoscaling.yaml
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

# The walltime comes, or the node is wanted back: chunkflow reads the notice and gives nothing new to this
# node. When no worker process is left, or no more time, the job is over.
works() {
  pgrep -P "$1" -f raylet/raylet | xargs -r ps -o args= --ppid | grep '^ray::' | grep -qv '^ray::IDLE'
}
leave() {
  touch "$CHUNKFLOW_NOTICE"
  local second
  for ((second = 0; second < @notice@ - 5; second++)); do
    sleep 1
    works $ray || break
  done
  exit 0
}
trap leave TERM
node=$(( SLURM_ARRAY_JOB_ID * @tasks@ + SLURM_ARRAY_TASK_ID ))
read -r head _ < @folder@/address || exit 1
start --address="$head" --num-cpus=@cpus@ --num-gpus=@gpus@ --memory=@memory@ \\
  --resources="{\\"NODE_ID_AS_RESOURCE\\": $node@device@}"
"""


def head_script(file: SlurmFile) -> str:
    """The batch script of the head."""
    own = {
        "lines": sbatch_lines(file.head),
        "environment": HEAD_EXPORTS,
        "turn": int(min(file.poll, TURN_SECONDS)),
    }
    return filled(_HEAD, file.folder, file.scratch, own)


def worker_script(file: SlurmFile, group: str, workers: Workers, limit: float | None) -> str:
    """The batch script of one group of workers; `limit` is the seconds that one may run."""
    ends = (
        f"${{SLURM_JOB_END_TIME:-$(( $(date +%s) + {limit:.0f} ))}}" if limit else "${SLURM_JOB_END_TIME:-}"
    )
    own = {
        "lines": sbatch_lines(workers),
        "notice": NOTICE_SECONDS,
        "requeue": "requeue" if workers.preemptable else "no-requeue",
        "group": group,
        "ends": ends,
        "patience": file.patience,
        "cpus": workers.cpus,
        "gpus": workers.gpus,
        "memory": memory_bytes(workers),
        "device": f', \\"device:{workers.device}\\": 1' if workers.device else "",
    }
    return filled(_WORKER, file.folder, file.scratch, own)


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


def sbatch_lines(request: Request) -> str:
    """What is asked of SLURM, as the first lines of a batch script."""
    return "\n".join(f"#SBATCH {word}" for word in request_words(request))


def filled(template: str, folder: Path, scratch: str, own: Mapping[str, object]) -> str:
    """A batch script from its template: each @name@ has its value, as it is; `folder` has logs and token."""
    shared = {
        "folder": shlex.quote(str(folder)),
        "scratch": shlex.quote(scratch),
        "bin": shlex.quote(str(Path(sys.executable).parent)),
        "store": STORE_BYTES,
        "tasks": TASKS,
    }
    values = {**own, **shared}
    text = template.replace("@common@", _COMMON.strip())
    return re.sub(r"@([a-z]+)@", lambda found: str(values[found[1]]), text)
