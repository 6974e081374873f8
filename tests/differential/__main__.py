"""Runs one script of requests against two API servers and shows where their answers differ.

    python -m differential --embedded KUBECONFIG --real KUBECONFIG [--kubectl PATH:PATH] [-k SCRIPT]
"""

import argparse
import dataclasses
import datetime
import fnmatch
import importlib
import os
import pathlib
import pkgutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import yaml

from . import scripts
from .compare import compare
from .server import Server

KNOWN = pathlib.Path(__file__).parent / "known.yaml"
RESULTS = pathlib.Path(__file__).parents[2] / "docs/compatibility.md"
BEGIN, END = "<!-- begin: written by cargo xtask differential --record -->", "<!-- end: written by cargo xtask differential --record -->"


def plays(modules, kubectls):
    """Each script with its name and what it needs beside a server."""
    for module in modules:
        name = module.__name__.rsplit(".", 1)[1]
        if name.startswith("kubectl"):
            for binary in kubectls:
                yield f"kubectl-{binary.rsplit('.', 1)[-1]}", module, (binary,)
        else:
            yield name, module, ()


def play(server: Server, name, module, arguments) -> list:
    """One script on one server; answers its exchanges."""
    server.script, server.exchanges = name, []
    try:
        module.script(server, *arguments)
    except Exception as error:
        raise RuntimeError(f"{name} on the {server.label} server, after {server.exchanges[-1].name if server.exchanges else 'nothing'}") from error
    return server.exchanges


def shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 400 else text[:400] + "…"


@dataclasses.dataclass
class Known:
    """One place where answers are known to differ, and the group with the reason that it belongs to."""

    group: dict
    exchange: str
    path: str
    is_used: bool = False

    def holds(self, name: str, path: str) -> bool:
        return fnmatch.fnmatchcase(name, self.exchange) and fnmatch.fnmatchcase(path, self.path.replace("[", "[[]"))


def read_known() -> list[Known]:
    groups = yaml.safe_load(KNOWN.read_text()) or []
    return [Known(group, *where) for group in groups for where in group["where"]]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--embedded", type=pathlib.Path, required=True)
    parser.add_argument("--real", type=pathlib.Path, required=True)
    parser.add_argument("--kubectl", default=os.environ.get("FERROFLOW_KUBECTL", "kubectl"))
    parser.add_argument("-k", dest="only", default="")
    parser.add_argument("--all", action="store_true", help="show the known differences too")
    parser.add_argument("--record", metavar="COMMIT", help="write what came out into docs/compatibility.md, as of this commit")
    options = parser.parse_args()
    names = sorted(found.name for found in pkgutil.iter_modules(scripts.__path__))
    modules = [importlib.import_module(f"{scripts.__name__}.{name}") for name in names if options.only in name]
    binaries = [binary for binary in options.kubectl.split(os.pathsep) if binary]
    # The oldest and the newest that this machine has.
    kubectls = list(dict.fromkeys([binaries[0], binaries[-1]])) if binaries else []
    mark = f"r{int(time.time()) % 1000:03}"
    servers = [Server("embedded", options.embedded, mark), Server("real", options.real, mark)]
    started = time.monotonic()
    known = read_known()
    asked, unknown, listed = 0, 0, 0
    # Which answers each group explains, and which differ at all.
    explained: dict[str, set] = {entry.group["what"]: set() for entry in known}
    differing = set()
    for name, module, arguments in plays(modules, kubectls):
        try:
            with ThreadPoolExecutor() as pool:
                embedded, real = pool.map(lambda server: play(server, name, module, arguments), servers)
        except RuntimeError as error:
            print(f"{error}: {error.__cause__!r}", flush=True)
            unknown += 1
            continue
        asked += len(embedded)
        for ours, theirs in zip(embedded, real, strict=True):
            for path, left, right in compare(ours, theirs):
                differing.add(ours.name)
                hit = next((entry for entry in known if entry.holds(ours.name, path)), None)
                if hit is None:
                    unknown += 1
                else:
                    hit.is_used = True
                    explained[hit.group["what"]].add(ours.name)
                    listed += 1
                    if not options.all:
                        continue
                print(f"{ours.name}: {ours.request}\n  {path}\n    embedded: {shown(left)}\n    real:     {shown(right)}", flush=True)
                if hit is not None:
                    print(f"    known:    {hit.group['what']}: {hit.group['why']}")
        print(f"  {name}: {len(embedded)} exchanges, {time.monotonic() - started:.0f} s since the start", flush=True)
    stale = [entry for entry in known if not entry.is_used and not options.only]
    for entry in stale:
        print(f"no longer differs: {entry.exchange} {entry.path}; take it out of known.yaml")
    seconds = time.monotonic() - started
    print(f"{asked} exchanges in {seconds:.0f} s: {unknown} differences that are not listed, {listed} that are, {len(stale)} stale entries")
    print(f"{asked - len(differing)} answers are the same, {len(differing)} differ somewhere")
    if unknown or stale:
        return 1
    if options.record and not options.only:
        groups = {entry.group["what"]: entry.group["why"] for entry in known}
        rows = [(what, len(explained[what]), why) for what, why in groups.items()]
        record(options.record, asked, len(differing), rows)
    return 0


def record(commit: str, asked: int, differing: int, rows) -> None:
    """Puts the result between the marks in docs/compatibility.md."""
    text = RESULTS.read_text()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    lines = [
        f"Last recorded on {datetime.date.today()} at {commit}: {asked} answers, of which {asked - differing} are the same and {differing} differ somewhere, all of them listed.",
        "",
        "| difference | answers | reason |",
        "|---|---|---|",
        *(f"| {what} | {count} | {why} |" for what, count, why in rows),
    ]
    RESULTS.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    sys.exit(main())
