"""gunicorn's settings: one worker process with threads, logs as JSON, nothing written but to memory."""

from __future__ import annotations

import os
import sys
from typing import Any

from business_logic import environment, logs, telemetry

try:
    _configuration = environment.read(os.environ)
except environment.ConfigurationError as error:
    sys.exit(str(error))

wsgi_app = "business_logic.wsgi:application"
bind = f"0.0.0.0:{_configuration.port}"

# One process: metrics are complete in its memory, and connections to the database stay few. Replicas give more.
workers = 1
worker_class = "business_logic.worker.Worker"
threads = _configuration.threads

# Longer than clients keep idle connections (Node 5 s, HAProxy and nginx a minute, a mesh's Envoy an hour): a connection
# that the server closes may take a request with it, and no proxy may repeat what is not known to be safe.
keepalive = 3900
# From SIGTERM to the end, DRAIN_SECONDS included.
graceful_timeout = _configuration.graceful_timeout

# The root file system is read-only.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
control_socket_disable = True


def worker_exit(server: Any, worker: Any) -> None:
    """The last spans are sent when the last request has been answered."""
    telemetry.stop()


accesslog = None
loglevel = _configuration.log_level.lower()
logconfig_dict = logs.configuration(_configuration.log_level)
