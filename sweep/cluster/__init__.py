"""Studies as jobs of a cluster: handed over, listed, listened to, stopped; the client may go away.

The run itself lives on the cluster (Ray Jobs), so these functions only talk to the cluster's job server.
"""

from sweep.cluster.listing import Job, find, follow, jobs, logs, stop
from sweep.cluster.submitting import submit

__all__ = ["Job", "find", "follow", "jobs", "logs", "stop", "submit"]
