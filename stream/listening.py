"""Where a server may listen: who can reach it, and that strangers are only let in on purpose.

Owns what counts as this machine alone. Opens nothing but to try.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

from stream.errors import ConfigError

if TYPE_CHECKING:
    from stream.server_config import ServerConfig, TlsConfig


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches who listens there: `localhost`, 127.0.0.0/8, ::1."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def address_to_open(scheme: str, host: str, port: int) -> str:
    """What a browser on this machine opens to reach who listens on `host`, an IP address: on all of its addresses,
    where that is the unspecified one (0.0.0.0, ::).
    """
    ip = ipaddress.ip_address(host)
    if ip.is_unspecified:
        host = "::1" if ip.version == 6 else "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ip.version == 6 else host}:{port}/"


def check_server(server: ServerConfig) -> None:
    """Raises ConfigError, in one line, where everybody on the network could watch and nobody said that this is meant,
    where the certificate cannot be used, or the address cannot be listened on: said before a model is loaded.
    """
    if not (server.tokens or server.open or is_loopback(server.host)):
        raise ConfigError(
            f"server.host {server.host} lets the network in, and there are no server.tokens: make one with "
            "`syncvis-online token`, or set server.open: true (--open) where everybody may watch"
        )
    if server.tls is not None:
        tls_context(server.tls)
    _check_can_listen(server.host, server.port)


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """What TLS needs: at least version 1.2, the certificate and its key. Raises ConfigError, which names the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, tls)
    return context


def load_certificate(context: ssl.SSLContext, tls: TlsConfig) -> None:
    """Use the certificate that is in the files now, from the next connection on. Raises ConfigError, and the one before
    is used on.
    """
    for key, path in (("certificate", tls.certificate), ("key", tls.key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"{tls.where}.{key} {path}: {error.strerror or error}") from error
    try:
        # An empty password: a key that is encrypted is an error, not a question on the terminal. First into a context
        # that nobody uses: a certificate whose key is another's would stay without one.
        for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            each.load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None)
        fault = (
            "the key is not the certificate's"
            if reason == "KEY_VALUES_MISMATCH"
            else "no certificate and key in PEM, the key without a password"
        )
        raise ConfigError(f"{tls.where} {tls.certificate}, {tls.key}: {fault}") from error


def _check_can_listen(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason} (choose with --host, --port)"
        ) from error
