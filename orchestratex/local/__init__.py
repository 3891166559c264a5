"""MongoDB, Redis and our processes on one machine."""

from orchestratex.local.stack import LocalStack, local_stack
from orchestratex.local.supervisor import ProcessStatus

__all__ = ["LocalStack", "ProcessStatus", "local_stack"]
