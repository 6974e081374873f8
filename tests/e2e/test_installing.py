"""The guide's other two ways, by the real kustomize and Helm, and that all four ways mean the same objects. Run by
`cargo xtask e2e --installing`, which builds both tools; the plain suite leaves this file out."""

import functools
import http.server
import json
import os
import subprocess
import threading

import pytest
import yaml
from conftest import KFCTL
from forward import Forward

KUSTOMIZE = os.environ.get("FERROFLOW_KUSTOMIZE", "kustomize")
HELM = os.environ.get("FERROFLOW_HELM", "helm")


def run(command, *, check=True, timeout=300, **options):
    options.setdefault("env", {**os.environ, "NO_COLOR": "1"})
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    run([KFCTL, "export", "kustomize", "--to", folder / "manifests"])
    run([KFCTL, "export", "chart", "--to", folder / "chart"])
    run([KFCTL, "export", "chart-repository", "--to", folder / "repository"])
    return folder


@pytest.fixture(scope="module")
def cluster(bare):
    return bare


@pytest.fixture(scope="module")
def helm(cluster, tmp_path_factory):
    home = tmp_path_factory.mktemp("helm")
    env = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "HELM_CACHE_HOME": str(home / "cache"),
        "HELM_CONFIG_HOME": str(home / "config"),
        "HELM_DATA_HOME": str(home / "data"),
    }
    return functools.partial(lambda *arguments, **options: run([HELM, *arguments], env=env, **options))


def objects(text):
    found = {}
    for document in yaml.safe_load_all(text):
        if document:
            metadata = document["metadata"]
            key = (document["kind"], metadata.get("namespace"), metadata["name"])
            assert key not in found, key
            found[key] = document
    return found


def test_the_four_ways_are_the_same_objects(exported, tmp_path):
    kustomize = objects(run([KUSTOMIZE, "build", exported / "manifests/example"]).stdout)
    assert len(kustomize) == 32
    built = objects(run([KFCTL, "build", "-d", "-f", "kfdef_k8s_istio.v1.7.0.yaml"], cwd=tmp_path).stdout)
    assert built == kustomize
    # kustomize itself reads what `kfctl build` wrote.
    folders = sorted((tmp_path / "kustomize").iterdir())
    assert objects("---\n".join(run([KUSTOMIZE, "build", folder]).stdout for folder in folders)) == kustomize
    # `--create-namespace` makes the release's own namespace; everything else is in the chart.
    chart = objects(run([HELM, "template", "kubeflow", exported / "chart/kubeflow", "-n", "kubeflow", "--skip-tests", "--kube-version", "1.33"]).stdout)
    del kustomize["Namespace", None, "kubeflow"]
    assert chart == kustomize


@pytest.mark.one_machine
def test_what_up_installs_is_what_kustomize_renders(exported, platform):
    """The platform of the suite: every object is there, as kustomize renders it for one machine."""
    rendered = objects(run([KUSTOMIZE, "build", exported / "manifests/one-machine"]).stdout)
    for (kind, namespace, name), wanted in rendered.items():
        place = ["-n", namespace] if namespace else []
        there = json.loads(platform.kubectl("get", kind, name, *place, "-o", "json"))
        is_within(wanted, there, f"{kind} {name}")


def is_within(wanted, there, path):
    """Everything that is wanted is there; defaults may have joined it."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in there, f"{path}.{key}"
            is_within(value, there[key], f"{path}.{key}")
    elif isinstance(wanted, list):
        assert len(wanted) == len(there), path
        for index, (one, other) in enumerate(zip(wanted, there)):
            is_within(one, other, f"{path}[{index}]")
    else:
        assert wanted == there, path


def test_the_loop_of_the_guide_ends_by_itself(exported, cluster, tmp_path):
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "kustomize").symlink_to(KUSTOMIZE)
    loop = 'while ! kustomize build example | kubectl apply -f -; do echo "Retrying to apply resources"; sleep 10; done'
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": f"{bin}:{os.environ['PATH']}"}
    said = run(["bash", "-c", loop], cwd=exported / "manifests", env=env).stdout
    assert said.count("Retrying") <= 1 and said.count(" created") == 32, said
    for namespace, name in [("kubeflow", "ml-pipeline"), ("kubeflow", "dashboard"), ("istio-system", "istio-ingressgateway")]:
        cluster.kubectl("rollout", "status", "-n", namespace, f"deploy/{name}", "--timeout=150s", timeout=180)
    again = run(["bash", "-c", loop], cwd=exported / "manifests", env=env).stdout
    # kubectl itself always sends a budget's selector again.
    changed = [line for line in again.splitlines() if not line.endswith(" unchanged")]
    assert len(again.splitlines()) == 32 and all(line.startswith("poddisruptionbudget.policy/") for line in changed), again
    with Forward(cluster) as gateway:
        answer, page = gateway.ask("GET", "/login")
        assert answer.status == 200 and "kubeflow-initial-admin" in page
    run([KUSTOMIZE, "build", exported / "manifests/example", "-o", tmp_path / "all.yaml"])
    cluster.kubectl("delete", "--wait", "--ignore-not-found", "-f", tmp_path / "all.yaml", timeout=180)


def test_helm_from_a_repository_to_uninstall(exported, cluster, helm):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(exported / "repository"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        helm("repo", "add", "kubeflow", f"http://127.0.0.1:{server.server_port}")
        helm("repo", "update")
        said = helm("install", "kubeflow", "kubeflow/kubeflow", "-n", "kubeflow", "--create-namespace", "--wait", "--timeout", "150s").stdout
    finally:
        server.shutdown()
    assert "STATUS: deployed" in said and "kubeflow-initial-admin" in said, said
    assert "sh.helm.release.v1.kubeflow.v1" in cluster.kubectl("get", "secrets", "-n", "kubeflow")
    assert "Succeeded" in helm("test", "kubeflow", "-n", "kubeflow", "--timeout", "120s").stdout
    chart = exported / "chart/kubeflow"
    refused = helm("upgrade", "kubeflow", chart, "-n", "kubeflow", "--set", "components.katib.enabled=true", check=False)
    assert refused.returncode != 0 and "katib" in refused.stderr, refused.stderr
    helm("upgrade", "kubeflow", chart, "-n", "kubeflow", "--set", "components.gateway.enabled=false,networkPolicies=false", "--wait", "--timeout", "150s")
    assert cluster.kubectl("get", "networkpolicy", "-A", "-o", "name").strip() == ""
    assert "NotFound" in cluster.kubectl("get", "deploy", "-n", "istio-system", "istio-ingressgateway", check=False)
    helm("upgrade", "kubeflow", chart, "-n", "kubeflow", "--reset-values", "--wait", "--timeout", "150s")
    assert "istio-ingressgateway" in cluster.kubectl("get", "deploy", "-n", "istio-system", "-o", "name")
    assert "deployed" in helm("status", "kubeflow", "-n", "kubeflow").stdout
    helm("rollback", "kubeflow", "1", "-n", "kubeflow", "--wait", "--timeout", "150s")
    helm("uninstall", "kubeflow", "-n", "kubeflow", "--wait", "--timeout", "150s")
    assert cluster.kubectl("get", "deploy", "-A", "-o", "name").strip() == ""
    # What users made stays.
    assert "ml-pipeline-data" in cluster.kubectl("get", "pvc", "-n", "kubeflow")


def test_the_chart_refuses_another_namespace(exported):
    done = run([HELM, "template", "kubeflow", exported / "chart/kubeflow", "-n", "other", "--kube-version", "1.33"], check=False)
    assert done.returncode != 0 and "-n kubeflow --create-namespace" in done.stderr, done.stderr


def test_replicas_of_pipelines_share_a_database_server(exported):
    template = [HELM, "template", "kubeflow", exported / "chart/kubeflow", "-n", "kubeflow", "--kube-version", "1.33"]
    template += ["--show-only", "templates/pipelines/deployment-ml-pipeline.yaml"]
    two = ["--set", "components.pipelines.replicas=2"]
    done = run([*template, *two], check=False)
    assert done.returncode != 0 and "database.secretName" in done.stderr, done.stderr
    alone = yaml.safe_load(run(template).stdout)["spec"]
    assert (alone["replicas"], alone["strategy"]) == (1, {"type": "Recreate"})
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "ml-pipeline-data"}} in alone["template"]["spec"]["volumes"]
    shared = yaml.safe_load(run([*template, *two, "--set", "database.secretName=runs"]).stdout)["spec"]
    assert (shared["replicas"], shared["strategy"]) == (2, {"type": "RollingUpdate"})
    pod = shared["template"]["spec"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "64Mi"}} in pod["volumes"]
    url = next(variable for variable in pod["containers"][0]["env"] if variable["name"] == "FERROFLOW_DATABASE_URL")
    assert url["valueFrom"]["secretKeyRef"] == {"name": "runs", "key": "url", "optional": False}


def test_artifacts_in_a_bucket_need_a_secret_and_no_claim(exported):
    template = [HELM, "template", "kubeflow", exported / "chart/kubeflow", "-n", "kubeflow", "--kube-version", "1.33"]

    def rendered(text):
        objects = {(thing["kind"], thing["metadata"]["name"]): thing for thing in yaml.safe_load_all(text) if thing}
        pod = objects["Deployment", "ml-pipeline"]["spec"]["template"]["spec"]
        env = {variable["name"]: variable["valueFrom"].get("secretKeyRef") for variable in pod["containers"][0]["env"]}
        volume = next(volume for volume in pod["volumes"] if volume["name"] == "artifacts")
        return env, volume, ("PersistentVolumeClaim", "ferroflow-artifacts") in objects

    env, volume, has_claim = rendered(run(template).stdout)
    assert has_claim and volume["persistentVolumeClaim"] == {"claimName": "ferroflow-artifacts"}
    assert env["FERROFLOW_OBJECT_STORE"] == {"name": "ferroflow-object-store", "key": "url", "optional": True}
    env, volume, has_claim = rendered(run([*template, "--set", "objectStore.secretName=minio"]).stdout)
    assert not has_claim and volume == {"name": "artifacts", "emptyDir": {"sizeLimit": "64Mi"}}
    assert env["AWS_SECRET_ACCESS_KEY"] == {"name": "minio", "key": "secret-access-key", "optional": False}
    assert env["AWS_SESSION_TOKEN"] == {"name": "minio", "key": "session-token", "optional": True}
    assert env["FERROFLOW_DATABASE_URL"]["optional"] is True
    by_kustomize = rendered(run([KUSTOMIZE, "build", exported / "manifests/s3"]).stdout)
    assert by_kustomize[1:] == (volume, False)
    assert by_kustomize[0]["FERROFLOW_OBJECT_STORE"]["optional"] is False


def test_every_switch_of_the_values_is_in_their_schema(exported):
    folder = exported / "chart/kubeflow"
    values = yaml.safe_load((folder / "values.yaml").read_text())
    schema = json.loads((folder / "values.schema.json").read_text())

    def walk(values, schema, path):
        for key, value in values.items():
            assert key in schema.get("properties", {}), f"{path}{key}"
            if isinstance(value, dict) and "properties" in schema["properties"][key]:
                assert schema["properties"][key]["additionalProperties"] is False, f"{path}{key}"
                walk(value, schema["properties"][key], f"{path}{key}.")

    walk(values, schema, "")


def test_the_repository_is_the_same_every_time(exported, tmp_path):
    run([KFCTL, "export", "chart-repository", "--to", tmp_path])
    for file in (exported / "repository").iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes()
