"""A lab of hosts on one machine: network namespaces joined by a switch whose lines can be cut, muted, slowed and made to lose.

    with Lab(3) as lab:
        lab.hosts[0].popen("edgenode", "start", ...)
        lab.hosts[0].cut()

Linux and root are needed; `unavailable()` says what is missing. Nothing of a lab outlives the process that made it.
"""

from .host import Host
from .lab import Lab, unavailable
from .namespaces import LabFailed
from .switch import Line

__all__ = ["Host", "Lab", "LabFailed", "Line", "unavailable"]
