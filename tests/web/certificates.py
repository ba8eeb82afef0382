"""An authority of the tests, and certificates that it has issued."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Issued:
    """Files of one certificate."""

    cert: Path
    key: Path

    @property
    def pair(self) -> tuple[str, str]:
        return str(self.cert), str(self.key)


class Authority:
    """Issues certificates into a folder; `ca` is its own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._authority = trustme.CA()
        self.folder = folder
        self.ca = folder / f"{name}.crt"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, file: str, *names: str) -> Issued:
        found = Issued(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        issued = self._authority.issue_cert(*names)
        found.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(found.key))
        return found
