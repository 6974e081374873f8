"""Every command as a newcomer meets it: on a terminal and in a pipe, with what it says when something is wrong."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request

import pytest
from conftest import CLUSTER, KFCTL, Platform, until
from terminal import Terminal, processes_naming

SLEEPER = """
from kfp import dsl

@dsl.container_component
def first():
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", "echo begins; sleep 1; echo the last line of first"])

@dsl.container_component
def second(seconds: int):
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", "echo waits; sleep $0; echo waited"], args=[seconds])

@dsl.pipeline(name="sleeper")
def sleeper(seconds: int = 1):
    second(seconds=seconds).after(first())
"""

FAILING = """
from kfp import dsl

@dsl.container_component
def breaks(n: int):
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", "for i in 1 2 3; do echo line $i; done; echo it broke >&2; exit 3"], args=[n])

@dsl.pipeline(name="failing")
def failing(n: int):
    breaks(n=n)
"""


pytestmark = pytest.mark.usefixtures("kubeflow")


@pytest.fixture
def fresh(tmp_path):
    """A platform that a test starts, stops and spoils as it likes."""
    platform = Platform(tmp_path / "data")
    yield platform
    platform.down()


def environment(platform, **more):
    return {**os.environ, "FERROFLOW_DATA_DIR": str(platform.folder), **more}


def up_on_a_terminal(platform, *options, **more):
    ports = ["--port", platform.console_port, "--api-port", platform.api_port]
    return Terminal(KFCTL, "up", *ports, *options, env=environment(platform, **more))


def failed_up(platform, *options) -> str:
    """An `up` that must fail; answers what it said, one sentence."""
    ports = ["--port", platform.console_port, "--api-port", platform.api_port]
    done = platform.kfctl("up", "--detach", *ports, *options, check=False)
    assert done.returncode not in (0, None), done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.strip().count("\n") == 0, done.stderr
    return done.stderr


# ---- up, down, status


def test_up_on_a_terminal_is_a_live_list_and_ctrl_c_leaves_no_process(fresh):
    terminal = up_on_a_terminal(fresh)
    terminal.until("Ctrl-C stops it")
    for words in ["api server", "controllers", "node", "dashboard", "ml-pipeline", "✓", "\x1b["]:
        assert words in terminal.text, terminal.text
    assert f"http://127.0.0.1:{fresh.console_port}" in terminal.text
    assert f"export KUBECONFIG={fresh.kubeconfig}" in terminal.text
    assert "kfctl run FILE.py --follow" in terminal.text
    assert "already running" in fresh.kfctl("up").stdout
    terminal.interrupt()
    assert terminal.end() == 0 and "stopping" in terminal.text, terminal.text
    assert processes_naming(fresh.folder) == []


def test_up_in_a_pipe_prints_plain_lines(fresh):
    ports = ["--port", fresh.console_port, "--api-port", fresh.api_port]
    command = [str(word) for word in [KFCTL, "up", *ports]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(fresh))
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, lines
    assert not any("\x1b" in line for line in lines), lines
    for part in ["api server", "controllers", "node", "dashboard", "ml-pipeline"]:
        assert any(re.match(rf"{part} +ready after \d+ ms", line) for line in lines), (part, lines)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(fresh):
    ports = ["--port", fresh.console_port, "--api-port", fresh.api_port]
    terminal = Terminal("env", "TERM=dumb", KFCTL, "up", "--bare", *ports, env=environment(fresh))
    terminal.until("Ctrl-C stops it")
    assert re.search(r"node +ready after \d+ ms", terminal.text), terminal.text
    terminal.interrupt()
    assert terminal.end() == 0


def test_a_step_that_ctrl_c_interrupted_is_resumed_by_the_next_up(fresh, tmp_path):
    terminal = up_on_a_terminal(fresh)
    terminal.until("Ctrl-C stops it")
    pipeline = tmp_path / "sleeper.py"
    pipeline.write_text(SLEEPER)
    run = json.loads(fresh.kfctl("run", pipeline, "--param", "seconds=4", "-o", "json").stdout)["run_id"]
    until(lambda: steps(fresh, run).get("second") == "RUNNING")
    terminal.interrupt()
    assert terminal.end() == 0, terminal.text
    assert processes_naming(fresh.folder) == []
    fresh.up()
    done = fresh.kfctl("runs", run, "--follow")
    assert "succeeded after" in done.stdout, done.stdout


def steps(platform, run) -> dict[str, str]:
    shown = json.loads(platform.kfctl("runs", run, "-o", "json").stdout)
    return {step["name"]: step["state"] for step in shown.get("steps", [])}


def test_status_reads_well_and_tells_by_its_exit_code(fresh):
    stopped = fresh.kfctl("status", check=False)
    assert stopped.returncode == 1 and "start it with: kfctl up" in stopped.stdout
    assert json.loads(fresh.kfctl("status", "-o", "json", check=False).stdout)["running"] is False
    fresh.up()
    shown = fresh.kfctl("status").stdout
    for words in ["ferroflow ", "process ", "console  http", "api      https", "data     ", "memory   ", "3 Running", "ml-pipeline", "dashboard", "ferroflow/kfctl:"]:
        assert words in shown, (words, shown)
    status = json.loads(fresh.kfctl("status", "-o", "json").stdout)
    assert status["pods"] == {"Running": 3} and status["dataBytes"] > 100_000
    assert status["instance"]["pid"] == fresh.record()["pid"]
    assert all(component["image"].startswith("ferroflow/kfctl:") for component in status["components"])


def test_down_says_which_pod_it_waits_for(fresh):
    fresh.options = ("--bare",)
    fresh.up()
    until(lambda: "default" in fresh.kubectl("get", "serviceaccount", "default", "-o", "name", check=False))
    deaf = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deaf"},
        "spec": {"terminationGracePeriodSeconds": 4, "containers": [{"name": "main", "image": "alpine", "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"]}]},
    }
    fresh.kubectl("apply", "-f", "-", stdin=json.dumps(deaf))
    fresh.kubectl("wait", "pod/deaf", "--for=condition=Ready", "--timeout=60s")
    done = fresh.kfctl("down")
    assert "waiting for default/deaf to end" in done.stderr and "up to 4 s" in done.stderr, done.stderr
    assert "stopped" in done.stdout and processes_naming(fresh.folder) == []


def test_delete_data_asks_and_takes_no_for_an_answer(fresh):
    fresh.options = ("--bare",)
    fresh.up()
    blind = fresh.kfctl("down", "--delete-data", check=False, stdin=subprocess.DEVNULL)
    assert blind.returncode != 0 and "--yes" in blind.stderr
    for answer, is_deleted in [("n", False), ("", False), ("y", True)]:
        terminal = Terminal(KFCTL, "down", "--delete-data", env=environment(fresh))
        terminal.until("[y/N]")
        terminal.type(answer + "\n")
        code = terminal.end()
        assert (code == 0) == is_deleted, terminal.text
        assert fresh.folder.exists() != is_deleted
        if not is_deleted:
            assert fresh.kfctl("status").returncode == 0, "it runs on"
    assert str(fresh.folder) in terminal.text and "deleted" in terminal.text


# ---- what stands in the way of up


@pytest.mark.parametrize("flag, what", [("--port", "the console"), ("--api-port", "the Kubernetes API")])
@pytest.mark.parametrize("detach", [True, False])
def test_a_taken_port_names_its_flag(fresh, flag, what, detach):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"--port": fresh.console_port, "--api-port": fresh.api_port, flag: port}
        done = fresh.kfctl("up", *(["--detach"] if detach else []), *[word for pair in ports.items() for word in pair], check=False)
    assert done.returncode == 1 and done.stderr == (
        f"error: port {port}, wanted for {what}, is taken by another program; stop that one, or choose another port with {flag}\n"
    )


def test_a_folder_that_cannot_be_made_is_said_with_the_remedy(tmp_path):
    for folder in ["/proc/ferroflow", str(KFCTL)]:
        done = subprocess.run([str(KFCTL), "up", "--data-dir", folder], capture_output=True, text=True)
        assert done.returncode == 1 and folder in done.stderr and "--data-dir" in done.stderr, done.stderr


def test_a_database_that_is_damaged_in_the_middle_is_refused_by_name_and_left_as_it_is(fresh):
    fresh.options = ("--bare",)
    fresh.up()
    fresh.down()
    database = fresh.folder / "apiserver.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    garbled = bytearray(database.read_bytes())
    noise = random.Random(1)
    for place in range(4096 * 2, len(garbled)):
        garbled[place] = noise.randrange(256)
    database.write_bytes(garbled)
    said = failed_up(fresh)
    assert f"{database}: the file is damaged" in said and "restore it from a copy, or move it away" in said, said
    assert database.read_bytes() == garbled
    database.unlink()
    fresh.up()


def test_a_component_that_cannot_start_ends_up_with_its_cause(fresh):
    fresh.up()
    fresh.down()
    database = next(fresh.folder.glob("volumes/*/pipelines.db"))
    for beside in database.parent.glob("pipelines.db-*"):
        beside.unlink()
    kept = database.read_bytes()
    database.write_bytes(b"no database at all" * 1000)
    said = failed_up(fresh)
    assert "ml-pipeline" in said and f"{database} is damaged; restore it from a copy" in said, said
    assert "kfctl up --bare" in said
    assert fresh.kfctl("status", check=False).returncode == 1 and processes_naming(fresh.folder) == []
    database.write_bytes(kept)
    fresh.up()


def test_refused_namespaces_are_said_with_the_remedy(fresh):
    """A user namespace that allows no more of them stands for a machine that refuses them."""
    ports = f"--port {fresh.console_port} --api-port {fresh.api_port}"
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && exec {KFCTL} up --detach {ports}"
    if subprocess.run(["unshare", "-r", "true"]).returncode != 0:
        pytest.fail("this machine refuses user namespaces; run: sudo kfctl setup")
    done = subprocess.run(["unshare", "-r", "sh", "-c", script], capture_output=True, text=True, env=environment(fresh))
    assert done.returncode == 1, done.stdout
    assert "pods cannot be sandboxed here" in done.stderr and "user.max_user_namespaces" in done.stderr, done.stderr
    assert "--allow-host-processes" in done.stderr


# ---- what is installed stays the user's


def test_what_the_user_deletes_or_scales_to_zero_stays_so(fresh):
    fresh.up()
    fresh.kubectl("delete", "-n", "kubeflow", "deploy/dashboard")
    fresh.kubectl("scale", "-n", "kubeflow", "deploy/ml-pipeline", "--replicas=0")
    fresh.down()
    said = fresh.up()
    assert "deleted by you; kept so" in said and "scaled to 0 by you; kept so" in said, said
    assert "dashboard" not in fresh.kubectl("get", "deploy", "-A", "-o", "name")
    assert fresh.kubectl("get", "deploy", "-n", "kubeflow", "ml-pipeline", "-o", "jsonpath={.spec.replicas}") == "0"


def test_bare_installs_nothing(fresh):
    fresh.options = ("--bare",)
    fresh.up()
    assert fresh.kubectl("get", "deploy,pods", "-A", "-o", "name") == ""
    assert "kubeflow" not in fresh.kubectl("get", "namespaces", "-o", "name")
    assert "no component is installed" in fresh.kfctl("status").stdout
    said = fresh.kfctl("login", check=False).stderr
    assert "console" in said, said


def test_a_component_restarts_like_any_deployment_and_has_a_log(platform):
    def uid():
        return platform.kubectl("get", "pods", "-n", "kubeflow", "-l", "app=ml-pipeline", "-o", "jsonpath={.items[*].metadata.uid}")

    before = uid()
    platform.kubectl("rollout", "restart", "-n", "kubeflow", "deploy/ml-pipeline")
    platform.kubectl("rollout", "status", "-n", "kubeflow", "deploy/ml-pipeline", "--timeout=90s")
    until(lambda: uid() not in ("", before) and " " not in uid())
    assert platform.kubectl("logs", "-n", "kubeflow", "deploy/ml-pipeline").strip()
    assert "ml-pipeline" in platform.kubectl("get", "pods", "-A")


# ---- fallbacks


def test_memory_that_is_not_there_is_said_or_cut_as_the_owner_chose(platform, fresh):
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "huge"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "alpine", "command": ["true"], "resources": {"requests": {"memory": "64Ti"}}}]},
    }
    fresh.options = ("--bare",)
    fresh.up()
    until(lambda: "default" in fresh.kubectl("get", "serviceaccount", "default", "-o", "name", check=False))
    fresh.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    fresh.kubectl("wait", "pod/huge", "--for=condition=PodScheduled=False", "--timeout=30s")
    said = fresh.kubectl("describe", "pod", "huge")
    assert "Insufficient memory" in said and "--memory-fallback=clamp" in said, said
    # The platform of the suite was started with both fallbacks.
    pod["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/gpu": 1}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    platform.kubectl("wait", "pod/huge", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    said = platform.kubectl("describe", "pod", "huge")
    assert re.search(r"(?i)gpu", said) and re.search(r"(?i)memory", said), said
    platform.kubectl("delete", "pod", "huge", "--wait=false")


# ---- the user's kubeconfig


def test_export_kubeconfig_adds_a_context_and_touches_nothing_else(fresh, tmp_path):
    theirs = tmp_path / "home" / "config"
    theirs.parent.mkdir()
    link = tmp_path / "link"
    link.symlink_to(theirs)
    theirs.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: work\npreferences: {colors: true}\n"
        "clusters: [{name: work, cluster: {server: 'https://work.example:6443'}}]\n"
        "users: [{name: work, user: {token: secret}}]\ncontexts: [{name: work, context: {cluster: work, user: work, namespace: team}}]\n"
    )
    theirs.chmod(0o644)
    ports = ["--port", fresh.console_port, "--api-port", fresh.api_port]
    command = [str(word) for word in [KFCTL, "up", "--bare", "--detach", "--export-kubeconfig", *ports]]
    env = environment(fresh, KUBECONFIG=str(link), HOME=str(tmp_path / "home"))
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0 and "context  ferroflow added to" in done.stdout, done
        seen = json.loads(subprocess.run(["kubectl", "config", "view", "--raw", "-o", "json"], capture_output=True, env=env, check=True).stdout)
        assert seen["current-context"] == "work" and seen["preferences"] == {"colors": True}
        contexts = {entry["name"]: entry["context"] for entry in seen["contexts"]}
        assert set(contexts) == {"work", "ferroflow"} and contexts["work"]["namespace"] == "team"
        assert {"name": "work", "user": {"token": "secret"}} in seen["users"]
        asked = subprocess.run(["kubectl", "--context", "ferroflow", "get", "namespaces", "-o", "name"], capture_output=True, text=True, env=env)
        assert "namespace/default" in asked.stdout, asked.stderr
        fresh.down()
    assert link.is_symlink() and theirs.stat().st_mode & 0o777 == 0o600, "it holds a key now"


# ---- service and setup

SYSTEMCTL = """#!/bin/sh
# Stands for a systemd that manages services for this user.
echo "$@" >> "$FAKE_CALLS"
unit=$XDG_CONFIG_HOME/systemd/user/ferroflow.service
if [ "$2" = enable ]; then
    command=$(sed -n 's/^ExecStart=//p' "$unit")
    eval "$(sed -n 's/^Environment=/export /p' "$unit")"
    setsid sh -c "exec $command" > /dev/null 2>&1 < /dev/null &
fi
"""


def test_install_service_writes_a_valid_unit_that_starts_the_platform(fresh, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL)
    (programs / "systemctl").chmod(0o755)
    calls = tmp_path / "calls"
    env = environment(fresh, PATH=f"{programs}:{os.environ['PATH']}", XDG_CONFIG_HOME=str(tmp_path / "config"), FAKE_CALLS=str(calls))
    ports = ["--port", fresh.console_port, "--api-port", fresh.api_port]
    command = [str(word) for word in [KFCTL, "up", "--bare", "--install-service", *ports]]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "config/systemd/user/ferroflow.service"
    assert str(unit) in done.stdout and "enable-linger" in done.stdout and "console  http" in done.stdout, done.stdout
    text = unit.read_text()
    assert f"ExecStart={KFCTL} up --bare --port {fresh.console_port} --api-port {fresh.api_port}\n" in text, text
    assert f"Environment=FERROFLOW_DATA_DIR={fresh.folder}\n" in text
    assert calls.read_text().splitlines() == ["--user show-environment", "--user daemon-reload", "--user enable --now ferroflow.service"]
    assert fresh.kfctl("status").returncode == 0
    if shutil.which("systemd-analyze"):
        runtime = tmp_path / "runtime"
        runtime.mkdir(mode=0o700)
        judged = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(unit)], capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
        )
        complaints = [line for line in judged.stderr.splitlines() if "ferroflow" in line]
        assert complaints == [], complaints


def test_install_service_says_where_no_systemd_listens_and_writes_nothing(fresh, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
    (programs / "systemctl").chmod(0o755)
    for path in [f"{programs}:/usr/bin:/bin", str(tmp_path / "nothing")]:
        env = environment(fresh, PATH=path, XDG_CONFIG_HOME=str(tmp_path / "config"))
        done = subprocess.run([str(KFCTL), "up", "--install-service"], capture_output=True, text=True, env=env)
        assert done.returncode == 1 and "systemd" in done.stderr and "kfctl up --detach" in done.stderr, done.stderr
        assert not (tmp_path / "config").exists()


@pytest.mark.one_machine
def test_setup_changes_a_machine_that_refuses_namespaces_once_and_takes_it_back(tmp_path):
    """In a mount namespace of its own, where this machine looks like a current Ubuntu."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apparmor_parser").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    (programs / "apparmor_parser").chmod(0o755)
    script = f"""
        set -e
        mount -t tmpfs none /proc/sys/kernel
        echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns
        cp -a /etc {tmp_path}/etc 2>/dev/null || true
        mount -t tmpfs none /etc
        mkdir /etc/apparmor.d
        {KFCTL} setup --dry-run; test ! -e /etc/apparmor.d/ferroflow-kfctl
        {KFCTL} setup; cat /etc/apparmor.d/ferroflow-kfctl
        {KFCTL} setup
        {KFCTL} setup --undo; test ! -e /etc/apparmor.d/ferroflow-kfctl
        {KFCTL} setup --undo
    """.replace(f"cp -a /etc {tmp_path}/etc 2>/dev/null || true\n", "")
    env = {**os.environ, "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert said.count("write /etc/apparmor.d/ferroflow-kfctl: AppArmor lets this program") == 2, said
    assert f"profile ferroflow-kfctl {KFCTL} flags=(unconfined)" in said
    assert said.count("nothing to do") == 1 and said.count("nothing to undo") == 1, said
    assert (tmp_path / "calls").read_text().splitlines() == ["-r /etc/apparmor.d/ferroflow-kfctl", "-R /etc/apparmor.d/ferroflow-kfctl"]


# ---- small commands


def test_every_command_has_help_with_an_example(platform):
    top = platform.kfctl("--help").stdout
    assert top.startswith("A whole Kubeflow in one binary"), top
    for command in ["up", "down", "status", "run", "runs", "logs", "image", "login", "setup", "config", "completion", "version"]:
        assert f"\n  {command} " in top, command
        shown = platform.kfctl(command, "--help").stdout
        assert "Example" in shown and f"kfctl {command}" in shown.split("Example", 1)[1], shown
    for group in ["image", "config"]:
        done = platform.kfctl(group, check=False)
        assert done.returncode == 2 and "[subcommands: " in done.stderr, done.stderr


def test_version_and_configuration_read_well_by_people_and_programs(platform, tmp_path):
    assert platform.kfctl("version").stdout.startswith("kfctl 1.7.0\nferroflow ")
    assert json.loads(platform.kfctl("version", "-o", "json").stdout)["kfctl"] == "1.7.0"
    shown = platform.kfctl("config", "show").stdout
    assert f"dataDir: {platform.folder}\n" in shown and "gpuFallback: none" in shown
    config = tmp_path / "config.yaml"
    config.write_text("console: {prot: 1}\n")
    done = platform.kfctl("--config", config, "config", "show", check=False)
    assert done.returncode == 1 and str(config) in done.stderr and "prot" in done.stderr, done.stderr
    config.write_text(shown.replace("gpuFallback: none", "gpuFallback: cpu"))
    assert "gpuFallback: cpu" in platform.kfctl("--config", config, "config", "show").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_its_shell_can_read(platform, tmp_path, shell):
    script = tmp_path / f"kfctl.{shell}"
    script.write_text(platform.kfctl("completion", shell).stdout)
    assert "kfctl" in script.read_text() and "status" in script.read_text()
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    if shell == "bash":
        asked = f"source {script}; COMP_WORDS=(kfctl sta); COMP_CWORD=1; _kfctl kfctl sta kfctl; echo ${{COMPREPLY[@]}}"
        assert "status" in subprocess.run(["bash", "-c", asked], capture_output=True, text=True).stdout


@pytest.mark.one_machine
def test_login_prints_an_address_that_works_once(platform):
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    address = platform.kfctl("login", "--quiet").stdout.strip()
    assert address.startswith(f"{platform.url}/login?code=")
    answers = []
    for _ in range(2):
        try:
            answers.append(urllib.request.build_opener(Stay).open(address).status)
        except urllib.error.HTTPError as error:
            answers.append(error.code)
    assert answers[0] in (200, 302, 303, 307) and answers[1] in (400, 401, 403, 410), answers


# ---- run, runs, logs


@pytest.fixture
def sleeper(kubeflow, tmp_path):
    file = tmp_path / "sleeper.py"
    file.write_text(SLEEPER)
    return file


def on_a_terminal(platform, *arguments, **options):
    return Terminal(KFCTL, *arguments, *platform.target(*arguments), env=environment(platform), **options)


def screen(text: str) -> str:
    """What the last drawing left, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_following_a_run_on_a_terminal_is_a_live_tree(platform, sleeper):
    terminal = on_a_terminal(platform, "run", sleeper, "--no-cache", "--follow")
    assert terminal.end() == 0, terminal.text
    shown = screen(terminal.text)
    assert "● first" in shown and "0/2 steps" in shown, shown
    assert re.search(r"✓ first +succeeded +\d+s +the last line of first", shown), shown
    assert re.search(r"✓ second +succeeded +\d+s +waited", shown), shown
    assert "2/2 steps" in shown and "succeeded after" in shown


def test_following_a_run_in_a_pipe_is_a_line_for_each_change(platform, sleeper):
    done = platform.kfctl("run", sleeper, "--no-cache", "--follow")
    assert "\x1b" not in done.stdout
    assert re.search(r"^first +succeeded +\d+s +the last line of first$", done.stdout, re.M), done.stdout
    assert re.search(r"^second +succeeded +\d+s +waited$", done.stdout, re.M), done.stdout


def test_a_failed_step_is_shown_with_cause_and_log_and_the_exit_code_tells(platform, tmp_path):
    file = tmp_path / "failing.py"
    file.write_text(FAILING)
    terminal = on_a_terminal(platform, "run", file, "--param", "n=1", "--follow")
    assert terminal.end() == 1
    shown = screen(terminal.text)
    assert re.search(r"✗ breaks +failed", shown) and "failed step breaks" in shown, shown
    assert "exited with code 3" in shown and "│ line 3" in shown and "│ it broke" in shown, shown
    assert "kfctl logs " in shown
    last = json.loads(platform.kfctl("runs", "-o", "json", "--limit", "1").stdout)[0]
    assert last["state"] == "FAILED" and last["error"]


def test_ctrl_c_leaves_the_run_going_and_says_how_to_come_back(platform, sleeper):
    terminal = on_a_terminal(platform, "run", sleeper, "--no-cache", "--param", "seconds=600", "--follow")
    terminal.until("waits")
    terminal.interrupt()
    assert terminal.end() == 130
    run = re.search(r"kfctl runs (\S+) --follow", terminal.text).group(1)
    assert f"kfctl runs {run} --terminate" in terminal.text
    assert steps(platform, run)["second"] == "RUNNING"
    again = on_a_terminal(platform, "runs", run, "--follow")
    again.until("waits")
    assert "ending" in platform.kfctl("runs", run, "--terminate").stdout
    assert again.end() == 1, again.text
    done = platform.kfctl("runs", run, "--terminate", check=False)
    assert done.returncode == 1 and "is over already" in done.stderr, done.stderr


def test_runs_are_listed_for_people_and_programs_and_logs_follow_a_step(platform, sleeper):
    run = json.loads(platform.kfctl("run", sleeper, "--no-cache", "--name", "a name", "--param", "seconds=2", "-o", "json").stdout)["run_id"]
    followed = platform.kfctl("logs", run, "second", "-f").stdout
    assert followed == "waits\nwaited\n", followed
    until(lambda: json.loads(platform.kfctl("runs", run, "-o", "json").stdout)["state"] == "SUCCEEDED")
    listed = platform.kfctl("runs").stdout
    assert re.search(rf"{run} +a name +SUCCEEDED +\d+s", listed), listed
    wide = platform.kfctl("runs", "-o", "wide").stdout
    assert "FINISHED" in wide and re.search(rf"{run} .*20\d\d-", wide), wide
    assert platform.kfctl("logs", "a name").stdout == "first begins\nfirst the last line of first\nsecond waits\nsecond waited\n"
    shown = platform.kfctl("runs", "a name").stdout
    assert "state    succeeded" in shown and "second" in shown, shown
    for arguments, words in [
        (["logs", run, "third"], "has no step \"third\"; it has: first, second"),
        (["logs", "no such run"], "kfctl runs lists them"),
        (["runs", "--follow"], "say which run"),
    ]:
        done = platform.kfctl(*arguments, check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr


BAD_FILES = {
    "broken.yaml": ("a: [1,\n b: }", "broken.yaml is not a compiled pipeline", "line 1 column 4"),
    "empty.yaml": ("", "empty.yaml", "empty"),
    "other.yaml": ("hello: world\n", "other.yaml is not a compiled pipeline", "hello"),
    "workflow.yaml": ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n", "workflow.yaml", "Workflow"),
    "list.yaml": ("- a\n", "list.yaml is not a compiled pipeline", "mapping"),
    "syntax.py": ("import kfp\nx = (\n", "syntax.py does not compile", "was never closed"),
    "nothing.py": ("import kfp\n", "nothing.py", "defines no pipeline"),
    "module.py": ("import no_such_module\n", "line 1", "No module named 'no_such_module'"),
    "argument.py": (
        "from kfp import dsl\n\n\n@dsl.component\ndef add(a: int) -> int:\n    return a\n\n\n@dsl.pipeline\ndef sums():\n    add(a=1, c=2)\n",
        "line 11, in sums",
        "unexpected keyword argument",
    ),
    "notes.txt": ("", "notes.txt", "a pipeline is a .py, .yaml or .json file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_name_and_what_is_wrong(platform, tmp_path, name):
    text, *words = BAD_FILES[name]
    (tmp_path / name).write_text(text)
    done = platform.kfctl("run", tmp_path / name, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not [word for word in ("ferroflow_kfp", "frozen", "site-packages") if word in done.stderr], "how it is compiled is no news to anybody"


def test_a_pipeline_that_waits_for_itself_is_refused_with_the_circle(platform, tmp_path, sleeper):
    compiled = compiled_sleeper(platform, tmp_path)
    compiled["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["second"]
    file = tmp_path / "circle.json"
    file.write_text(json.dumps(compiled))
    said = platform.kfctl("run", file, check=False)
    assert said.returncode == 1 and "first" in said.stderr and "second" in said.stderr, said.stderr
    assert re.search(r"cycl|circle|wait", said.stderr), said.stderr


def test_an_unknown_field_is_refused_by_its_path(platform, tmp_path):
    compiled = compiled_sleeper(platform, tmp_path)
    compiled["root"]["dag"]["tasks"]["first"]["nonsense"] = 1
    file = tmp_path / "unknown.json"
    file.write_text(json.dumps(compiled))
    said = platform.kfctl("run", file, check=False)
    assert said.returncode == 1 and "first.nonsense" in said.stderr, said.stderr


def compiled_sleeper(platform, folder):
    from kfp import compiler
    import importlib.util

    file = folder / "to_compile.py"
    file.write_text(SLEEPER)
    spec = importlib.util.spec_from_file_location("to_compile", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    compiler.Compiler().compile(module.sleeper, str(folder / "compiled.json"))
    return json.loads((folder / "compiled.json").read_text())


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "add: --param n=VALUE"),
        (["--param", "n"], "say NAME=VALUE"),
        (["--param", "m=1"], "the pipeline has no such parameter; it has: n"),
        (["--param", "n=x"], "the pipeline wants NUMBER_INTEGER"),
        (["--param", "n=1", "--mount", "/no/such/folder:/data"], "/no/such/folder"),
        (["--param", "n=1", "--mount", "/tmp"], "say HOST:POD"),
        (["--param", "n=1", "--function", "other"], "defines no pipeline 'other'"),
    ],
)
def test_a_bad_argument_of_run_is_refused_with_the_right_one(platform, tmp_path, arguments, words):
    if CLUSTER and "--mount" in arguments:
        words = "--mount shows folders of this machine"
    file = tmp_path / "failing.py"
    file.write_text(FAILING)
    done = platform.kfctl("run", file, *arguments, check=False)
    assert done.returncode == 1 and words in done.stderr, done.stderr


def test_commands_say_how_to_start_a_platform_that_is_not_up(fresh, sleeper):
    for command in [["run", sleeper], ["runs"], ["logs", "last"], ["login"]]:
        done = fresh.kfctl(*command, check=False)
        assert done.returncode == 1 and "start it with: kfctl up" in done.stderr, done.stderr
    assert "no platform is running" in fresh.kfctl("down").stdout
