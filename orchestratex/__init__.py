"""OrchestrateX: a prompt answered by several large language models as one durable, budgeted job."""

__version__ = "0.1.0"
