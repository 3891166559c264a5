"""The workers' app with a soft shutdown, for prefork: `REMAP_SIGTERM=SIGQUIT celery -A tests.faults.apps.soft …`."""

from __future__ import annotations

import os

os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")  # Celery reads it when its platforms module is imported

from workers.app import app

SOFT_S = 4.0  # longer than the short calls of these rows, shorter than the long ones

app.conf.worker_soft_shutdown_timeout = SOFT_S

__all__ = ["app"]
