{{/* The name all objects begin with. */}}
{{- define "sluice.name" -}}
{{- if contains "sluice" .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- else -}}{{ printf "%s-sluice" .Release.Name | trunc 50 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sluice.apis" -}}
{{ .Values.apisConfigMap | default (printf "%s-apis" (include "sluice.name" .)) }}
{{- end -}}

{{/* Whether a role counts plans in Redis, or looks into it: "yes" or nothing. Arguments: root, role. */}}
{{- define "sluice.redis" -}}
{{- if and (ne .role "ingest") (or .root.Values.redis.urls .root.Values.redis.urlSecret) }}yes{{ end -}}
{{- end -}}

{{/* Settings that follow from other values; settings of the user win over them. Arguments: root, role. */}}
{{- define "sluice.settings" -}}
{{- $v := .root.Values -}}
{{- $s := dict "roles" (list .role) "data" "/data" "catalog" (dict "apis" "/etc/sluice/apis") -}}
{{- $_ := set $s "ops" (dict "addr" (printf ":%d" (int $v.ops.port))) -}}
{{- $_ := set $s "log" (dict "format" "json") -}}
{{- $broker := dict "urls" $v.broker.urls -}}
{{- if $v.broker.credentialsSecret }}{{ $_ := set $broker "credentials" "/run/secrets/broker/key" }}{{ end -}}
{{- $_ := set $s "broker" $broker -}}
{{- if include "sluice.redis" . -}}
{{- $redis := dict -}}
{{- if $v.redis.urls }}{{ $_ := set $redis "urls" $v.redis.urls }}{{ end -}}
{{- if $v.redis.user }}{{ $_ := set $redis "user" $v.redis.user }}{{ end -}}
{{- if $v.redis.passwordSecret }}{{ $_ := set $redis "passwordFile" "/run/secrets/redis/password" }}{{ end -}}
{{- if $v.redis.tlsSecret }}{{ $_ := set $redis "tls" (dict "ca" "/run/secrets/redis-tls/ca.crt" "cert" "/run/secrets/redis-tls/tls.crt" "key" "/run/secrets/redis-tls/tls.key") }}{{ end -}}
{{- $_ := set $s "quota" (dict "redis" $redis) -}}
{{- end -}}
{{- if eq .role "edge" -}}
{{- $edge := dict "drain" (dict "delay" (printf "%ds" (int $v.edge.drain.delaySeconds))) -}}
{{- if $v.edge.trustedProxies }}{{ $_ := set $edge "trustedProxies" $v.edge.trustedProxies }}{{ end -}}
{{- if $v.edge.tlsSecret }}{{ $_ := set $edge "https" (dict "cert" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key") }}{{ end -}}
{{- $_ := set $s "edge" $edge -}}
{{- $_ := set $s "fanout" (dict "drain" (dict "over" (printf "%ds" (int $v.edge.drain.overSeconds)))) -}}
{{- end -}}
{{- mustMergeOverwrite $s (deepCopy $v.config) (deepCopy (index $v .role).config) | toYaml -}}
{{- end -}}

{{/* How long the kubelet waits: the drain, 30 s to end the rest, and some more. Arguments: root, role. */}}
{{- define "sluice.grace" -}}
{{- $e := .root.Values.edge -}}
{{- if eq .role "edge" -}}{{ add (int $e.preStopSeconds) (int $e.drain.delaySeconds) (int $e.drain.overSeconds) 40 }}{{- else -}}45{{- end -}}
{{- end -}}

{{/* One role's Deployment. Arguments: root, role. */}}
{{- define "sluice.deployment" -}}
{{- $v := .root.Values -}}
{{- $r := index $v .role -}}
{{- $name := include "sluice.name" .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sluice.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  {{- if not (and (eq .role "edge") $v.edge.autoscaling.enabled) }}
  replicas: {{ $r.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels:
      {{- include "sluice.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  # One at a time: a new node is ready before an old one drains.
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels:
        {{- include "sluice.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
      annotations:
        checksum/settings: {{ include "sluice.settings" . | sha256sum }}
        checksum/apis: {{ $v.apis | toYaml | sha256sum }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "sluice.grace" . }}
      {{- with $v.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "sluice.selector" $.root | nindent 14 }}
              app.kubernetes.io/component: {{ $.role }}
        {{- end }}
      {{- with $r.nodeSelector }}
      nodeSelector: {{ toJson . }}
      {{- end }}
      {{- with $r.tolerations }}
      tolerations: {{ toJson . }}
      {{- end }}
      containers:
        - name: sluice
          image: "{{ $v.image.repository }}:{{ $v.image.tag | default .root.Chart.AppVersion }}"
          imagePullPolicy: {{ $v.image.pullPolicy }}
          args: [serve, --config, /etc/sluice/{{ .role }}.yaml]
          {{- $env := $v.env }}
          {{- if and (include "sluice.redis" .) $v.redis.urlSecret }}
          {{- $env = append $env (dict "name" "SLUICE_QUOTA_REDIS_URLS" "valueFrom" (dict "secretKeyRef" (dict "name" $v.redis.urlSecret "key" "url"))) }}
          {{- end }}
          {{- with $env }}
          env:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- if eq .role "edge" }}
            - {name: http, containerPort: 8080}
            {{- if $v.edge.tlsSecret }}
            - {name: https, containerPort: 8443}
            {{- end }}
            {{- end }}
            - {name: ops, containerPort: {{ $v.ops.port }}}
          # Fails only when the process is stuck: a broker that is away is no reason to start again.
          livenessProbe:
            httpGet: {path: /livez, port: ops}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /readyz, port: ops}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 1
          {{- if and (eq .role "edge") (gt (int $v.edge.preStopSeconds) 0) }}
          lifecycle:
            preStop:
              sleep: {seconds: {{ $v.edge.preStopSeconds }}}
          {{- end }}
          resources:
            {{- toYaml $r.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
            - {name: settings, mountPath: /etc/sluice/{{ .role }}.yaml, subPath: {{ .role }}.yaml, readOnly: true}
            - {name: apis, mountPath: /etc/sluice/apis, readOnly: true}
            {{- if $v.broker.credentialsSecret }}
            - {name: broker, mountPath: /run/secrets/broker, readOnly: true}
            {{- end }}
            {{- if and (include "sluice.redis" .) $v.redis.passwordSecret }}
            - {name: redis, mountPath: /run/secrets/redis, readOnly: true}
            {{- end }}
            {{- if and (include "sluice.redis" .) $v.redis.tlsSecret }}
            - {name: redis-tls, mountPath: /run/secrets/redis-tls, readOnly: true}
            {{- end }}
            {{- if and (eq .role "edge") $v.edge.tlsSecret }}
            - {name: tls, mountPath: /run/secrets/tls, readOnly: true}
            {{- end }}
      volumes:
        # Nothing in it outlives the pod: events are in the broker.
        - {name: data, emptyDir: {sizeLimit: 1Gi}}
        - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
        - {name: settings, configMap: {name: {{ $name }}}}
        - {name: apis, configMap: {name: {{ include "sluice.apis" .root }}}}
        {{- if $v.broker.credentialsSecret }}
        - name: broker
          secret:
            secretName: {{ $v.broker.credentialsSecret }}
            defaultMode: 0440
            items: [{key: {{ .role }}, path: key}]
        {{- end }}
        {{- if and (include "sluice.redis" .) $v.redis.passwordSecret }}
        - name: redis
          secret:
            secretName: {{ $v.redis.passwordSecret }}
            defaultMode: 0440
            items: [{key: password, path: password}]
        {{- end }}
        {{- if and (include "sluice.redis" .) $v.redis.tlsSecret }}
        - {name: redis-tls, secret: {secretName: {{ $v.redis.tlsSecret }}, defaultMode: 0440}}
        {{- end }}
        {{- if and (eq .role "edge") $v.edge.tlsSecret }}
        - {name: tls, secret: {secretName: {{ $v.edge.tlsSecret }}, defaultMode: 0440}}
        {{- end }}
{{- end -}}
