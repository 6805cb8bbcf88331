{{- /* The policy of the workload's pods or of a hook Job's: nothing passes but what is declared.
       Takes root, component, ingress and egress (rules as in values.yaml), and metrics: who reads them, and on which port. */ -}}
{{- define "workload.networkPolicySpec" -}}
podSelector:
  matchLabels:
    {{- include "workload.selectorLabels" . | nindent 4 }}
policyTypes: [Ingress, Egress]
ingress:
  {{- range $rule := .ingress }}
  - from:
      {{- range $rule.from }}
      - {{ include "workload.peer" . | nindent 8 | trim }}
      {{- end }}
    ports:
      {{- range $rule.ports | default (keys $.root.Values.ports | sortAlpha) }}
      - port: {{ . }}
        protocol: {{ (get $.root.Values.ports .).protocol | default "TCP" }}
      {{- end }}
  {{- end }}
  {{- with .metrics }}
  - from:
      {{- range .from }}
      - {{ include "workload.peer" . | nindent 8 | trim }}
      {{- end }}
    ports:
      - port: {{ .port }}
        protocol: TCP
  {{- end }}
  {{- if not (or .ingress .metrics) }} []
  {{- end }}
egress:
  {{- $dns := .root.Values.networkPolicy.dns }}
  {{- $mesh := .root.Values.mesh }}
  {{- /* A proxy looks its control plane up, whatever the program beside it asks for. */}}
  {{- if or $dns.enabled (ne $mesh.revision "") }}
  - to:
      - {{ include "workload.peer" (pick $dns "namespace" "labels") | nindent 8 | trim }}
    ports:
      - port: 53
        protocol: UDP
      - port: 53
        protocol: TCP
  {{- end }}
  {{- range $rule := .egress }}
  - to:
      {{- range $rule.to }}
      - {{ include "workload.peer" . | nindent 8 | trim }}
      {{- end }}
    ports:
      {{- range $port := $rule.ports }}
      {{- if kindIs "map" $port }}
      - port: {{ $port.port }}
        protocol: {{ $port.protocol | default "TCP" }}
      {{- else }}
      - port: {{ $port }}
        protocol: TCP
      {{- end }}
      {{- end }}
  {{- end }}
  {{- $telemetry := .root.Values.telemetry }}
  {{- with $telemetry.receivers }}
  - to:
      {{- range . }}
      - {{ include "workload.peer" . | nindent 8 | trim }}
      {{- end }}
    ports:
      {{- range $telemetry.ports }}
      - port: {{ . }}
        protocol: TCP
      {{- end }}
  {{- end }}
  {{- if $mesh.revision }}
  # The proxy's configuration and certificates.
  - to:
      - namespaceSelector:
          matchLabels:
            kubernetes.io/metadata.name: {{ $mesh.namespace }}
        podSelector:
          matchLabels:
            app: istiod
    ports:
      - port: 15012
        protocol: TCP
  {{- end }}
  {{- if not (or $dns.enabled .egress $mesh.revision $telemetry.receivers) }} []
  {{- end }}
{{- end -}}

{{- /* Who may connect to the workload: what is declared, and for its page whoever passes requests on to it. */ -}}
{{- define "workload.ingress" -}}
{{- $page := dict }}
{{- if and .Values.page.name .Values.gateway.clients }}
{{- $_ := set $page "page" (dict "from" .Values.gateway.clients "ports" (list .Values.page.port)) }}
{{- end }}
{{- merge $page .Values.networkPolicy.ingress | toYaml }}
{{- end -}}

{{- /* One peer of a rule: {app, labels, namespace} or {cidr, except}. */ -}}
{{- define "workload.peer" -}}
{{- if .cidr }}
ipBlock:
  {{- pick . "cidr" "except" | toYaml | nindent 2 }}
{{- end }}
{{- if eq (.namespace | default "") "*" }}
namespaceSelector: {}
{{- else if .namespace }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .namespace }}
{{- end }}
{{- if or .app .labels }}
podSelector:
  matchLabels:
    {{- with .app }}
    app.kubernetes.io/name: {{ . }}
    {{- end }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}

{{- /* One peer of a rule as the mesh knows it: by the identity that its proxy shows. Pods have the identity of their
       ServiceAccount, whose name is the workload's where nothing else is said.
       Takes root and peer. */ -}}
{{- define "workload.source" -}}
{{- $root := .root }}
{{- $namespace := .peer.namespace | default $root.Release.Namespace }}
{{- $place := eq $namespace "*" | ternary "*" (printf "%s/ns/%s" "cluster.local" $namespace) }}
{{- $accounts := .peer.serviceAccounts | default (.peer.app | default list) }}
{{- if .peer.cidr }}
ipBlocks: [{{ .peer.cidr | quote }}]
{{- with .peer.except }}
notIpBlocks:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- else if $accounts }}
principals:
  {{- range kindIs "string" $accounts | ternary (list $accounts) $accounts }}
  - {{ printf "%s/sa/%s" $place . | quote }}
  {{- end }}
{{- else if eq $namespace "*" }}
principals: ["*"]
{{- else }}
namespaces: [{{ $namespace | quote }}]
{{- end }}
{{- end -}}
