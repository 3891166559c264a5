"""The key of an embedded server's data directory, and the password that follows from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from orchestratex.local.directory import write_private

USER = "orchestratex"  # whom our processes log in as
KEY_BYTES = 48


def take_key(data_dir: Path) -> tuple[Path, str]:
    """Return the directory's key and its file, a new one where there is none. It is base64, as mongod wants it."""
    path = data_dir / "key"
    try:
        key = path.read_text().strip()
    except FileNotFoundError:
        key = ""
    key = key or base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    write_private(path, f"{key}\n")  # again even where it stands: whatever its rights were
    return path, key


def derive_password(key: str) -> str:
    """Return the password of USER: hexadecimal, so it needs no quoting; the key cannot be found from it."""
    return hmac.new(key.encode(), b"password of the processes", hashlib.sha256).hexdigest()
