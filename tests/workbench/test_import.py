import subprocess
import sys


def test_importing_the_library_loads_nothing_heavy():
    code = "import sys, workbench; print([m for m in ('polars', 'httpx', 'langgraph') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
