"""A lab's service as one job of SLURM: Ray's head, the serving processes, and HAProxy before them.

1. `write_service_script` writes the batch script, and beside it a folder for its logs and Ray's token.
2. The job starts all three on its node, and says in its log by which tunnel people reach them.
3. Told that its walltime comes, it queues itself again. What people did lies in a PostgreSQL database, so it
   goes on where it was, on whatever node.
4. However it ends, each process that it has started is ended by its id, and waited for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from chunkflow.data.atomic import written_whole
from chunkflow.errors import BadInput
from cluster.closed import write_token
from cluster.slurm.checks import make_closed_folder
from cluster.slurm.file import Request
from cluster.slurm.scripts import HEAD_EXPORTS, filled, sbatch_lines

NOTICE_SECONDS = 120
"""Before its walltime the job is told that it ends. SLURM may tell up to a minute sooner."""
PROCESS_MIB = 1024
"""Of the job's memory, for each serving process; Ray has the rest."""
ENDING = ".sbatch"
_MADE_BY = "# A lab's service, written by chunkflow"

_SCRIPT = (
    """#!/bin/bash
@lines@
#SBATCH --job-name=chunkflow-serve
#SBATCH --requeue
#SBATCH --signal=B:USR1@@notice@
#SBATCH --open-mode=append
#SBATCH --output=@folder@/logs/serve-%j.out

"""
    + _MADE_BY
    + """: Ray's head, serving processes, and HAProxy before them. Queue it with: sbatch FILE
# Options of sbatch on the command line go before those above. Its log says how people reach it.
@common@
export PATH=$PATH:/usr/sbin  # where some systems have haproxy
fail() { echo "$1" >&2; exit 1; }
runs() { kill -0 "$1" 2> /dev/null; }

# Ended in good order, if there is time: answers under way come to their end.
finish() {
  trap '' TERM USR1
  local tenth
  kill -TERM $serve $proxy 2> /dev/null
  for ((tenth = 0; tenth < 100; tenth++)); do
    runs "$serve" || runs "$proxy" || break
    sleep 0.1
  done
  end
}
come_again() {
  echo "The walltime comes: the service is queued again."
  scontrol requeue "$SLURM_JOB_ID" || echo "SLURM does not queue it again: it ends with its walltime." >&2
}
trap finish EXIT
trap 'exit 0' TERM
trap come_again USR1

command -v haproxy > /dev/null || fail "$SLURMD_NODENAME has no haproxy: install it, or load its module."
export @environment@
address=$(python -m cluster.slurm.address) || exit 1
# Ray has what the serving processes leave of the job: a core each, and @each@ MiB.
cpus=$(( ${SLURM_CPUS_PER_TASK:-@cpus@} - @processes@ ))
mebibytes=$(( ${SLURM_MEM_PER_NODE:-@memory@} - @processes@ * @each@ ))
[ $cpus -ge 1 ] && [ $mebibytes -ge 1024 ] || fail "The job has too few CPUs, or too little memory, for Ray."
ray_head() {
  launch --head --node-ip-address="$address" --port=$((base + 6)) --ray-client-server-port=$((base + 7)) \\
    --dashboard-host="$address" --dashboard-port=$((base + 8)) --num-cpus=$cpus --num-gpus=0 \\
    --memory=$(( mebibytes * 1048576 - @store@ ))
}
ray_head
chunkflow serve @sources@ --host=0.0.0.0 --port=@port@ --processes=@processes@ \\
  --database=@database@ --haproxy="$scratch/haproxy.cfg"@certificate@ &
serve=$!
until [ -s "$scratch/haproxy.cfg" ]; do
  runs $serve || fail "The service ended as it started."
  sleep 0.2
done
haproxy -db -f "$scratch/haproxy.cfg" &
proxy=$!
cat << END
The service is on $SLURMD_NODENAME. From one's own computer:
  ssh -N -L @port@:$SLURMD_NODENAME:@port@ ${SLURM_SUBMIT_HOST:-LOGIN_NODE}
then open @scheme@://localhost:@port@/ in a browser. Jobs run beside it with:
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$RAY_AUTH_TOKEN_PATH
  chunkflow submit JOB --address http://$address:$((base + 8))
END

tries=1
while :; do
  sleep 1 &
  wait $!  # which a signal interrupts
  runs $serve || fail "The service has ended."
  runs $proxy || fail "HAProxy has ended; another may have port @port@ on $SLURMD_NODENAME."
  runs $ray && continue
  if had_joined || [ $((tries++)) -ge 3 ]; then
    fail "Ray has ended."
  fi
  rm -rf "${scratch:?}/ray"
  ray_head
done
"""
)


class ServiceRequest(Request):
    """The job that a service runs in; options of sbatch may change what it asks for."""

    cpus: int = Field(default=8, gt=1)
    memory: float = Field(default=32, ge=2, description="GiB")


@dataclass(frozen=True)
class SlurmService:
    """What is served on a node of SLURM, and how."""

    sources: Sequence[str | Path]
    database: str
    """postgresql://USER@HOST/NAME, for accounts and all that people do."""
    port: int = 8080
    processes: int = 2
    certificate: str | Path = ""
    """A PEM file with the chain and its key, where people come by HTTPS."""
    request: ServiceRequest = field(default_factory=ServiceRequest)
    scratch: str = "/tmp"
    """A short path on each node, for sockets and Ray's logs."""


def service_script(service: SlurmService, folder: Path) -> str:
    """The batch script of a service, whose logs and token lie in `folder`."""
    _refuse(service, folder)
    certificate = f" --cert={shlex.quote(_whole(service.certificate))}" if str(service.certificate) else ""
    own = {
        "lines": sbatch_lines(service.request),
        "notice": NOTICE_SECONDS,
        "environment": HEAD_EXPORTS,
        "cpus": service.request.cpus,
        "memory": int(service.request.memory * 1024),
        "each": PROCESS_MIB,
        "sources": " ".join(shlex.quote(_whole(source)) for source in service.sources),
        "port": service.port,
        "processes": service.processes,
        "database": shlex.quote(service.database),
        "certificate": certificate,
        "scheme": "https" if certificate else "http",
    }
    return filled(_SCRIPT, folder, service.scratch.rstrip("/"), own)


def write_service_script(file: Path, service: SlurmService) -> None:
    """Write the batch script of a service for sbatch. Its folder has the same name without the ending, and
    lies where all nodes see it."""
    if file.suffix != ENDING:
        raise BadInput(f"{file} must end in {ENDING}, as in service{ENDING}.")
    whole = file.absolute()
    folder = whole.with_suffix("")
    text = service_script(service, folder)
    try:
        if whole.exists() and _MADE_BY not in whole.read_text("utf-8", "replace"):
            raise BadInput(f"{file} was not written by chunkflow: name another file, or move this one away.")
        make_closed_folder(folder, ("logs",))
        if not (folder / "token").exists():
            write_token(folder / "token")
        with written_whole(whole) as temporary:
            temporary.touch(0o600)  # the database's address may hold a password
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise BadInput(
            f"{file} cannot be written ({error.strerror}): name a file in a folder of yours."
        ) from error


def _whole(place: str | Path) -> str:
    """A place by a name that the job understands, wherever it was queued."""
    text = str(place)
    if not text.isprintable():
        raise BadInput(f"{text!r} cannot stand in a batch script; name a place without line breaks.")
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _refuse(service: SlurmService, folder: Path) -> None:
    """Raise BadInput for what cannot be run as a job."""
    if not re.fullmatch(r"/[\w./+-]+", str(folder)):
        raise BadInput(
            f"{folder} must be a whole path of letters, digits and . _ - + on a shared file system."
        )
    if not re.fullmatch(r"/[\w./-]*", service.scratch):
        raise BadInput(f"scratch: {service.scratch!r} must be a whole path of letters, digits and . _ -")
    if not service.sources:
        raise BadInput("sources: a service needs a work folder, a layer, or a folder of these.")
    if (
        not service.database.startswith(("postgresql://", "postgres://"))
        or not service.database.isprintable()
    ):
        raise BadInput(
            "database: a service on SLURM comes back on any node, and SQLite loses data on the file systems "
            "that all nodes see: give postgresql://USER@HOST/NAME."
        )
    if service.processes < 1 or not 0 < service.port < 65536 - service.processes:
        raise BadInput(
            f"port: {service.port} and {service.processes} processes do not go together: there is at least "
            "one process, and each has a port after it, up to 65535."
        )
    request, gib = service.request, service.processes * PROCESS_MIB / 1024 + 1
    if request.cpus <= service.processes or request.memory < gib:
        raise BadInput(
            f"processes: {service.processes} and Ray need {service.processes + 1} cpus and {gib:g} GiB of "
            f"memory, and the job has {request.cpus} and {request.memory:g}: ask for more, or for fewer "
            "processes."
        )
