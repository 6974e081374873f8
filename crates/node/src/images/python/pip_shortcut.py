# Answers an install whose packages this environment was made with, without loading pip, which takes a quarter of a
# second to say the same. Whatever is not certain to be satisfied falls through to pip itself, below.
import os as _os
import sys as _sys


def _is_satisfied(arguments):
    if len(arguments) < 2 or arguments[0] != "install":
        return False
    harmless = (
        "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST", "PIP_NO_CACHE_DIR", "PIP_ROOT_USER_ACTION", "PIP_NO_INPUT", "PIP_QUIET",
        "PIP_NO_WARN_SCRIPT_LOCATION", "PIP_PROXY", "PIP_RETRIES",
    )
    for name in _os.environ:
        if name.startswith("PIP_") and name not in harmless:
            return False
    if "PYTHONPATH" in _os.environ:
        return False
    # The pod's own layer: anything installed there may have changed what this environment holds.
    layer = _os.path.join(_sys.prefix, "lib", "python%d.%d" % _sys.version_info[:2], "site-packages")
    try:
        if _os.listdir(layer) != ["ferroflow.pth"]:
            return False
        root = _os.path.abspath(__file__)
        for _ in range(5):
            root = _os.path.dirname(root)
        with open(_os.path.join(root, "satisfied.txt"), encoding="utf-8") as lists:
            known = [line.rstrip("\n").split("\t") for line in lists]
    except OSError:
        return False
    silent = (
        "--quiet", "-q", "-qq", "--no-warn-script-location", "--disable-pip-version-check", "--no-cache-dir",
        "--no-input", "--root-user-action=ignore",
    )
    with_value = ("--index-url", "-i", "--extra-index-url", "--trusted-host")
    wanted, index, deps, quiet = set(), [], "deps", False
    rest = iter(arguments[1:])
    for word in rest:
        if word in silent:
            quiet = quiet or word in ("--quiet", "-q", "-qq")
        elif word == "--no-deps":
            deps = "no-deps"
        elif word in with_value:
            index += [word, next(rest, "")]
        elif word.startswith("-"):
            return False
        else:
            wanted.add(word)
    for line in known:
        if (line[0] == "deps" or line[0] == deps) and line[1] == " ".join(index) and wanted <= set(line[2:]):
            if not quiet:
                for requirement in sorted(wanted):
                    print("Requirement already satisfied: " + requirement)
            return bool(wanted)
    return False


if __name__ == "__main__" and _is_satisfied(_sys.argv[1:]):
    _sys.exit(0)

# From here on: pip's own entry.
