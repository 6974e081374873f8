"""Adds ``dsl.ContainerOp`` to the installed Kubeflow Pipelines SDK, which dropped it with version 2."""

from ferroflow_kfp.container_op import ContainerOp, activate

__all__ = ["ContainerOp", "activate"]

activate()
