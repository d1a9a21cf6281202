"""How a gateway reaches workers: what it shows them, and by what it knows that it is them.

Owns the token and the trust. Does not know which worker has what.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpx
from websockets.asyncio.client import connect

from stream.cluster.spec import Spec
from stream.config import ClusterTlsConfig
from stream.errors import ConfigError

CONNECTED_WITHIN_S = 2.0
ANSWERED_WITHIN_S = 10.0
_MAX_BYTES = 64 * 2**20


class Workers:
    """`spec`: of the cluster. Raises ConfigError where the certificates by which workers are known cannot be used."""

    def __init__(self, spec: Spec) -> None:
        tls = spec.config.cluster.tls
        self._headers = {"Authorization": f"Bearer {spec.secret}"}
        self._name = None if tls is None else tls.server_name
        self._trusted = None if tls is None else trusted(tls)

    def client(self) -> httpx.AsyncClient:
        """For requests to any of them; each wants `extensions`."""
        return httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(ANSWERED_WITHIN_S, connect=CONNECTED_WITHIN_S),
            trust_env=False,
            verify=self._trusted or True,
        )

    @property
    def extensions(self) -> dict[str, Any]:
        """Of a request: the name that a worker's certificate has to have, where that is not its address."""
        return {} if self._name is None else {"sni_hostname": self._name}

    def socket(self, address: str, path: str) -> connect:
        """A WebSocket to the worker at an address."""
        return connect(
            f"ws{address.removeprefix('http')}{path}",
            additional_headers=self._headers,
            max_size=_MAX_BYTES,
            open_timeout=CONNECTED_WITHIN_S,
            close_timeout=0.1,
            proxy=None,
            ssl=self._trusted,
            server_hostname=self._name,
        )


def trusted(tls: ClusterTlsConfig) -> ssl.SSLContext:
    """By what workers are known: at least TLS 1.2, and a certificate of these authorities alone. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(tls.ca)
    except (ssl.SSLError, OSError) as error:
        reason = "no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror or error
        raise ConfigError(f"cluster.tls.ca {tls.ca}: {reason}") from error
    return context
