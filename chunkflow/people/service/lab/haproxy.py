"""The configuration of HAProxy in front of a service: HTTPS, health checks, repeats, limits by address.

1. People ask HAProxy; each process of the service listens at a port of its own on 127.0.0.1.
2. A process that ends is known within a second. GET and HEAD that it leaves unanswered are repeated by the
   others; edits never are, as the page sends them again itself.
3. What clients say of themselves in the headers of a login proxy is removed. So such a proxy stands between
   HAProxy and the service, or in front of the service without HAProxy.
4. Logins and edits are limited by address, tiles are not: a viewer asks for hundreds a second.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from chunkflow.data.atomic import write_whole
from chunkflow.errors import BadInput

MADE_BY = "# Written by chunkflow"
LOGINS, EDITS = 20, 300
"""How many an address may send in `PERIOD`. Behind a tunnel or NAT several people have one address."""
PERIOD = "10s"
_LONGEST_PATH = 1024
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")

_GLOBAL = f"""{MADE_BY}: HAProxy before the processes of one service. Start it with: haproxy -f FILE
# It stays in the foreground and says on stderr which processes come and go. Made for HAProxy 2.6.

global
    log stderr format raw daemon notice
    maxconn 4000
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20

defaults
    mode http
    log global
    option dontlognull
    option http-restrict-req-hdr-names delete
    timeout connect 5s
    timeout check 5s
    timeout queue 30s
    # A slow request is ended; a stream of events stays open, as something comes on it every 15 s.
    timeout http-request 10s
    timeout http-keep-alive 30s
    timeout client 60s
    timeout client-fin 10s
    timeout server 60s

# How much of a kind came from an address. Of logins those that were refused count, too.
backend logins
    stick-table type ipv6 size 100k expire 1m store http_req_rate({PERIOD})
backend edits
    stick-table type ipv6 size 100k expire 1m store gpc0,gpc0_rate({PERIOD})
"""

_REQUESTS = f"""
    # The headers by which a login proxy vouches for somebody never come from a client.
    http-request del-header X-Forwarded- -m beg
    http-request del-header X-Auth-Request- -m beg
    http-request del-header Remote- -m beg
    http-request del-header Forwarded
    http-request del-header X-Real-IP
@own_header@    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto @scheme@

    # As the service reads a path: with its %XX decoded.
    acl login path,url_dec -m str /login
    acl edit path,url_dec -m reg ^/api/review/[^/]+/[^/]+/edits$
    http-request track-sc0 src,ipmask(32,64) table logins if METH_POST login
    http-request track-sc1 src,ipmask(32,64) table edits if METH_POST edit
    http-request deny deny_status 429 @refusal@ if METH_POST login {{ sc0_http_req_rate gt {LOGINS} }}
    http-request deny deny_status 429 @refusal@ if METH_POST edit {{ sc1_gpc0_rate ge {EDITS} }}
    http-request sc-inc-gpc0(1) if METH_POST edit
    http-request wait-for-body time 10s if METH_POST login or METH_POST edit
"""

_REFUSAL = """content-type application/json string '{"error": "Too many at once: wait for ten seconds."}' \
hdr Retry-After 10"""

_BACKEND = """
    default_backend service

backend service
    balance leastconn
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout 502 503 504
    http-request disable-l7-retry unless METH_GET or METH_HEAD
    option httpchk GET /health
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
"""


def haproxy_configuration(
    port: int, backends: Sequence[int], *, host: str = "0.0.0.0", certificate: str = "", user_header: str = ""
) -> str:
    """The text of a configuration for one service.

    HAProxy takes connections at `host`:`port`, by TLS where `certificate` names a PEM file (the chain and its
    key), and the processes listen at the ports `backends` of 127.0.0.1. `user_header` is a header in which a
    login proxy names people, if the service believes another than the usual ones.
    """
    _refuse_ports(port, backends)
    secure = f" ssl crt {_quoted(certificate)} alpn h2,http/1.1" if certificate else ""
    if user_header and not _HEADER_NAME.fullmatch(user_header):
        raise BadInput(
            f"user_header: {user_header!r} is no name of a header; give one such as X-Forwarded-User."
        )
    own = f"    http-request del-header {user_header}\n" if user_header else ""
    requests = _REQUESTS.replace("@own_header@", own).replace("@scheme@", "https" if certificate else "http")
    lasting = 'Strict-Transport-Security "max-age=31536000"'
    return "".join(
        [
            _GLOBAL,
            f"\nfrontend people\n    bind {_address(host)}:{port}{secure}\n",
            f"    http-response set-header {lasting}\n" if certificate else "",
            requests.replace("@refusal@", _REFUSAL),
            _BACKEND,
            *(f"    server process-{n} 127.0.0.1:{at}\n" for n, at in enumerate(backends, 1)),
        ]
    )


def write_haproxy(
    file: Path,
    port: int,
    backends: Sequence[int],
    *,
    host: str = "0.0.0.0",
    certificate: str | Path = "",
    user_header: str = "",
) -> None:
    """Write a configuration of HAProxy atomically; one that chunkflow has not written is never replaced."""
    pem = str(Path(certificate).absolute()) if str(certificate) else ""
    text = haproxy_configuration(port, backends, host=host, certificate=pem, user_header=user_header)
    if pem:
        _refuse_certificate(Path(pem))
    try:
        _refuse_foreign(file)
        write_whole(file, text.encode())
    except OSError as error:
        raise BadInput(
            f"{file} cannot be written ({error.strerror}): name a file that you may write."
        ) from error


def _refuse_ports(port: int, backends: Sequence[int]) -> None:
    """Raise BadInput for ports that are none, or that two would share."""
    ports = [port, *backends]
    wrong = [number for number in ports if not 0 < number < 65536]
    if wrong:
        raise BadInput(
            f"port: {wrong[0]} is no port; ports go from 1 to 65535, and each process has its own."
        )
    if not backends:
        raise BadInput("backends: HAProxy needs the port of at least one process.")
    if len(set(ports)) < len(ports):
        raise BadInput("backends: HAProxy and each process need a port of their own; two are the same.")


def _address(host: str) -> str:
    """An address or a name as `bind` takes it."""
    try:
        known = ipaddress.ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise BadInput(
                f"host: {host!r} is no address; give one of this machine, or 0.0.0.0 for all of them."
            ) from None
        return host
    return f"[{known}]" if known.version == 6 else str(known)


def _quoted(path: str) -> str:
    """A path in quotes in which HAProxy replaces nothing."""
    if not path.startswith("/") or len(path) > _LONGEST_PATH or "'" in path or not path.isprintable():
        raise BadInput(
            f"certificate: {path!r} cannot stand in a configuration of HAProxy; give a whole path of at most "
            f"{_LONGEST_PATH} characters without quotes and line breaks."
        )
    return f"'{path}'"


def _refuse_certificate(pem: Path) -> None:
    """Raise BadInput where HAProxy would find no certificate or no key for it."""
    try:
        text = pem.read_text("ascii", "replace")
    except PermissionError:
        return  # HAProxy may be started by another user, who may read it
    except OSError as error:
        raise BadInput(f"certificate: {pem} cannot be read ({error.strerror}); give a PEM file.") from error
    key = pem.with_name(pem.name + ".key")
    if "-----BEGIN CERTIFICATE-----" not in text or not ("PRIVATE KEY-----" in text or key.exists()):
        raise BadInput(
            f"certificate: {pem} must hold a certificate and its key, as HAProxy reads both from one file: "
            "cat fullchain.pem privkey.pem > both.pem"
        )


def _refuse_foreign(file: Path) -> None:
    """Raise BadInput for a file that is there and was not written here."""
    if file.exists() and not file.read_bytes().startswith(MADE_BY.encode()):
        raise BadInput(f"{file} was not written by chunkflow: name another file, or move this one away.")
