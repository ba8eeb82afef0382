"""Whether a server on this machine answers: `python3 -m ml_exporter.web.probe PORT` exits with 0 or 1.

For health checks of containers, which know the port but not what the web config asks for.
"""

from __future__ import annotations

import http.client
import ssl
import sys

TIMEOUT = 2.0
"""Seconds that each of the two attempts may take."""


def alive(port: int) -> bool:
    """Tell whether 127.0.0.1 answers on a port, with or without TLS.

    Nothing is sent that anybody else must not see, so no certificate is checked. A server that wants one
    of us closes the connection; a dead one would not have taken it, and one that hangs would not close it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    for connection in (
        plain,
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context),
    ):
        try:
            connection.request("GET", "/-/healthy")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (TimeoutError, ConnectionRefusedError):
            return False
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return True


if __name__ == "__main__":
    sys.exit(0 if alive(int(sys.argv[1])) else 1)
