"""Artifacts in an S3 bucket: a platform whose Secret names one, real steps, and the bucket itself looked into."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

import pytest
from bucket import ACCESS_KEY, SECRET_KEY, server
from conftest import KFCTL, Platform, free_port, until
from kfp import dsl

pytestmark = pytest.mark.one_machine
BUCKET, PREFIX = "mlpipeline", "team/a"


@dsl.component
def make(text: str, data: dsl.Output[dsl.Dataset], model: dsl.Output[dsl.Model]):
    import os

    with open(data.path, "w") as file:
        file.write(text)
    # A folder, with a file of more than one part, an odd name and a link.
    os.makedirs(os.path.join(model.path, "deep"))
    with open(os.path.join(model.path, "weights"), "wb") as file:
        file.write(bytes(range(256)) * 40_000)
    with open(os.path.join(model.path, "deep/50% #1 ü.txt"), "w") as file:
        file.write("odd")
    os.symlink("weights", os.path.join(model.path, "latest"))
    model.metadata["layers"] = 3


@dsl.container_component
def copy(data: dsl.Input[dsl.Dataset], copied: dsl.Output[dsl.Dataset], length: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image="python:3.11",
        command=["sh", "-c", 'cp "$0" "$1" && mkdir -p "$(dirname "$2")" && wc -c < "$0" | tr -d " \\n" > "$2"'],
        args=[data.path, copied.path, length],
    )


@dsl.component
def judge(copied: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], length: int, verdict: dsl.Output[dsl.Metrics]) -> str:
    import os

    if os.environ["KFP_RETRY_INDEX"] == "0":
        raise RuntimeError("the first attempt was told to fail")
    with open(copied.path) as file:
        text = file.read()
    with open(os.path.join(model.path, "weights"), "rb") as file:
        weights = file.read()
    with open(os.path.join(model.path, "latest"), "rb") as file:
        assert file.read() == weights == bytes(range(256)) * 40_000
    with open(os.path.join(model.path, "deep/50% #1 ü.txt")) as file:
        assert file.read() == "odd"
    assert len(text) == length and model.metadata["layers"] == 3
    assert copied.uri.startswith("s3://mlpipeline/team/a/v2/artifacts/through-a-bucket/"), copied.uri
    verdict.log_metric("length", length)
    print("judged " + text)
    return text


@dsl.component
def pry(data: dsl.Input[dsl.Dataset]) -> dict:
    """What a step's own code can do with its token, and what lies around it."""
    import json
    import os
    import urllib.error
    import urllib.request

    with open("/var/run/secrets/kubeflow/pipelines/token") as file:
        token = file.read()
    # The launcher is above this process.
    process, words = os.getpid(), []
    while "--api" not in words:
        with open(f"/proc/{process}/status") as file:
            process = int(next(line for line in file if line.startswith("PPid:")).split()[1])
        with open(f"/proc/{process}/cmdline") as file:
            words = file.read().split("\0")
    api = words[words.index("--api") + 1]

    def ask(method, path, body=None):
        request = urllib.request.Request(api + path, method=method, data=body, headers={"Authorization": "Bearer " + token})
        try:
            return urllib.request.urlopen(request, timeout=60).status
        except urllib.error.HTTPError as error:
            return error.code

    own = json.load(urllib.request.urlopen(urllib.request.Request(api + "/step", headers={"Authorization": "Bearer " + token}), timeout=60))
    assert [given["uri"] for given in own["inputs"]] == [data.uri]
    return {
        "environment": dict(os.environ),
        "own input": ask("GET", "/step/inputs/0"),
        "another input": ask("GET", "/step/inputs/1"),
        "out of an input": ask("GET", "/step/inputs/0/content?path=../../data"),
        "own output": ask("PUT", "/step/outputs?path=note", b"a note"),
        "out of the folder": ask("PUT", "/step/outputs?path=../note", b"a note"),
        "the log": ask("PUT", "/step/outputs?path=executor-logs", b"forged"),
    }


@dsl.pipeline(name="through-a-bucket")
def through(text: str = "a few words"):
    made = make(text=text)
    copied = copy(data=made.outputs["data"])
    judge(copied=copied.outputs["copied"], model=made.outputs["model"], length=copied.outputs["length"]).set_retry(1)


@dsl.pipeline(name="prying")
def prying():
    pry(data=make(text="secret?").outputs["data"])


@dsl.pipeline(name="importing")
def importing(uri: str):
    imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, reimport=True)
    copy(data=imported.output)


@pytest.fixture(scope="module")
def s3():
    with server() as running:
        (running.buckets / BUCKET).mkdir()
        yield running


def restart(platform):
    """kubectl takes no two restarts within one second, and a component is up again sooner."""
    until(lambda: "restarted" in platform.kubectl("rollout", "restart", "-n", "kubeflow", "deploy/ml-pipeline", check=False))


def secret(url, key=SECRET_KEY):
    data = {"url": url, "access-key-id": ACCESS_KEY, "secret-access-key": key}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ferroflow-object-store", "namespace": "kubeflow"}, "stringData": data}


@pytest.fixture(scope="module")
def home(s3):
    """A platform of its own whose Secret leads to the bucket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ferroflow-e2e-s3-"))
    platform = Platform(folder)
    platform.up()
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(secret(s3.address(f"{BUCKET}/{PREFIX}"))))
    restart(platform)
    platform.kubectl("rollout", "status", "-n", "kubeflow", "deploy/ml-pipeline", "--timeout=120s", timeout=150)
    yield platform
    log = (folder / "kfctl.log").read_text()
    platform.down()
    shutil.rmtree(folder, ignore_errors=True)
    assert "panicked" not in log, log
    assert SECRET_KEY not in log


@pytest.fixture(scope="module")
def client(home):
    import kfp

    return kfp.Client(host=home.url)


def run(client, pipeline, **options):
    started = client.create_run_from_pipeline_func(pipeline, **options)
    return client.wait_for_run_completion(started.run_id, timeout=240, sleep_duration=0.5)


def steps(home, run_id):
    answer = urllib.request.urlopen(f"{home.url}/apis/v2beta1/runs/{run_id}?view=FULL", timeout=60)
    return {task["name"]: task for task in json.load(answer)["tasks"] if task["type"] == "RUNTIME"}


def artifact(task, key):
    (found,) = [output["artifacts"][0] for output in task["outputs"]["artifacts"] if output["artifact_key"] == key]
    return found


def test_artifacts_go_through_the_bucket_and_no_step_has_the_key_to_it(home, client, s3):
    done = run(client, through)
    made = steps(home, done.run_id)
    assert done.state == "SUCCEEDED", made
    assert len(made["judge"]["pods"]) == 2, "the first attempt failed"
    pods = json.loads(home.kubectl("get", "pods", "-n", "kubeflow", "-l", f"pipeline/runid={done.run_id}", "-o", "json"))["items"]
    assert len(pods) == 4
    written = json.dumps(pods)
    for hidden in (SECRET_KEY, ACCESS_KEY, "ferroflow-object-store", "ferroflow-artifacts", "secretKeyRef"):
        assert hidden not in written, hidden

    # Other clients find what was made under the very names.
    model = artifact(made["make"], "model")["uri"]
    folder = s3.buckets / model.removeprefix("s3://")
    assert model.startswith(f"s3://{BUCKET}/{PREFIX}/v2/artifacts/through-a-bucket/{done.run_id}/make/")
    assert (folder / "weights").read_bytes() == (folder / "latest").read_bytes() == bytes(range(256)) * 40_000
    assert (folder / "deep/50% #1 ü.txt").read_text() == "odd"

    # The console and old clients download by bucket and key.
    data = artifact(made["make"], "data")["uri"].removeprefix(f"s3://{BUCKET}/")
    read = lambda path: urllib.request.urlopen(f"{home.url}{path}", timeout=60).read()  # noqa: E731
    assert read(f"/artifacts/get?source=s3&bucket={BUCKET}&key={data}") == b"a few words"
    assert read(f"/artifacts/get?source=s3&bucket={BUCKET}&key={data}&peek=5") == b"a few"
    answer = json.loads(read(f"/apis/v2beta1/runs/{done.run_id}/nodes/{made['make']['task_id']}/artifacts/data:read"))
    assert base64.b64decode(answer["data"]) == b"a few words"

    # Logs outlive the pods; so do results.
    for pod in pods:
        home.kubectl("delete", "pod", "-n", "kubeflow", pod["metadata"]["name"])
    assert "judged a few words" in home.kfctl("logs", done.run_id, "judge").stdout
    again = run(client, through)
    assert {step["state"] for step in steps(home, again.run_id).values()} == {"CACHED"}
    # A result whose objects are gone is made anew.
    shutil.rmtree(folder)
    third = run(client, through)
    assert third.state == "SUCCEEDED"
    assert steps(home, third.run_id)["make"]["state"] == "SUCCEEDED"


def test_a_step_reads_its_inputs_and_writes_its_outputs_and_nothing_else(home, client):
    done = run(client, prying)
    (task,) = [step for name, step in steps(home, done.run_id).items() if name == "pry"]
    assert done.state == "SUCCEEDED", task
    (output,) = [output["value"] for output in task["outputs"]["parameters"] if output["parameter_key"] == "Output"]
    found = output if isinstance(output, dict) else json.loads(output)
    environment = json.dumps(found.pop("environment"))
    assert SECRET_KEY not in environment and ACCESS_KEY not in environment and "AWS_" not in environment
    assert found == {
        "own input": 200,
        "another input": 400,
        "out of an input": 400,
        "own output": 200,
        "out of the folder": 400,
        "the log": 400,
    }
    # Who is no running step's pod opens nothing, an administrator neither.
    said = home.kubectl("get", "--raw", "/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy/step", check=False)
    assert "only a step" in said or "Forbidden" in said, said


def test_what_lies_in_the_bucket_is_imported_and_what_lies_beside_the_prefix_is_not(home, client, s3):
    for place in (f"{PREFIX}/given/words", "elsewhere/words"):
        path = s3.buckets / BUCKET / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("given words")
    done = run(client, importing, arguments={"uri": f"s3://{BUCKET}/{PREFIX}/given/words"})
    assert done.state == "SUCCEEDED"
    copied = artifact(steps(home, done.run_id)["copy"], "copied")["uri"]
    assert (s3.buckets / copied.removeprefix("s3://")).read_text() == "given words"
    beside = run(client, importing, arguments={"uri": f"s3://{BUCKET}/elsewhere/words"})
    assert beside.state == "FAILED"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{home.url}/artifacts/get?source=s3&bucket={BUCKET}&key=elsewhere/words", timeout=60)
    assert refused.value.code == 404 and f"s3://{BUCKET}/{PREFIX}" in refused.value.read().decode()


def test_a_wrong_secret_is_said_by_the_pod(home, s3):
    home.kubectl("apply", "-f", "-", stdin=json.dumps(secret(s3.address(f"{BUCKET}/{PREFIX}"), "wrong")))
    restart(home)
    try:
        until(lambda: "not the one of the access key" in home.kubectl("get", "pods", "-n", "kubeflow", "-l", "app=ml-pipeline", "-o", "json"), 240)
    finally:
        home.kubectl("apply", "-f", "-", stdin=json.dumps(secret(s3.address(f"{BUCKET}/{PREFIX}"))))
        restart(home)
        home.kubectl("rollout", "status", "-n", "kubeflow", "deploy/ml-pipeline", "--timeout=120s", timeout=150)


@pytest.mark.parametrize(
    ("bucket", "endpoint", "key", "words"),
    [
        ("no-such-bucket", None, SECRET_KEY, "does not exist: create it"),
        (BUCKET, None, "wrong", "not the one of the access key"),
        (BUCKET, "http://127.0.0.1:9", SECRET_KEY, "cannot be reached: correct endpoint="),
        (BUCKET, None, "", "secret-access-key of the Secret ferroflow-object-store"),
        ("b@d", None, SECRET_KEY, "s3://BUCKET/PREFIX"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_one_sentence_with_the_remedy(home, s3, tmp_path, bucket, endpoint, key, words):
    command = [KFCTL, "controller", "pipelines", "--kubeconfig", home.kubeconfig, "--namespace", "default"]
    command += ["--listen", f"127.0.0.1:{free_port()}", "--health", f"127.0.0.1:{free_port()}"]
    command += ["--state", tmp_path / "state", "--artifacts", tmp_path / "artifacts"]
    env = {**os.environ, "FERROFLOW_OBJECT_STORE": s3.address(bucket, endpoint), "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": key}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env, timeout=240)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and words in said, said
    assert SECRET_KEY not in said
