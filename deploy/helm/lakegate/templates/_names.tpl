{{- /* Names and labels that the templates share. */ -}}

{{- define "lakegate.name" -}}
{{- if .Values.nameOverride -}}{{ .Values.nameOverride }}
{{- else if contains "lakegate" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-lakegate" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "lakegate.selector" -}}
app.kubernetes.io/name: lakegate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lakegate.labels" -}}
{{ include "lakegate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: gateway
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "lakegate.metadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "lakegate.labels" . | nindent 2 }}
{{- end -}}

{{- define "lakegate.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "lakegate.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "lakegate.image" -}}
{{- if .Values.image.digest -}}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
