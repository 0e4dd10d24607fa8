"""Whether the Ray processes of this node answer: exit status 0, or 1 with what is wrong.

Asks Ray's own agent on the loopback interface, and on the head its dashboard, which asks the store
of the cluster's state; ports are Ray's defaults unless SWEEP_AGENT_PORT and SWEEP_DASHBOARD_PORT say
otherwise.
"""

import os
import sys
import urllib.request
from pathlib import Path

TIMEOUT_S = 5.0
AGENT_PORT, DASHBOARD_PORT = "52365", "8265"


def token() -> str:
    """The token of the cluster; empty without one."""
    given, path = os.environ.get("RAY_AUTH_TOKEN"), os.environ.get("RAY_AUTH_TOKEN_PATH")
    return given or (Path(path).read_text("utf-8").strip() if path else "")


def ask(port: str, path: str) -> str | None:
    """What is wrong with a part of Ray; None where it says `success`."""
    url = f"http://127.0.0.1:{int(port)}{path}"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token()}"})
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            said = answer.read(1000).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
    return None if "success" in said else f"{url}: {said}"


def main() -> int:
    """Asks all that there is to ask."""
    asked = [(os.environ.get("SWEEP_AGENT_PORT", AGENT_PORT), "/api/local_raylet_healthz")]
    if sys.argv[1:] == ["head"]:
        asked.append((os.environ.get("SWEEP_DASHBOARD_PORT", DASHBOARD_PORT), "/api/gcs_healthz"))
    wrong = [said for port, path in asked if (said := ask(port, path)) is not None]
    print("\n".join(wrong) or "success")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
