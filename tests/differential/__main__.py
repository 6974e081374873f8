"""Runs one script of requests against two API servers and shows where their answers differ.

    python -m differential --embedded KUBECONFIG --real KUBECONFIG [--kubectl PATH:PATH] [-k SCRIPT]
"""

import argparse
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


def is_known(known, name, path) -> bool:
    pattern = lambda text: text.replace("[", "[[]")
    return fnmatch.fnmatchcase(name, known["exchange"]) and fnmatch.fnmatchcase(path, pattern(known["path"]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--embedded", type=pathlib.Path, required=True)
    parser.add_argument("--real", type=pathlib.Path, required=True)
    parser.add_argument("--kubectl", default=os.environ.get("FERROFLOW_KUBECTL", "kubectl"))
    parser.add_argument("-k", dest="only", default="")
    parser.add_argument("--all", action="store_true", help="show the known differences too")
    options = parser.parse_args()
    names = sorted(found.name for found in pkgutil.iter_modules(scripts.__path__))
    modules = [importlib.import_module(f"{scripts.__name__}.{name}") for name in names if options.only in name]
    binaries = [binary for binary in options.kubectl.split(os.pathsep) if binary]
    # The oldest and the newest that this machine has.
    kubectls = list(dict.fromkeys([binaries[0], binaries[-1]])) if binaries else []
    mark = f"r{int(time.time()) % 1000:03}"
    servers = [Server("embedded", options.embedded, mark), Server("real", options.real, mark)]
    started = time.monotonic()
    known = yaml.safe_load(KNOWN.read_text()) or []
    used, asked, unknown, listed = set(), 0, 0, 0
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
                hit = next((index for index, entry in enumerate(known) if is_known(entry, ours.name, path)), None)
                if hit is None:
                    unknown += 1
                else:
                    used.add(hit)
                    listed += 1
                    if not options.all:
                        continue
                print(f"{ours.name}: {ours.request}\n  {path}\n    embedded: {shown(left)}\n    real:     {shown(right)}", flush=True)
                if hit is not None:
                    print(f"    known:    {known[hit]['reason']}")
        print(f"  {name}: {len(embedded)} exchanges, {time.monotonic() - started:.0f} s since the start", flush=True)
    stale = [entry for index, entry in enumerate(known) if index not in used and not options.only]
    for entry in stale:
        print(f"no longer differs: {entry['exchange']} {entry['path']}; take it out of known.yaml")
    seconds = time.monotonic() - started
    print(f"{asked} exchanges in {seconds:.0f} s: {unknown} differences that are not listed, {listed} that are, {len(stale)} stale entries")
    return 1 if unknown or stale else 0


if __name__ == "__main__":
    sys.exit(main())
