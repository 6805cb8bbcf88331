{{- /* The pod template of the workload and of its hook Jobs.
       Takes root (the chart's context), values (see values.yaml), component, once (a Job's pods: they serve nobody),
       name (the container's), configMap and serviceAccountName. */ -}}
{{- define "workload.podTemplate" -}}
{{- $values := .values -}}
metadata:
  labels:
    {{- include "workload.selectorLabels" . | nindent 4 }}
    app: {{ include "workload.name" .root }}
    {{- with $values.image.tag | default $values.image.digest }}
    version: {{ . | trimPrefix "sha256:" | trunc 63 | trimAll "-_." | quote }}
    {{- end }}
    {{- with $values.image.tag }}
    app.kubernetes.io/version: {{ . | trunc 63 | trimAll "-_." | quote }}
    {{- end }}
    {{- with .root.Values.partOf }}
    app.kubernetes.io/part-of: {{ . }}
    {{- end }}
    {{- /* Said here too, so that pods get another proxy when the revision changes. */}}
    {{- with .root.Values.mesh.replacePods | ternary .root.Values.mesh.revision "" }}
    istio.io/rev: {{ . }}
    {{- end }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or $values.config.files $values.metrics.enabled $values.podAnnotations }}
  annotations:
    {{- with $values.config.files }}
    checksum/config: {{ toJson . | sha256sum }}
    {{- end }}
    {{- if $values.metrics.enabled }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ (get $values.ports $values.metrics.port).containerPort | quote }}
    prometheus.io/path: {{ $values.metrics.path }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  serviceAccountName: {{ .serviceAccountName }}
  automountServiceAccountToken: {{ $values.serviceAccount.automountToken }}
  {{- /* Otherwise every Service of the namespace becomes environment variables. */}}
  enableServiceLinks: false
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- /* A Job's failed pods stay, with their logs. */}}
  restartPolicy: {{ .once | ternary "Never" "Always" }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.schedulerName }}
  schedulerName: {{ . }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $values.topologySpread.enabled (not .once) (ne .root.Values.kind "DaemonSet") }}
  topologySpreadConstraints:
    - topologyKey: {{ $values.topologySpread.topologyKey }}
      maxSkew: {{ $values.topologySpread.maxSkew }}
      whenUnsatisfiable: {{ $values.topologySpread.whenUnsatisfiable }}
      {{- /* Control planes and lost or drained nodes don't count, so that they never keep a pod from being placed. */}}
      nodeTaintsPolicy: Honor
      labelSelector:
        matchLabels:
          {{- include "workload.selectorLabels" . | nindent 10 }}
      {{- if eq .root.Values.kind "Deployment" }}
      {{- /* Each version is spread on its own: the old pods never stand in the way of the new. */}}
      matchLabelKeys:
        - pod-template-hash
      {{- end }}
  {{- end }}
  {{- with $values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "workload.image" $values.image | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      {{- with $values.command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.args }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.env }}
      env:
        {{- range $name, $value := . }}
        - name: {{ $name }}
          {{- if kindIs "string" $value }}
          value: {{ $value | quote }}
          {{- else }}
          valueFrom:
            {{- toYaml $value | nindent 12 }}
          {{- end }}
        {{- end }}
      {{- end }}
      {{- with $values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.ports }}
      ports:
        {{- range $name, $port := . }}
        - name: {{ $name }}
          containerPort: {{ $port.containerPort }}
          protocol: {{ $port.protocol | default "TCP" }}
        {{- end }}
      {{- end }}
      {{- with $values.probes.startup }}
      startupProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.probes.liveness }}
      livenessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.probes.readiness }}
      readinessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if and $values.preStopSleepSeconds (not .once) }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $values.preStopSleepSeconds }}
      {{- end }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.containerSecurityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or $values.config.files $values.secretFiles $values.emptyDirs $values.volumeClaims $values.extraVolumeMounts }}
      volumeMounts:
        {{- if $values.config.files }}
        - name: config-map
          mountPath: {{ $values.config.mountPath }}
          readOnly: true
        {{- end }}
        {{- range $name, $secret := $values.secretFiles }}
        - name: secret-{{ $name }}
          mountPath: {{ $secret.mountPath }}
          readOnly: true
        {{- end }}
        {{- range $name, $directory := $values.emptyDirs }}
        - name: empty-{{ $name }}
          mountPath: {{ $directory.mountPath }}
        {{- end }}
        {{- range $name, $claim := $values.volumeClaims }}
        - name: {{ $name }}
          mountPath: {{ $claim.mountPath }}
          {{- with $claim.subPath }}
          subPath: {{ . }}
          {{- end }}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
  {{- if or $values.config.files $values.secretFiles $values.emptyDirs $values.extraVolumes }}
  volumes:
    {{- if $values.config.files }}
    - name: config-map
      configMap:
        name: {{ .configMap }}
    {{- end }}
    {{- range $name, $secret := $values.secretFiles }}
    - name: secret-{{ $name }}
      secret:
        secretName: {{ $secret.secret }}
        {{- /* 288 is 0440. */}}
        defaultMode: {{ $secret.mode | default 288 }}
        {{- with $secret.keys }}
        items:
          {{- range $key, $file := . }}
          - key: {{ $key }}
            path: {{ $file }}
          {{- end }}
        {{- end }}
    {{- end }}
    {{- range $name, $directory := $values.emptyDirs }}
    - name: empty-{{ $name }}
      emptyDir:
        {{- omit $directory "mountPath" | toYaml | nindent 8 }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "workload.mainPodTemplate" -}}
{{- include "workload.podTemplate" (dict
      "root" . "values" .Values "component" "main" "once" (eq .Values.kind "Job")
      "name" (include "workload.name" .)
      "configMap" (include "workload.fullname" .)
      "serviceAccountName" (include "workload.serviceAccountName" .)) }}
{{- end -}}

{{- /* A hook Job's pods: the workload's settings, without what makes a server of it, and the job's own on top.
       Takes root, job and name (the job's). */ -}}
{{- define "workload.hookPodTemplate" -}}
{{- $inherited := omit .root.Values "command" "args" "ports" "probes" "metrics" "volumeClaims" "podLabels" "podAnnotations" | deepCopy -}}
{{- $none := dict "ports" dict "probes" dict "metrics" dict "volumeClaims" dict -}}
{{- $objectName := printf "%s-%s" (include "workload.fullname" .root) .name -}}
{{- include "workload.podTemplate" (dict
      "root" .root "values" (mustMergeOverwrite $inherited $none (deepCopy .job)) "component" .name "once" true
      "name" .name "configMap" $objectName "serviceAccountName" $objectName) }}
{{- end -}}
