"""The workers' app with a soft shutdown, for prefork: `REMAP_SIGTERM=SIGQUIT celery -A tests.faults.apps.soft …`."""

from __future__ import annotations

from tests.faults.apps.timing import SOFT_S
from workers.app import app

app.conf.worker_soft_shutdown_timeout = SOFT_S

__all__ = ["app"]
