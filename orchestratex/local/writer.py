"""Which server wrote a data directory, and which others may take it over.

Redis 6.2 starts on Valkey's files without reading them: what was there is gone, and it says nothing. So the server that
a directory last ran under is written beside its data, and is asked before another one starts.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestratex.errors import LocalStackError
from orchestratex.local.directory import write_private
from orchestratex.local.versions import ServerVersion

RECORD = "server.json"
LAST_SHARED_RELEASE = (7, 2)  # of Redis: Valkey reads what Redis wrote up to here, and Redis reads nothing of Valkey's
NEW_FORM = "appendonlydir"  # of the append-only files, since Redis 7 and in every Valkey
FIRST_OF_NEW_FORM = (7, 0)


class Writer(BaseModel):
    """The content of server.json."""

    model_config = ConfigDict(frozen=True)

    server: str
    version: tuple[int, int, int]
    feature_version: tuple[int, int] | None = None  # of mongod: the oldest release that reads the data

    @property
    def oldest_reader(self) -> tuple[int, int]:
        """The oldest release of the same server that may start on the data."""
        return self.feature_version or self.version[:2]

    def __str__(self) -> str:
        form = f" (feature version {self.feature_version[0]}.{self.feature_version[1]})" if self.feature_version else ""
        return f"{ServerVersion(self.server, self.version)}{form}"


def read_writer(data_dir: Path) -> Writer | None:
    """Return who wrote the directory; None where nobody has, or before this was written down.

    Raises LocalStackError when the record cannot be read: then nobody knows who may start.
    """
    path = data_dir / RECORD
    try:
        return Writer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _guess_writer(data_dir)
    except ValidationError as exc:
        raise LocalStackError(
            f"{path}, which says what server wrote {data_dir}, cannot be read: remove it if you know that the same or "
            "a newer server starts now, else set ORCHESTRATEX_HOME to another directory."
        ) from exc


def record_writer(data_dir: Path, version: ServerVersion, *, feature_version: tuple[int, int] | None = None) -> None:
    """Write down what server runs on the directory; call it when it does."""
    writer = Writer(server=version.server, version=version.numbers, feature_version=feature_version)
    if (data_dir / RECORD).exists() and read_writer(data_dir) == writer:
        return
    write_private(data_dir / RECORD, writer.model_dump_json())


def refuse_other_writer(data_dir: Path, program: Path, version: ServerVersion, *, remedy: str) -> None:
    """Raise LocalStackError, which ends with `remedy`, when the program must not start on the directory."""
    writer = read_writer(data_dir)
    if writer is None or _may_read(version, writer):
        return
    raise LocalStackError(
        f"{data_dir} was written by {writer}, and {program} is {version}, which cannot be trusted with it. Put the "
        f"server that wrote it, or a newer one, on the PATH; or set ORCHESTRATEX_HOME to another directory; {remedy}."
    )


def _may_read(version: ServerVersion, writer: Writer) -> bool:
    if version.server == writer.server:
        return version.release >= writer.oldest_reader
    return (version.server, writer.server) == ("valkey", "redis") and writer.oldest_reader <= LAST_SHARED_RELEASE


def _guess_writer(data_dir: Path) -> Writer | None:
    """Files from before the record: at least those that an old Redis would overlook are told."""
    if (data_dir / NEW_FORM).exists():
        return Writer(server="redis", version=(*FIRST_OF_NEW_FORM, 0))
    return None
