"""What each kind refuses, and in which words; field validation; defaults."""

import copy

FIELDS = ("Strict", "Warn", "Ignore")


def pod(name="p", **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"schedulerName": "nobody", "containers": [{"name": "main", "image": "a"}], **spec}}


def script(s):
    ns = s.namespace("diff-validation")
    ask = s.ask
    pods = f"{ns}/pods"
    dry = {"dryRun": "All"}
    ask("a pod's defaults", "POST", pods, pod())
    for name, spec in {
        "no containers": {"containers": []},
        "no image": {"containers": [{"name": "main"}]},
        "bad name": {"containers": [{"name": "Main", "image": "a"}]},
        "twice the name": {"containers": [{"name": "m", "image": "a"}, {"name": "m", "image": "b"}]},
        "restart policy": {"restartPolicy": "Sometimes"},
        "pull policy": {"containers": [{"name": "m", "image": "a", "imagePullPolicy": "Maybe"}]},
        "port": {"containers": [{"name": "m", "image": "a", "ports": [{"containerPort": 70000}]}]},
        "port name": {"containers": [{"name": "m", "image": "a", "ports": [{"containerPort": 80, "name": "Way-Too-Long-Name"}]}]},
        "protocol": {"containers": [{"name": "m", "image": "a", "ports": [{"containerPort": 80, "protocol": "XYZ"}]}]},
        "env name": {"containers": [{"name": "m", "image": "a", "env": [{"name": "", "value": "x"}]}]},
        "env both": {"containers": [{"name": "m", "image": "a", "env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]},
        "env field path": {"containers": [{"name": "m", "image": "a", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}]}]},
        "quantity": {"containers": [{"name": "m", "image": "a", "resources": {"limits": {"cpu": "much"}}}]},
        "request over limit": {"containers": [{"name": "m", "image": "a", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]},
        "unknown resource": {"containers": [{"name": "m", "image": "a", "resources": {"limits": {"speed": "1"}}}]},
        "fraction of a gpu": {"containers": [{"name": "m", "image": "a", "resources": {"limits": {"nvidia.com/gpu": "500m"}}}]},
        "gpu without limit": {"containers": [{"name": "m", "image": "a", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]},
        "mount of nothing": {"containers": [{"name": "m", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
        "mount path": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "m", "image": "a", "volumeMounts": [{"name": "v", "mountPath": ""}]}]},
        "mounts clash": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "m", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}]},
        "sub path": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "m", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "../x"}]}]},
        "volume without source": {"volumes": [{"name": "v"}]},
        "volume with two": {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
        "volume twice": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]},
        "volume name": {"volumes": [{"name": "V_", "emptyDir": {}}]},
        "host path": {"volumes": [{"name": "v", "hostPath": {"path": "../x"}}]},
        "probe": {"containers": [{"name": "m", "image": "a", "livenessProbe": {}}]},
        "probe with two": {"containers": [{"name": "m", "image": "a", "livenessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}}]},
        "probe port": {"containers": [{"name": "m", "image": "a", "livenessProbe": {"tcpSocket": {"port": 0}}}]},
        "probe success threshold": {"containers": [{"name": "m", "image": "a", "livenessProbe": {"successThreshold": 2, "tcpSocket": {"port": 1}}}]},
        "probe period": {"containers": [{"name": "m", "image": "a", "readinessProbe": {"periodSeconds": -1, "tcpSocket": {"port": 1}}}]},
        "lifecycle": {"containers": [{"name": "m", "image": "a", "lifecycle": {"preStop": {}}}]},
        "init probe": {"initContainers": [{"name": "i", "image": "a", "readinessProbe": {"tcpSocket": {"port": 1}}}]},
        "sidecar": {"initContainers": [{"name": "i", "image": "a", "restartPolicy": "Always"}]},
        "init restart policy": {"initContainers": [{"name": "i", "image": "a", "restartPolicy": "Never"}]},
        "negative grace": {"terminationGracePeriodSeconds": -1},
        "active deadline": {"activeDeadlineSeconds": 0},
        "dns policy": {"dnsPolicy": "Whatever"},
        "dns none": {"dnsPolicy": "None"},
        "host name": {"hostname": "Not_A_Name"},
        "service account": {"serviceAccountName": "absent"},
        "priority class": {"priorityClassName": "absent"},
        "priority": {"priority": 7},
        "node selector": {"nodeSelector": {"a b": "c"}},
        "affinity": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}},
        "affinity operator": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Likes"}]}]}}}},
        "toleration": {"tolerations": [{"operator": "Exists", "value": "x"}]},
        "toleration effect": {"tolerations": [{"key": "a", "effect": "NoWay"}]},
        "security context": {"securityContext": {"runAsUser": -1}},
        "privileged without escalation": {"containers": [{"name": "m", "image": "a", "securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}]},
        "non root as root": {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}},
        "sysctl": {"securityContext": {"sysctls": [{"name": "bad name", "value": "1"}]}},
        "spread": {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Perhaps"}]},
        "host aliases": {"hostAliases": [{"ip": "x", "hostnames": ["a"]}]},
        "ephemeral at creation": {"ephemeralContainers": [{"name": "e", "image": "a"}]},
        "config map volume": {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 4096}}]},
        "projected": {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "/abs", "expirationSeconds": 5}}]}}]},
        "everything ordinary": {"terminationGracePeriodSeconds": 5, "volumes": [{"name": "e", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s"}}, {"name": "d", "downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.labels"}}]}}], "containers": [{"name": "m", "image": "a:latest", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}}, "envFrom": [{"configMapRef": {"name": "c"}}], "env": [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]},
    }.items():
        ask(f"pod: {name}", "POST", pods, pod("v", **spec), query=dry)
    ask("pod: wrong type", "POST", pods, pod("v", containers="none"), query=dry)
    ask("pod: wrong number", "POST", pods, pod("v", terminationGracePeriodSeconds="soon"), query=dry)
    ask("pod: many faults", "POST", pods, pod("V", restartPolicy="X", containers=[{"name": "", "image": ""}]), query=dry)
    for mode in FIELDS:
        bad = pod("v", extra=1)
        bad["spec"]["containers"][0]["imge"] = "x"
        ask(f"unknown fields {mode}", "POST", pods, bad, query={**dry, "fieldValidation": mode})
        twice = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"v","name":"v"},"spec":{"schedulerName":"nobody","containers":[{"name":"m","image":"a","image":"b"}]}}'
        ask(f"fields twice {mode}", "POST", pods, raw=twice, query={**dry, "fieldValidation": mode})
    ask("unknown mode", "POST", pods, pod("v"), query={**dry, "fieldValidation": "Loose"})
    # What may not change.
    one = s.quietly("GET", f"{pods}/p").json()

    def changed(change):
        copied = copy.deepcopy(one)
        copied["metadata"].pop("resourceVersion")
        change(copied["spec"])
        return copied

    ask("pod image", "PUT", f"{pods}/p", changed(lambda spec: spec["containers"][0].update(image="b")))
    ask("pod command", "PUT", f"{pods}/p", changed(lambda spec: spec["containers"][0].update(image="b", command=["x"])))
    ask("pod grace longer", "PUT", f"{pods}/p", changed(lambda spec: spec.update(terminationGracePeriodSeconds=99)))
    ask("pod another container", "PUT", f"{pods}/p", changed(lambda spec: spec["containers"].append({"name": "x", "image": "y"})))
    ask("pod node name", "PUT", f"{pods}/p", changed(lambda spec: spec.update(nodeName="n")))
    ask("pod deadline", "PUT", f"{pods}/p", changed(lambda spec: spec.update(activeDeadlineSeconds=50)))
    services = f"{ns}/services"
    service = lambda **spec: {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "v"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}], **spec}}
    for name, spec in {
        "headless": {},
        "no ports": {"ports": [], "clusterIP": ""},
        "port 0": {"ports": [{"port": 0}]},
        "two unnamed ports": {"ports": [{"port": 80}, {"port": 81}]},
        "same name": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]},
        "same port": {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
        "type": {"type": "Odd"},
        "bad address": {"clusterIP": "x"},
        "address out of range": {"clusterIP": "192.0.2.1"},
        "external name": {"type": "ExternalName", "clusterIP": "", "externalName": "example.com"},
        "external name bad": {"type": "ExternalName", "clusterIP": "", "externalName": "not a name"},
        "affinity": {"sessionAffinity": "Odd"},
        "selector": {"selector": {"a b": "c"}},
        "target port name": {"ports": [{"port": 80, "targetPort": "THE_PORT"}]},
        "node port without type": {"ports": [{"port": 80, "nodePort": 30080}]},
        "node port out of range": {"type": "NodePort", "clusterIP": "", "ports": [{"port": 80, "nodePort": 80}]},
    }.items():
        ask(f"service: {name}", "POST", services, service(**spec), query=dry)
    ask("service: name with a digit", "POST", services, {**service(), "metadata": {"name": "1a"}}, query=dry)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "a"}]}}
    never = {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}
    selector = {"matchLabels": {"a": "b"}}
    kinds = {
        "deployment": ("apps/v1", "Deployment", {"selector": selector, "template": template}),
        "deployment: other labels": ("apps/v1", "Deployment", {"selector": {"matchLabels": {"x": "y"}}, "template": template}),
        "deployment: no selector": ("apps/v1", "Deployment", {"template": template}),
        "deployment: never": ("apps/v1", "Deployment", {"selector": selector, "template": never}),
        "deployment: strategy": ("apps/v1", "Deployment", {"selector": selector, "template": template, "strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}),
        "deployment: surge": ("apps/v1", "Deployment", {"selector": selector, "template": template, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
        "deployment: percent": ("apps/v1", "Deployment", {"selector": selector, "template": template, "strategy": {"rollingUpdate": {"maxUnavailable": "150%"}}}),
        "deployment: replicas": ("apps/v1", "Deployment", {"selector": selector, "template": template, "replicas": -1}),
        "deployment: progress deadline": ("apps/v1", "Deployment", {"selector": selector, "template": template, "minReadySeconds": 700}),
        "replica set": ("apps/v1", "ReplicaSet", {"selector": selector, "template": template}),
        "stateful set": ("apps/v1", "StatefulSet", {"selector": selector, "template": template, "serviceName": "s"}),
        "stateful set: policy": ("apps/v1", "StatefulSet", {"selector": selector, "template": template, "podManagementPolicy": "Odd"}),
        "daemon set": ("apps/v1", "DaemonSet", {"selector": selector, "template": template}),
        "job": ("batch/v1", "Job", {"template": never}),
        "job: always": ("batch/v1", "Job", {"template": template}),
        "job: negative": ("batch/v1", "Job", {"template": never, "parallelism": -1, "completions": -2, "backoffLimit": -3}),
        "job: own selector": ("batch/v1", "Job", {"template": never, "selector": selector}),
        "job: indexed": ("batch/v1", "Job", {"template": never, "completionMode": "Indexed"}),
        "job: failure policy": ("batch/v1", "Job", {"template": never, "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0]}}]}}),
        "cron job": ("batch/v1", "CronJob", {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": never}}}),
        "cron job: schedule": ("batch/v1", "CronJob", {"schedule": "often", "jobTemplate": {"spec": {"template": never}}}),
        "cron job: zone": ("batch/v1", "CronJob", {"schedule": "TZ=UTC 0 0 * * *", "timeZone": "Nowhere/Land", "jobTemplate": {"spec": {"template": never}}}),
        "cron job: policy": ("batch/v1", "CronJob", {"schedule": "0 0 * * *", "concurrencyPolicy": "Odd", "jobTemplate": {"spec": {"template": never}}}),
        "ingress": ("networking.k8s.io/v1", "Ingress", {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}),
        "ingress: nothing": ("networking.k8s.io/v1", "Ingress", {}),
        "ingress: path": ("networking.k8s.io/v1", "Ingress", {"rules": [{"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}),
        "network policy": ("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}),
        "network policy: block": ("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "x"}}]}]}),
        "budget": ("policy/v1", "PodDisruptionBudget", {"selector": selector, "minAvailable": 1}),
        "budget: both": ("policy/v1", "PodDisruptionBudget", {"selector": selector, "minAvailable": 1, "maxUnavailable": 1}),
        "autoscaler": ("autoscaling/v2", "HorizontalPodAutoscaler", {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3}),
        "autoscaler: bounds": ("autoscaling/v2", "HorizontalPodAutoscaler", {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "minReplicas": 5, "maxReplicas": 3}),
        "claim": ("v1", "PersistentVolumeClaim", {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}),
        "claim: mode": ("v1", "PersistentVolumeClaim", {"accessModes": ["Odd"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}),
        "claim: nothing": ("v1", "PersistentVolumeClaim", {"storageClassName": "none"}),
        "quota": ("v1", "ResourceQuota", {"hard": {"pods": "5"}}),
        "quota: bad": ("v1", "ResourceQuota", {"hard": {"pods": "-5", "x y": "1"}}),
        "limits": ("v1", "LimitRange", {"limits": [{"type": "Container", "default": {"cpu": "1"}, "max": {"cpu": "500m"}}]}),
        "lease": ("coordination.k8s.io/v1", "Lease", {"holderIdentity": "x", "leaseDurationSeconds": 0}),
        "controller": ("v1", "ReplicationController", {"selector": {"a": "b"}, "template": template}),
    }
    plurals = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
    for name, (version, kind, spec) in kinds.items():
        group = "/api/v1" if version == "v1" else f"/apis/{version}"
        path = f"{group}/namespaces/diff-validation/{plurals.get(kind, kind.lower() + 's')}"
        ask(name, "POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": "v"}, "spec": spec}, query=dry)
    for name, secret in {
        "secret: tls": {"type": "kubernetes.io/tls", "data": {}},
        "secret: docker": {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "x"}},
        "secret: base64": {"data": {"a": "!"}},
        "secret: token": {"type": "kubernetes.io/service-account-token"},
        "secret: basic": {"type": "kubernetes.io/basic-auth", "stringData": {"x": "y"}},
        "secret: both": {"data": {"a": "YQ=="}, "stringData": {"a": "b", "c": "d"}},
    }.items():
        ask(name, "POST", f"{ns}/secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "v"}, **secret}, query=dry)
    ask("storage class", "POST", "/apis/storage.k8s.io/v1/storageclasses", {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "v"}, "provisioner": ""}, query=dry)
    ask("priority class", "POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "v"}, "value": 2_000_000_000}, query=dry)
    ask("priority class of the system", "POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "system-x"}, "value": 2}, query=dry)
    ask("namespace name", "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}, query=dry)
    ask("namespace", "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dry"}}, query=dry)
    ask("node", "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "dry"}, "spec": {"podCIDR": "x"}}, query=dry)
    ask("event", "POST", f"{ns}/events", {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "v"}, "involvedObject": {"kind": "Pod", "namespace": "other"}}, query=dry)
