"""A job, stage by stage: what is asked, in which pieces it runs, how each ends, what comes back.

Flow: node (the user's edge) -> Job -> `plan` -> pieces -> workers -> outcomes -> `assemble` -> Results.
`machine` drives one job as pure events and effects; nothing here touches a clock or a process:

    machine = JobMachine(job, now_ns=0)
    effects = machine.handle(Submitted(workers=2), now_ns=0)   # Note, WakeAt, Run, Run, ...

Import the defining module: `from qcommons.jobs.results import Result`.
"""

__all__: list[str] = []
