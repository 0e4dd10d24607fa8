import subprocess
import sys


def test_what_planning_needs_loads_neither_torch_nor_numpy() -> None:
    code = """
import sys
import trials.identity, trials.spec, trials.task
print(*sorted({"torch", "numpy", "ray"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.split() == []
