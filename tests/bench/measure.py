"""Figures of docs/benchmarks.md that need the whole binary. Prints one table row a figure; judges nothing.

    FERROFLOW_KFCTL=…/kfctl python tests/bench/measure.py platform|pipelines|timeline

`timeline` says where the time of a step goes: it reads the moments that the parts log at debug level.
"""

import contextlib
import datetime
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from conftest import KFCTL, Platform  # noqa: E402

STEPS = 10
REPEATS = 5


def row(what, *figures):
    print(f"| {what} | {' | '.join(figures)} |", flush=True)


def ready_ms(said):
    """The last `ready after … ms` of what `up` printed."""
    return max(int(line.split("ready after ")[1].split(" ms")[0]) for line in said.splitlines() if "ready after" in line)


@contextlib.contextmanager
def silence():
    """Hides what the SDK prints."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def platform():
    """A platform on a folder of its own, ended whatever happens."""
    with tempfile.TemporaryDirectory(prefix="ferroflow-bench-") as folder:
        running = Platform(pathlib.Path(folder) / "data")
        try:
            yield running
        finally:
            running.down()


def platform_figures():
    with platform() as one:
        row("first start, with installation, to every component ready", f"{ready_ms(one.up())} ms")
        one.down()
        starts = []
        for _ in range(REPEATS):
            starts.append(ready_ms(one.up()))
            one.down()
        row(f"second start to every component ready, median of {REPEATS}", f"{statistics.median(starts):.0f} ms")
        one.up()
        time.sleep(10)
        memory = json.loads(one.kfctl("status", "-o", "json").stdout)
        row("idle memory after 10 s", f"{memory['memoryBytes'] / 1e6:.0f} MB and {memory['podsMemoryBytes'] / 1e6:.0f} MB of helpers")
        row("size of the binary", f"{KFCTL.stat().st_size / 1e6:.1f} MB")


def chains(image="alpine"):
    """A Python component and two pipelines of `STEPS` steps that follow one another; `image` is that of the no-op."""
    # The SDK warns of its next default image.
    warnings.simplefilter("ignore", FutureWarning)
    from kfp import dsl

    @dsl.component
    def step(n: int) -> int:
        return n + 1

    @dsl.container_component
    def nothing():
        return dsl.ContainerSpec(image=image, command=["true"])

    @dsl.pipeline(name="python-chain")
    def python_chain():
        last = step(n=0)
        for _ in range(STEPS - 1):
            last = step(n=last.output)

    @dsl.pipeline(name="container-chain")
    def container_chain():
        last = nothing()
        for _ in range(STEPS - 1):
            last = nothing().after(last)

    return step, python_chain, container_chain


def run_to_its_end(client, pipeline):
    """Runs a pipeline without the cache; answers its id and how long it took as its client sees it."""
    started = time.monotonic()
    with silence():
        run = client.create_run_from_pipeline_func(pipeline, enable_caching=False)
    state = client.wait_for_run_completion(run.run_id, timeout=300, sleep_duration=0.02).state
    assert state == "SUCCEEDED", f"{pipeline.name} ended as {state}"
    return run.run_id, time.monotonic() - started


def reports(one, run_id):
    """What the launchers of a run's steps reported, in the order of their start."""
    found = (one.folder / "volumes").rglob(f"{run_id}/**/report.json")
    return sorted((json.loads(report.read_text()) for report in found), key=lambda report: report["startedAt"])


def chain_figures(one, client, pipeline):
    """Seconds of the whole chain, milliseconds from the end of a command to the start of the next, and of a command."""
    run_to_its_end(client, pipeline)
    totals, gaps, commands = [], [], []
    for _ in range(REPEATS):
        run_id, seconds = run_to_its_end(client, pipeline)
        totals.append(seconds)
        steps = reports(one, run_id)
        assert len(steps) == STEPS, f"{len(steps)} reports of {STEPS} steps"
        gaps += [(after["startedAt"] - before["finishedAt"]) * 1e3 for before, after in zip(steps, steps[1:])]
        commands += [(step["finishedAt"] - step["startedAt"]) * 1e3 for step in steps]
    return statistics.median(totals), gaps, commands


def spread(values):
    deciles = statistics.quantiles(values, n=10)
    return f"{statistics.median(values):.0f} ms (p10 {deciles[0]:.0f}, p90 {deciles[-1]:.0f})"


def pipeline_figures():
    import kfp
    from kfp import local

    step, python_chain, container_chain = chains()
    with platform() as one:
        one.up()
        client = kfp.Client(host=one.url)
        total, gaps, _ = chain_figures(one, client, container_chain)
        row(f"chain of {STEPS} no-op container steps", f"{total:.2f} s, {total * 1e3 / STEPS:.0f} ms a step")
        row("from the end of a command to the start of the next", spread(gaps))
        python, gaps, commands = chain_figures(one, client, python_chain)
        row(f"chain of {STEPS} Python steps, warm", f"{python:.2f} s, {python * 1e3 / STEPS:.0f} ms a step")
        row("from the end of a Python command to the start of the next", spread(gaps))
        row("the command itself: pip's check and the SDK's executor", spread(commands))
        one.down()

        os.chdir(one.folder)
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=f"{one.folder}/local")
        peers = []
        for _ in range(REPEATS):
            started = time.monotonic()
            last = 0
            with silence():
                for _ in range(STEPS):
                    last = step(n=last).output
            peers.append(time.monotonic() - started)
        assert last == STEPS
        peer = statistics.median(peers)
        row(f"the same {STEPS} steps by kfp.local SubprocessRunner, no venv", f"{peer:.2f} s; ours takes {python / peer:.2f} of it")
        os.chdir("/")


# What is logged, in the order in which it happens, and what it marks the end of.
MOMENTS = [
    ("launching", "the engine stores the last step's end and decides"),
    ("pod made", "write what the launcher is told, create the pod"),
    ("bound", "schedule and bind"),
    ("taken up", "the node's watch hears of it"),
    ("volumes made", "address, tokens, volumes"),
    ("namespaces made", "shim and namespaces"),
    ("network attached", "veth, routes, rules"),
    ("main prepared", "image, environment, the run's folder"),
    ("main started", "root file system, walls, exec"),
    ("main is Exited", "launcher, command, report, the shim's record"),
    ("end seen", "the status is written and heard of"),
    ("recorded", "read the report, store the outcome"),
]
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)Z.*?: (" + "|".join(moment for moment, _ in MOMENTS) + r")\b.*?(?:pod|object)=\"?([^\" ]+)")


def moments(folder):
    """By pod: when each moment was logged first, in seconds."""
    seen = {}
    for log in [folder / "kfctl.log", *folder.glob("pods/*ml-pipeline*/*/*.log")]:
        for line in log.read_text().splitlines():
            if found := LINE.search(line):
                at, moment, pod = found.groups()
                at = datetime.datetime.fromisoformat(at[:26] + "+00:00").timestamp()
                seen.setdefault(pod.split("/")[-1], {}).setdefault(moment, at)
    return seen


def timeline_figures():
    import kfp

    os.environ["FERROFLOW_LOG"] = "info,node=debug,workloads=debug,pipelines=debug,kube=warn,hyper=warn"
    _, python_chain, container_chain = chains()
    with platform() as one:
        one.up()
        client = kfp.Client(host=one.url)
        columns = []
        for pipeline in (container_chain, python_chain):
            for _ in range(REPEATS):
                run_to_its_end(client, pipeline)
            prefix = "nothing" if pipeline is container_chain else "step"
            pods = {pod: seen for pod, seen in moments(one.folder).items() if pod.startswith(prefix) and len(seen) == len(MOMENTS)}
            order = sorted(pods.values(), key=lambda seen: seen["launching"])
            # The first run of a pipeline builds what the others find.
            order = order[STEPS:]
            spans = {}
            for before, seen in zip(order, order[1:]):
                if 0 < (gap := seen["launching"] - before["recorded"]) < 0.1 or gap < 0:
                    spans.setdefault("launching", []).append(gap)
                for (earlier, _), (moment, _) in zip(MOMENTS, MOMENTS[1:]):
                    spans.setdefault(moment, []).append(seen[moment] - seen[earlier])
            columns.append({moment: statistics.median(values) * 1e3 for moment, values in spans.items()})
        row("ends with", "in which", "no-op, ms", "Python, ms")
        row("---", "---", "---", "---")
        for moment, meaning in MOMENTS:
            row(moment, meaning, *(f"{column[moment]:.1f}" for column in columns))
        row("sum", "", *(f"{sum(column.values()):.1f}" for column in columns))


if __name__ == "__main__":
    {"platform": platform_figures, "pipelines": pipeline_figures, "timeline": timeline_figures}[sys.argv[1]]()
