"""What a ContainerOp becomes in the compiled pipeline."""

import pathlib
import subprocess
import sys

import pytest
import yaml
from kfp import compiler, dsl

import ferroflow_kfp

MODULE = pathlib.Path(__file__).parents[1]


def compiled(pipeline, tmp_path):
    """The two documents of the compiled pipeline; the second is empty where there is none."""
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    documents = list(yaml.safe_load_all(path.read_text()))
    return documents[0], documents[1] if len(documents) > 1 else {}


def container(document, step):
    return document["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def test_the_guides_pipeline_compiles_unchanged_to_three_ordered_steps(tmp_path):
    guide = pathlib.Path(__file__).parents[3] / "examples/guide/pipeline.py"
    output = tmp_path / "guide.yaml"
    subprocess.run([sys.executable, "-m", "ferroflow_kfp", "compile", str(guide), "--output", str(output)], check=True, cwd=MODULE)
    document, platform = list(yaml.safe_load_all(output.read_text()))
    tasks = document["root"]["dag"]["tasks"]
    assert tasks["train"]["dependentTasks"] == ["preprocess"]
    assert tasks["validate"]["dependentTasks"] == ["train"]
    train = container(document, "train")
    assert train["image"] == "train:latest"
    assert train["command"] == ["python", "train.py"]
    assert train["args"] == ["--data", "/data/processed", "--output", "/models/llm"]
    assert train["resources"]["accelerator"]["resourceCount"] == "1"
    assert train["resources"]["resourceMemoryLimit"] == "32Gi"
    assert all("enableCache" not in task["cachingOptions"] for task in tasks.values())
    marks = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]["podMetadata"]["annotations"]
    assert marks == {"ferroflow.io/container-op": "true"}


def test_an_output_file_flows_into_the_next_steps_arguments(tmp_path):
    @dsl.pipeline(name="flow")
    def flow(count: int = 3):
        make = dsl.ContainerOp("make", "alpine", ["sh", "-c", "echo $0 > /tmp/n"], [count], file_outputs={"n-value": "/tmp/n"})
        dsl.ContainerOp("use", "alpine", ["echo"], [make.output, f"<{make.outputs['n-value']}>", "plain"])

    document, _ = compiled(flow, tmp_path)
    use = document["root"]["dag"]["tasks"]["use"]["inputs"]["parameters"]
    assert use["input0"]["taskOutputParameter"] == {"outputParameterKey": "n_value", "producerTask": "make"}
    assert use["input1"]["runtimeValue"]["constant"].startswith("<{{$.inputs.parameters[")
    assert container(document, "use")["args"] == ["{{$.inputs.parameters['input0']}}", "{{$.inputs.parameters['input1']}}", "plain"]
    make = document["root"]["dag"]["tasks"]["make"]["inputs"]["parameters"]
    assert make["input0"]["componentInputParameter"] == "count"


def test_the_wrapper_copies_output_files_and_keeps_the_exit_code(tmp_path):
    from ferroflow_kfp.container_op import _COPY_OUTPUTS

    wrote, target = tmp_path / "wrote", tmp_path / "deep" / "target"
    command = ["sh", "-c", _COPY_OUTPUTS, "sh", "1", str(wrote), str(target)]
    subprocess.run([*command, "sh", "-c", f"echo 'two words' > {wrote}"], check=True)
    assert target.read_text() == "two words\n"
    assert subprocess.run([*command, "sh", "-c", "exit 7"]).returncode == 7
    wrote.unlink()
    missing = subprocess.run([*command, "true"], capture_output=True, text=True)
    assert missing.returncode != 0 and str(wrote) in missing.stderr


def test_limits_and_environment_are_set_the_old_way(tmp_path):
    @dsl.pipeline(name="limits")
    def limits():
        step = dsl.ContainerOp("step", "alpine", ["true"])
        step.container.set_memory_limit("2Gi").set_cpu_limit("500m")
        step.set_gpu_limit(2).add_env_variable({"name": "COLOUR", "value": "red"})
        step.add_pod_label("team", "a").set_retry(3)

    document, platform = compiled(limits, tmp_path)
    step = container(document, "step")
    assert step["env"] == [{"name": "COLOUR", "value": "red"}]
    assert step["resources"]["accelerator"] == {"count": "2", "resourceCount": "2", "resourceType": "nvidia.com/gpu", "type": "nvidia.com/gpu"}
    assert step["resources"]["resourceCpuLimit"] == "500m"
    assert document["root"]["dag"]["tasks"]["step"]["retryPolicy"]["maxRetryCount"] == 3
    metadata = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-step"]["podMetadata"]
    assert metadata["labels"] == {"team": "a"}


def test_a_step_can_depend_on_a_component_of_the_current_sdk_and_the_other_way_round(tmp_path):
    @dsl.component
    def number() -> int:
        return 3

    @dsl.pipeline(name="mixed")
    def mixed():
        first = number()
        second = dsl.ContainerOp("second", "alpine", ["echo"], [first.output])
        number().after(second)

    document, _ = compiled(mixed, tmp_path)
    tasks = document["root"]["dag"]["tasks"]
    assert tasks["second"]["inputs"]["parameters"]["input0"]["taskOutputParameter"]["producerTask"] == "number"
    assert tasks["number-2"]["dependentTasks"] == ["second"]


def test_conditions_and_exit_handlers_take_such_steps(tmp_path):
    @dsl.pipeline(name="flowers")
    def flowers():
        done = dsl.ContainerOp("done", "alpine", ["echo", "done"], is_exit_handler=True)
        with dsl.ExitHandler(done):
            pick = dsl.ContainerOp("pick", "alpine", ["sh", "-c", "echo rose > /tmp/f"], file_outputs={"f": "/tmp/f"})
            with dsl.Condition(pick.output == "rose"):
                dsl.ContainerOp("praise", "alpine", ["echo", "nice"])

    document, _ = compiled(flowers, tmp_path)
    assert document["root"]["dag"]["tasks"]["done"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    conditions = [name for name, component in document["components"].items() if "praise" in component.get("dag", {}).get("tasks", {})]
    assert len(conditions) == 1 and conditions[0].startswith("comp-condition")


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"pvolumes": {"/x": 1}}, NotImplementedError, "volumes"),
        ({"colour": "red"}, TypeError, "colour"),
        ({"resources": {"gpus": 1}}, ValueError, "gpus"),
        ({"file_outputs": {"a": "/a"}}, ValueError, "needs a command"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):

        @dsl.pipeline(name="refused")
        def refused():
            dsl.ContainerOp("step", "alpine", **arguments)


def test_a_file_with_several_pipelines_asks_which(tmp_path):
    file = tmp_path / "several.py"
    file.write_text(
        "from kfp import dsl\n"
        + "".join(
            f"@dsl.pipeline(name='{name}')\ndef {name}():\n    dsl.ContainerOp('s', 'alpine', ['true'])\n" for name in ("one", "two")
        )
    )
    command = [sys.executable, "-m", "ferroflow_kfp", "compile", str(file), "--output", str(tmp_path / "o.yaml")]
    asked = subprocess.run(command, capture_output=True, text=True, cwd=MODULE)
    assert asked.returncode == 2 and "one, two" in asked.stderr
    subprocess.run([*command, "--function", "two"], check=True, cwd=MODULE)
    assert "name: two" in (tmp_path / "o.yaml").read_text()


def test_the_installed_sdk_is_left_alone_where_it_has_the_name(monkeypatch):
    own = object()
    monkeypatch.setattr(dsl, "ContainerOp", own)
    ferroflow_kfp.activate()
    assert dsl.ContainerOp is own
