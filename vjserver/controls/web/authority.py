"""https in a room: a certificate authority of our own, and a certificate for every address by which we are reached.

A phone opens its microphone for https pages only. The authority is made once and kept in the user's folder (its key for
the user alone to read); the certificate is made at each start, for a year at most: phones take none that lasts longer.
"""

import datetime
import importlib
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjserver.runtime.files import data_folder, move_over
from vjserver.types.errors import OutputError

BEGIN = b"-----BEGIN CERTIFICATE-----"
LASTS, EARLY = datetime.timedelta(days=390), datetime.timedelta(days=1)
"""From a day ago, since a phone's clock may be behind."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Our authority: its certificate (PEM), which phones are asked to trust, and what serves https."""

    certificate: bytes
    key: bytes


def authority(folder: Path | None = None) -> Authority:
    """Return the user's authority; it is made where there is none, or where it cannot be read. Raises OutputError."""
    trustme = _library()
    path = (folder or data_folder()) / "https" / "authority.pem"
    try:
        return _read(trustme, path.read_bytes())
    except (OSError, ValueError):
        pass
    made = trustme.CA(organization_name="vjserver", organization_unit_name="vjserver on this machine")
    data = made.private_key_pem.bytes() + made.cert_pem.bytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".authority-", dir=path.parent)  # for the user alone, from the start
        with open(handle, "wb") as file:
            file.write(data)
        move_over(part, path)
    except OSError as error:
        raise OutputError(f"the certificate for https cannot be kept in {path.parent}: {error.strerror}") from None
    return _read(trustme, data)


def _read(trustme: Any, data: bytes) -> Authority:
    """Return the authority of a file that holds its key and then its certificate. Raises ValueError."""
    key, mark, certificate = data.partition(BEGIN)
    trustme.CA.from_pem(mark + certificate, key)
    return Authority(mark + certificate, key)


def context_for(own: Authority, names: Sequence[str]) -> ssl.SSLContext:
    """Return what serves https under these names and addresses. Raises OutputError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    leaf_for(own, names).configure_cert(context)
    return context


def leaf_for(own: Authority, names: Sequence[str]) -> Any:
    """Return a certificate for these names and addresses (trustme's ``LeafCert``). Raises OutputError."""
    now = datetime.datetime.now(datetime.UTC)
    made = _library().CA.from_pem(own.certificate, own.key)
    return made.issue_cert(*names, common_name=names[0], not_before=now - EARLY, not_after=now + LASTS)


def _library() -> Any:
    try:
        return importlib.import_module("trustme")
    except ImportError as error:
        raise OutputError(f"https for phones is not available ({error}); pip install 'vjserver[speech]'") from None
