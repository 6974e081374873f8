"""Figures of docs/benchmarks.md that need the whole binary. Prints one table row a figure; judges nothing.

    FERROFLOW_KFCTL=…/kfctl python tests/bench/measure.py platform|pipelines
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from conftest import KFCTL, Platform  # noqa: E402


def row(what, figure):
    print(f"| {what} | {figure} |", flush=True)


def ready_ms(said):
    """The last `ready after … ms` of what `up` printed."""
    return max(int(line.split("ready after ")[1].split(" ms")[0]) for line in said.splitlines() if "ready after" in line)


def platform_figures():
    with tempfile.TemporaryDirectory(prefix="ferroflow-bench-") as folder:
        platform = Platform(pathlib.Path(folder) / "data")
        row("first start, with installation, to every component ready", f"{ready_ms(platform.up())} ms")
        platform.down()
        starts = []
        for _ in range(5):
            starts.append(ready_ms(platform.up()))
            platform.down()
        row("second start to every component ready, median of 5", f"{statistics.median(starts):.0f} ms")
        platform.up()
        time.sleep(10)
        memory = json.loads(platform.kfctl("status", "-o", "json").stdout)
        row("idle memory after 10 s", f"{memory['memoryBytes'] / 1e6:.0f} MB and {memory['podsMemoryBytes'] / 1e6:.0f} MB of helpers")
        row("size of the binary", f"{KFCTL.stat().st_size / 1e6:.1f} MB")
        platform.down()


def pipeline_figures():
    import kfp
    from kfp import dsl, local

    @dsl.component
    def step(n: int) -> int:
        return n + 1

    @dsl.container_component
    def nothing():
        return dsl.ContainerSpec(image="alpine", command=["true"])

    @dsl.pipeline(name="python-chain")
    def python_chain():
        last = step(n=0)
        for _ in range(9):
            last = step(n=last.output)

    @dsl.pipeline(name="container-chain")
    def container_chain():
        last = nothing()
        for _ in range(9):
            last = nothing().after(last)

    with tempfile.TemporaryDirectory(prefix="ferroflow-bench-") as folder:
        platform = Platform(pathlib.Path(folder) / "data")
        platform.up()
        client = kfp.Client(host=platform.url)

        def seconds(pipeline):
            started = time.monotonic()
            run = client.create_run_from_pipeline_func(pipeline, enable_caching=False)
            assert client.wait_for_run_completion(run.run_id, timeout=300, sleep_duration=0.05).state == "SUCCEEDED"
            return time.monotonic() - started

        seconds(container_chain)
        containers = statistics.median(seconds(container_chain) for _ in range(3))
        row("chain of 10 no-op container steps", f"{containers:.2f} s, {containers * 100:.0f} ms a step")
        seconds(python_chain)
        python = statistics.median(seconds(python_chain) for _ in range(3))
        row("chain of 10 Python steps, warm", f"{python:.2f} s, {python * 100:.0f} ms a step")
        platform.down()

        os.chdir(folder)
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=f"{folder}/local")
        started = time.monotonic()
        last = 0
        for _ in range(10):
            last = step(n=last).output
        peer = time.monotonic() - started
        row("the same 10 steps by kfp.local SubprocessRunner, no venv", f"{peer:.2f} s; ours takes {python / peer:.2f} of it")


if __name__ == "__main__":
    {"platform": platform_figures, "pipelines": pipeline_figures}[sys.argv[1]]()
