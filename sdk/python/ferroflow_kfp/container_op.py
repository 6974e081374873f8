"""A step of the first SDK as a task of the current one.

``ContainerOp(...)`` builds a container component on the spot, instantiates it in the pipeline that is being
defined, and gives the task the methods that users of the first SDK know. Values that flow in from other
steps or from pipeline parameters become inputs of the component; ``file_outputs`` become its outputs.
"""

import json
from typing import Any, Dict, List, Optional, Sequence, Union

from kfp import dsl
from kfp.dsl import container_component_class, pipeline_channel, pipeline_task, placeholders, structures

MARK = "ferroflow.io/container-op"
"""Pod annotation by which the server knows such a step, and shares its absolute paths within the run."""

_COPY_OUTPUTS = r"""
count=$1; shift
pairs=
while [ "$count" -gt 0 ]; do
  pairs="$pairs$1
$2
"
  shift 2; count=$((count - 1))
done
"$@" || exit $?
printf %s "$pairs" | while IFS= read -r from && IFS= read -r to; do
  mkdir -p "$(dirname "$to")" && cp "$from" "$to" || { echo "the step did not write its output file $from" >&2; exit 1; }
done
"""
"""Runs the step, then copies each file of ``file_outputs`` to where the server looks for it."""

_LATER = {
    "pvolumes": "volumes",
    "init_containers": "init containers",
    "sidecars": "sidecars",
    "artifact_argument_paths": "artifact arguments",
    "output_artifact_paths": "output artifacts",
}


class ContainerOp(pipeline_task.PipelineTask):
    """One container, with the constructor and the methods of the first SDK.

    Args:
        name: Name of the step.
        image: Image to run; may come from a pipeline parameter.
        command: Program and first arguments.
        arguments: Further arguments; outputs of other steps and pipeline parameters are filled in at run time.
        file_outputs: Output name to the absolute path that the program writes.
        resources: Short form of limits: ``gpu``, ``memory``, ``cpu``.
        container_kwargs: ``resources``, ``env``, ``image_pull_policy`` of the container, as dictionaries or objects.
        is_exit_handler: Accepted; ``dsl.ExitHandler(op)`` alone decides.
    """

    def __new__(
        cls,
        name: str,
        image: Any,
        command: Union[str, Sequence[Any], None] = None,
        arguments: Union[str, Sequence[Any], None] = None,
        file_outputs: Optional[Dict[str, str]] = None,
        resources: Optional[Dict[str, Any]] = None,
        container_kwargs: Optional[Dict[str, Any]] = None,
        is_exit_handler: bool = False,
        **others: Any,
    ) -> "ContainerOp":
        del is_exit_handler
        for key, value in others.items():
            if key not in _LATER:
                raise TypeError(f"ContainerOp({name!r}): unknown argument {key!r}")
            if value:
                raise NotImplementedError(
                    f"ContainerOp({name!r}): {_LATER[key]} ({key}=) are not supported yet; "
                    "pass files between steps by file_outputs or by a shared path such as /data"
                )
        inputs: Dict[str, Any] = {}
        command_line = [_take(inputs, part) for part in _listed(name, "command", command)]
        argument_list = [_take(inputs, part) for part in _listed(name, "arguments", arguments)]
        outputs = {_identifier(key): path for key, path in (file_outputs or {}).items()}
        if outputs:
            if not command_line:
                raise ValueError(f"ContainerOp({name!r}): file_outputs needs a command, since the image's own is not known here")
            pairs: List[Any] = [str(len(outputs))]
            for key, path in outputs.items():
                pairs += [path, placeholders.OutputParameterPlaceholder(key)]
            command_line = ["sh", "-c", _COPY_OUTPUTS, "sh", *pairs, *command_line]
        spec = structures.ComponentSpec(
            name=name,
            inputs={key: structures.InputSpec(_type_of(value)) for key, value in inputs.items()},
            outputs={key: structures.OutputSpec("String") for key in outputs},
            implementation=structures.Implementation(
                container=structures.ContainerSpecImplementation(
                    image=image if isinstance(image, str) else "", command=command_line, args=argument_list
                )
            ),
        )
        component = container_component_class.ContainerComponent(spec, lambda: None)
        task = component(**inputs)
        task.__class__ = cls
        task._file_outputs = {key: _identifier(key) for key in (file_outputs or {})}
        if not isinstance(image, str):
            task.set_container_image(image)
        task.add_pod_annotation(MARK, "true")
        # What such a step makes lies on shared paths of its run; a cached result would leave them empty.
        task.set_caching_options(False)
        task._take_resources(resources or {})
        task._take_container(container_kwargs or {})
        return task

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Everything was done in ``__new__``, where the task comes into being."""

    @property
    def container(self) -> "ContainerOp":
        """The step's container: the same methods."""
        return self

    @property
    def outputs(self) -> Dict[str, Any]:
        """Outputs by the names of ``file_outputs``; ``output`` too where there is one only."""
        by_identifier = super().outputs
        named = {key: by_identifier[identifier] for key, identifier in getattr(self, "_file_outputs", {}).items()}
        if len(named) == 1:
            named.setdefault("output", next(iter(named.values())))
        return {**by_identifier, **named}

    @property
    def output(self) -> Any:
        """The only output."""
        named = getattr(self, "_file_outputs", {})
        if len(named) != 1:
            raise AttributeError(f"step {self.name!r} has {len(named)} outputs; choose one of .outputs[…]: {sorted(named)}")
        return super().outputs[next(iter(named.values()))]

    def set_gpu_limit(self, gpu: Union[int, str], vendor: str = "nvidia") -> "ContainerOp":
        """Asks for whole GPUs."""
        self.set_accelerator_type(vendor if "/" in vendor else f"{vendor}.com/gpu")
        self.set_accelerator_limit(int(gpu))
        return self

    def add_resource_limit(self, resource: str, value: Any) -> "ContainerOp":
        """Sets one limit by its Kubernetes name."""
        if resource == "memory":
            self.set_memory_limit(str(value))
        elif resource == "cpu":
            self.set_cpu_limit(str(value))
        elif resource.endswith("/gpu"):
            self.set_gpu_limit(value, vendor=resource)
        else:
            raise NotImplementedError(f"step {self.name!r}: limits on {resource!r} are not supported yet")
        return self

    def add_resource_request(self, resource: str, value: Any) -> "ContainerOp":
        """Sets one request by its Kubernetes name."""
        if resource == "memory":
            self.set_memory_request(str(value))
        elif resource == "cpu":
            self.set_cpu_request(str(value))
        else:
            raise NotImplementedError(f"step {self.name!r}: requests of {resource!r} are not supported yet")
        return self

    def add_env_variable(self, env_variable: Any) -> "ContainerOp":
        """Adds a variable: an object or dictionary with ``name`` and ``value``."""
        name, value = _field(env_variable, "name"), _field(env_variable, "value")
        if _field(env_variable, "value_from") or _field(env_variable, "valueFrom"):
            raise NotImplementedError(f"step {self.name!r}: the variable {name!r} from a Secret or a ConfigMap: use kfp-kubernetes")
        self.set_env_variable(name, "" if value is None else str(value))
        return self

    def set_image_pull_policy(self, policy: str) -> "ContainerOp":
        """``Always``, ``Never`` or ``IfNotPresent``."""
        self._kubernetes()["imagePullPolicy"] = policy
        return self

    def set_retry(self, num_retries: int, *_policy: Any, **backoff: Any) -> "ContainerOp":
        """Tries again after a failure."""
        known = {key: value for key, value in backoff.items() if key in ("backoff_duration", "backoff_factor", "backoff_max_duration")}
        return super().set_retry(num_retries, **known)

    def add_pod_annotation(self, name: str, value: str) -> "ContainerOp":
        """Adds an annotation to the step's pod."""
        self._pod_metadata("annotations")[name] = value
        return self

    def add_pod_label(self, name: str, value: str) -> "ContainerOp":
        """Adds a label to the step's pod."""
        self._pod_metadata("labels")[name] = value
        return self

    def add_node_selector_constraint(self, label_name: str, value: str = "") -> "ContainerOp":
        """Lets the step run only on nodes with this label."""
        self._kubernetes().setdefault("nodeSelector", {}).setdefault("labels", {})[label_name] = value
        return self

    def add_volume(self, *_args: Any) -> "ContainerOp":
        """Not yet."""
        raise NotImplementedError(f"step {self.name!r}: volumes are not supported yet; a shared path such as /data needs none")

    add_volume_mount = add_pvolumes = add_init_container = add_sidecar = add_volume

    def _kubernetes(self) -> Dict[str, Any]:
        return self.platform_config.setdefault("kubernetes", {})

    def _pod_metadata(self, kind: str) -> Dict[str, str]:
        return self._kubernetes().setdefault("podMetadata", {}).setdefault(kind, {})

    def _take_resources(self, resources: Dict[str, Any]) -> None:
        setters = {"gpu": self.set_gpu_limit, "memory": self.set_memory_limit, "cpu": self.set_cpu_limit}
        for key, value in resources.items():
            if key not in setters:
                raise ValueError(f"step {self.name!r}: resources has no {key!r}; it knows {', '.join(setters)}")
            setters[key](value if key == "gpu" else str(value))

    def _take_container(self, settings: Dict[str, Any]) -> None:
        for key, value in settings.items():
            if key == "resources":
                for resource, amount in (_field(value, "limits") or {}).items():
                    self.add_resource_limit(resource, amount)
                for resource, amount in (_field(value, "requests") or {}).items():
                    self.add_resource_request(resource, amount)
            elif key == "env":
                for variable in value:
                    self.add_env_variable(variable)
            elif key == "image_pull_policy":
                self.set_image_pull_policy(value)
            else:
                raise NotImplementedError(f"step {self.name!r}: container_kwargs[{key!r}] is not supported yet")


def activate() -> None:
    """Puts ``ContainerOp`` into ``kfp.dsl`` where it is missing."""
    if not hasattr(dsl, "ContainerOp"):
        dsl.ContainerOp = ContainerOp


def _listed(step: str, what: str, value: Any) -> List[Any]:
    if value is None:
        return []
    if isinstance(value, (str, pipeline_channel.PipelineChannel)):
        return [value]
    if isinstance(value, (list, tuple)):
        return list(value)
    raise TypeError(f"ContainerOp({step!r}): {what} must be a list, not {type(value).__name__}")


def _take(inputs: Dict[str, Any], part: Any) -> Any:
    """``part`` as the component sees it; what flows in from outside becomes an input."""
    if isinstance(part, pipeline_task.PipelineTask):
        part = part.output
    if not isinstance(part, pipeline_channel.PipelineChannel):
        if isinstance(part, (dict, list)):
            part = json.dumps(part)
        part = str(part)
        if not pipeline_channel.extract_pipeline_channels_from_string(part):
            return part
    for name, known in inputs.items():
        if type(known) is type(part) and str(known) == str(part):
            return placeholders.InputValuePlaceholder(name)
    name = f"input{len(inputs)}"
    inputs[name] = part
    return placeholders.InputValuePlaceholder(name)


def _type_of(value: Any) -> str:
    if isinstance(value, pipeline_channel.PipelineParameterChannel):
        return str(value.channel_type)
    if isinstance(value, pipeline_channel.PipelineArtifactChannel):
        raise NotImplementedError(f"{value.full_name}: an artifact cannot be an argument of a ContainerOp; pass its path as a parameter")
    return "String"


def _identifier(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
