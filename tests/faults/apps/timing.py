"""Times that rows and the apps of their workers share."""

from __future__ import annotations

from typing import Final

SOFT_S: Final = 4.0  # of a soft shutdown: longer than the short calls of its rows, shorter than the long ones
