{{- define "kubeflow.image" -}}
{{- if ne .Release.Namespace "kubeflow" }}
{{- fail "the components find each other in the namespace kubeflow: install with -n kubeflow --create-namespace" }}
{{- end -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
