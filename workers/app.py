"""The Celery app of the workers: what publishers share stands in orchestratex/queue.py, the workers' own part here.

The beat and Flower load it, too, and know tasks by their names: what only workers need is imported where they need it.
"""

from __future__ import annotations

import gc
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)

from orchestratex.queue import CeleryQueue, make_app
from orchestratex.settings import load_settings
from workers.beat import SCHEDULE
from workers.logs import setup_worker_logging
from workers.monitor import guard_flower
from workers.needs import require_settings, tell_unserved
from workers.pulse import WorkerPulse, hear_hearts, takes_calls
from workers.transport import correct_transport

if TYPE_CHECKING:
    from orchestratex.steps.services import Services

USED_BY_TASKS = ("orchestratex.bootstrap", "workers.signs", "workers.timer")  # at first use, in each child for itself

settings = load_settings()
hands_back = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"  # Celery's own variable; the Procfile sets it for control
correct_transport()
guard_flower()
hear_hearts()
require_settings(settings)
app: Celery = make_app(settings)
app.conf.update(
    imports=["workers.tasks"],
    worker_consumer="workers.consumer:RefusingConsumer",  # no message can end a worker
    task_acks_late=True,  # a killed process's messages come back
    task_reject_on_worker_lost=True,  # a child that died before its claim is replaced at once
    task_acks_on_failure_or_timeout=True,  # retries are decided in the store, not by redelivery
    worker_cancel_long_running_tasks_on_connection_loss=False,  # the copy meets a live lease: a blip costs no money
    worker_prefetch_multiplier=1,  # what is fetched is running
    # after a reconnect the threads of tasks would raise it again: on RabbitMQ they then read the loop's connection,
    # and the worker hangs until its heartbeats are missed
    worker_enable_prefetch_count_reduction=False,
    worker_send_task_events=True,  # operators watch Flower
    worker_enable_remote_control=True,
    event_queue_expires=60,
    event_queue_ttl=5,
    worker_hijack_root_logger=False,
    worker_soft_shutdown_timeout=settings.control_shutdown_s if hands_back else 0,  # then its messages go back
    worker_max_tasks_per_child=1000,  # prefork: leaks end here
    worker_max_memory_per_child=400_000,  # kB
    worker_proc_alive_timeout=10,
    task_soft_time_limit=200,  # prefork only, a last resort: calls are bounded by the HTTP client
    task_time_limit=230,
    beat_schedule=SCHEDULE,
    # in memory: the file of Celery's default is unpickled, whoever wrote it, to remember at most a minute
    beat_scheduler="workers.scheduler:BeatScheduler",
    beat_max_loop_interval=1,
)


class _Local:
    """The services of this process, made at first use: never before a fork."""

    services: Services | None = None
    lock = threading.Lock()


def services() -> Services:
    """What the tasks of this process work with."""
    with _Local.lock:
        if _Local.services is None:
            from orchestratex.bootstrap import make_services

            _Local.services = make_services(settings, queue=CeleryQueue(app))
        return _Local.services


@celeryd_init.connect
def _check_pool(options: dict[str, Any], **_: Any) -> None:
    """A pool of threads told to hand back can neither end its calls nor return its messages."""
    if hands_back and "prefork" not in str(options.get("pool")):
        raise SystemExit("REMAP_SIGTERM is for prefork only: unset it for this worker")


@celeryd_after_setup.connect
def _keep_what_is_loaded(**_: Any) -> None:
    """Before the pool forks: children share what is loaded by now, as long as nobody writes to it.

    A collection writes to every object that it looks at.
    """
    for name in USED_BY_TASKS:
        import_module(name)
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def _forget_parent(**_: Any) -> None:
    """A forked child makes its own connections."""
    _Local.lock = threading.Lock()
    _Local.services = None


@worker_ready.connect
def _start_timer(sender: Any, **_: Any) -> None:
    """Control workers reconcile on their own clock, whether or not the broker brings them messages."""
    if "control" in str(sender.hostname):
        from workers.signs import note_expired
        from workers.timer import ReconcileTimer

        note_expired(services)
        ReconcileTimer(services, interval_s=settings.reconcile_s).start()
    queues = sender.app.amqp.queues.consume_from
    if takes_calls(queues):
        WorkerPulse(services, set(queues), interval_s=settings.reconcile_s).start()
        threading.Thread(target=tell_unserved, args=(services,), name="needs", daemon=True).start()


@worker_shutting_down.connect
def _begin_nothing_new(**_: Any) -> None:
    """What runs is finished; the calls that would follow in the same task are for others to make."""
    if _Local.services is not None:
        _Local.services.ending.set()


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    setup_worker_logging(settings)


__all__ = ["app", "services"]
