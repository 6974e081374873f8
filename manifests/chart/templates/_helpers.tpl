{{- define "kubeflow.image" -}}
{{- if ne .Release.Namespace "kubeflow" }}
{{- fail "the components find each other in the namespace kubeflow: install with -n kubeflow --create-namespace" }}
{{- end -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "kubeflow.pipelines.replicas" -}}
{{- if and (gt (int .Values.components.pipelines.replicas) 1) (empty .Values.database.secretName) }}
{{- fail "several replicas of pipelines share a PostgreSQL server: name the Secret with its URL in database.secretName, or set components.pipelines.replicas to 1" }}
{{- end -}}
{{ .Values.components.pipelines.replicas }}
{{- end }}
