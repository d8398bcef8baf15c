"""``fluxcap service``: the daemon at each log-in, without a terminal, started again when it fails.

``texts`` writes what each system's own service manager reads, ``systems`` talk to it, ``supervise`` is what Windows
starts, whose Task Scheduler does not look at exit codes.
"""
