import subprocess
import sys

HEAVY = ("torch", "torchvision", "sklearn", "pandas", "numpy")


def test_planning_needs_no_heavy_library() -> None:
    code = (
        "import sys, data\n"
        "data.DataSpec('cifar10', validation=0.1).rows()\n"
        "data.DataSpec('cifar10', classes=(0, 1), corruption='noise', corruption_strength=0.1)\n"
        "data.Augment(flip=True, pad=4, rotation=15)\n"
        "data.describe()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_digits_load_without_scikit_learn() -> None:
    code = (
        "import sys; from data import store; store.read('digits')\n"
        "print([name for name in ('sklearn', 'pandas', 'torch') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
