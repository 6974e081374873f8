"""``python -m ferroflow_kfp compile FILE``: compiles a pipeline file, with ``dsl.ContainerOp`` in place."""

import argparse
import importlib.util
import inspect
import pathlib
import sys
import traceback

import ferroflow_kfp  # noqa: F401 (adds dsl.ContainerOp before the user's file is read)
from kfp import compiler
from kfp.dsl import base_component, graph_component


def main() -> int:
    """Compiles; exit code 2 with one sentence where the file is at fault."""
    parser = argparse.ArgumentParser(prog="ferroflow_kfp")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("compile", help="compile a pipeline file")
    one.add_argument("file", type=pathlib.Path)
    one.add_argument("--function", help="which pipeline, where the file defines several")
    one.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    try:
        pipeline = find(load(args.file), args.function, args.file)
        compiler.Compiler().compile(pipeline, package_path=str(args.output))
    except NoPipeline as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 (whatever the user's file raises is theirs to read)
        print("".join(told(error)), end="", file=sys.stderr)
        return 2
    return 0


class NoPipeline(Exception):
    """The file does not define the pipeline that is wanted."""


def told(error: Exception) -> list[str]:
    """The lines of a traceback through the user's own files: not how we came there, nor the inside of libraries."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    own = [frame for frame in frames if "site-packages" not in pathlib.Path(frame.filename).parts]
    return traceback.format_list(own or frames) + traceback.format_exception_only(error)


def load(file: pathlib.Path):
    """The module that ``file`` defines."""
    sys.path.insert(0, str(file.parent.resolve()))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise NoPipeline(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def find(module, wanted, file):
    """The pipeline that ``module`` defines; the last resort is its only component."""
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, base_component.BaseComponent) and not name.startswith("_")
    }
    if wanted:
        if wanted not in own:
            raise NoPipeline(f"{file} defines no pipeline {wanted!r}; it defines: {', '.join(own) or 'none'}")
        return own[wanted]
    pipelines = {name: value for name, value in own.items() if isinstance(value, graph_component.GraphComponent)}
    if not pipelines:
        if len(own) == 1:
            return next(iter(own.values()))
        plain = [name for name, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == module.__name__]
        hint = f" ({', '.join(plain)} lack @dsl.pipeline)" if plain else ""
        raise NoPipeline(f"{file} defines no pipeline{hint}")
    # A pipeline that another one calls is a part of it; the last one defined is usually the whole.
    if len(pipelines) > 1:
        main_guess = [name for name in pipelines if name in ("pipeline", "main", file.stem)]
        if len(main_guess) != 1:
            raise NoPipeline(f"{file} defines several pipelines: {', '.join(pipelines)}; choose one with --function")
        return pipelines[main_guess[0]]
    return next(iter(pipelines.values()))


if __name__ == "__main__":
    sys.exit(main())
