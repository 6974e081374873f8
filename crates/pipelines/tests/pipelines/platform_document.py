"""The platform document: volumes, secrets, labels, tolerations, and a claim of the pipeline's own."""
from kfp import dsl, kubernetes

from components import say


@dsl.pipeline(name='kubernetes')
def pipeline(secret: str = 'creds'):
    claim = kubernetes.CreatePVC(pvc_name_suffix='-data', access_modes=['ReadWriteOnce'], size='1Gi')
    task = say(text='mounted')
    kubernetes.mount_pvc(task, pvc_name=claim.outputs['name'], mount_path='/data')
    kubernetes.use_secret_as_env(task, secret_name=secret, secret_key_to_env={'password': 'PASSWORD'})
    kubernetes.use_config_map_as_volume(task, config_map_name='settings', mount_path='/etc/settings')
    kubernetes.add_node_selector(task, 'disk', 'fast')
    kubernetes.add_toleration(task, key='gpu', operator='Exists', effect='NoSchedule')
    kubernetes.add_pod_label(task, 'team', 'a')
    kubernetes.add_pod_annotation(task, 'note', 'b')
    kubernetes.use_field_path_as_env(task, 'POD', 'metadata.name')
    kubernetes.set_timeout(task, 600)
    kubernetes.set_image_pull_policy(task, 'IfNotPresent')
    kubernetes.empty_dir_mount(task, volume_name='scratch', mount_path='/scratch')
    kubernetes.DeletePVC(pvc_name=claim.outputs['name']).after(task)


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.say': {'Output': 'mounted'}}}
