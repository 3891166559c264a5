from __future__ import annotations


class CallError(Exception):
    """Raised when a call is none that its dialect allows; carries the status and code of the reply.

    `param` is the parameter that is at fault, for the dialect that names it.
    """

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
