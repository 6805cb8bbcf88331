{{- define "workload.name" -}}
{{- .Values.nameOverride | default .Release.Name -}}
{{- end -}}

{{- /* 52 characters at most: StatefulSets and Jobs append to it, and what they append must fit in a label. */ -}}
{{- define "workload.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "workload.image" -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end -}}
{{- end -}}

{{- define "workload.serviceAccountName" -}}
{{- $default := ternary (include "workload.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{- /* Labels by which pods are selected. They never change in a release's life: selectors are immutable.
       The component tells the workload (main) from its hook Jobs, which no Service may send traffic to.
       Takes root and component. */ -}}
{{- define "workload.selectorLabels" -}}
app.kubernetes.io/name: {{ include "workload.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* Labels of objects. Takes root and component. */ -}}
{{- define "workload.labels" -}}
{{ include "workload.selectorLabels" . }}
{{- with .root.Values.image.tag }}
app.kubernetes.io/version: {{ . | trunc 63 | trimAll "-_." | quote }}
{{- end }}
{{- with .root.Values.partOf }}
app.kubernetes.io/part-of: {{ . }}
{{- end }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Annotations of a hook's object. Takes job, weight and policy. */ -}}
{{- define "workload.hookAnnotations" -}}
helm.sh/hook: {{ join "," .job.events }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: {{ .policy }}
{{- end -}}

{{- /* Something where a port is said to be one of HTTP; takes the port. */ -}}
{{- define "workload.speaksHttp" -}}
{{- if has (.appProtocol | default "") (list "http" "http2" "grpc" "kubernetes.io/h2c") }}yes{{ end }}
{{- end -}}
