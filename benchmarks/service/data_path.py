"""Files of layers to many browsers at once: requests a second and the slowest in a hundred, beside nginx.

All servers are loaded in turn by wrk, three rounds of it, on the same files; what is told are medians. The
bars for one process: 0.35 of nginx's requests, and at most four times its 99th percentile. Two processes of a
lab behind HAProxy: half of the requests of nginx behind the same HAProxy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure
from benchmarks.service.servers import FileServer, all_servers

SIZE, FILES, LARGE = 1 << 16, 300, 1 << 26
ROUNDS, SECONDS, CONNECTIONS = 3, 4, 200
INFO = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": []}
SCALE = {"key": "1", "size": [64] * 3, "resolution": [1] * 3, "voxel_offset": [0] * 3, "encoding": "raw"}
KINDS = {"files": "64 KiB files", "ranges": "64 KiB ranges of a 64 MiB file"}
LOAD = """
local asked, at = {}, 0
function init(args)
  math.randomseed(7)
  for i = 1, 4096 do
    local name, headers = math.random(0, %(files)d - 1), {}
    if args[3] then headers.Authorization = "Bearer " .. args[3] end
    if args[2] == "ranges" then
      local first = math.random(0, %(last)d)
      name, headers.Range = "large", "bytes=" .. first .. "-" .. first + %(size)d - 1
    end
    asked[i] = wrk.format("GET", args[1] .. "/" .. name, headers)
  end
end
function request() at = at %% #asked + 1; return asked[at] end
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read
  local rate = summary.requests / summary.duration * 1e6
  io.write(string.format("told %%f %%f %%d\\n", rate, latency:percentile(99) / 1000, failed))
end
"""


def run() -> list[Figure]:
    place = Path(tempfile.mkdtemp(prefix="chunkflow-bench-"))
    try:
        files = _write_files(place)
        with all_servers(place, files, "0") as groups:
            for server in [server for group in groups for server in group]:
                _check_answers(server, files)
            script = place / "load.lua"
            return [figure for kind in KINDS for group in groups for figure in _compare(kind, group, script)]
    finally:
        shutil.rmtree(place)


def _write_files(place: Path) -> Path:
    """The files, which others may read too: nginx gives up root's rights."""
    place.chmod(0o755)
    files = place / "files"
    files.mkdir()
    for number in range(FILES):
        (files / str(number)).write_bytes(os.urandom(SIZE))
    (files / "large").write_bytes(os.urandom(LARGE))
    (files / "info").write_text(json.dumps(INFO | {"scales": [SCALE | {"chunk_sizes": [[64] * 3]}]}))
    (place / "load.lua").write_text(LOAD % {"last": LARGE - SIZE, "size": SIZE, "files": FILES})
    return files


def _check_answers(server: FileServer, files: Path) -> None:
    assert server.ask("7") == (200, (files / "7").read_bytes()), server
    status, content = server.ask("large", {"Range": f"bytes=5-{SIZE + 4}"})
    assert status == 206, server
    assert content == (files / "large").read_bytes()[5 : SIZE + 5], server


def _compare(kind: str, servers: list[FileServer], script: Path) -> list[Figure]:
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    slowest: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(ROUNDS):
        for server in servers:
            requests, latency = _load(server, kind, script)
            rates[server.name].append(requests)
            slowest[server.name].append(latency)
    rate = {name: median(found) for name, found in rates.items()}
    late = {name: median(found) for name, found in slowest.items()}
    figures = []
    for server in servers[1:]:
        what, requests, slow = f"{KINDS[kind]}, {server.name}", rate[server.name], late[server.name]
        peer, bar, late_bar = servers[0].name, server.requests_bar, server.latency_bar
        figures += [
            Figure(f"{what}: requests", requests, "/s", rate[peer], peer, "higher", bar),
            Figure(f"{what}: 99th percentile", slow, "ms", late[peer], peer, "lower", late_bar),
        ]
    return figures


def _load(server: FileServer, kind: str, script: Path) -> tuple[float, float]:
    """Requests a second, and the milliseconds that 99 of 100 stay below."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script)]
    command += [server.origin, "--", server.prefix, kind, *([server.token] if server.token else [])]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    [told] = [line.split() for line in ran.stdout.splitlines() if line.startswith("told ")]
    assert told[3] == "0", f"{server.name} failed {told[3]} times"
    return float(told[1]), float(told[2])


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
