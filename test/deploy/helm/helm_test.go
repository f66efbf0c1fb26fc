// Package helm proves the chart of deploy/helm and the manifests of deploy/kubernetes: Helm's own engine renders them, Kubernetes' own
// types decode them strictly, and the real program takes the settings that come out. It is a module of its own, so that the product's
// go.mod does not know Helm and Kubernetes.
//
// Read helm_test.go: TestChart has the ways to install that are rendered, checkObjects what must hold of each. No goroutines.
package helm

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../../.."
	chart = root + "/deploy/helm/sluice"
)

var update = flag.Bool("update", false, "write deploy/kubernetes/sluice.yaml")

// objects are what one installation creates.
type objects struct {
	deployments map[string]*appsv1.Deployment
	configMaps  map[string]*corev1.ConfigMap
	services    map[string]*corev1.Service
	budgets     map[string]*policyv1.PodDisruptionBudget
	scalers     map[string]*autoscalingv2.HorizontalPodAutoscaler
	policies    map[string]*networkingv1.NetworkPolicy
	ingresses   map[string]*networkingv1.Ingress
	monitors    map[string]*serviceMonitor
}

// serviceMonitor is what the chart uses of the Prometheus operator's type.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		JobLabel  string               `json:"jobLabel"`
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// render installs the chart with values, as YAML documents in the order of the templates.
func render(values string) (string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return "", err
	}
	v := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(values), &v); err != nil {
		return "", err
	}
	all, err := util.ToRenderValues(c, v, common.ReleaseOptions{Name: "sluice", Namespace: "sluice", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return "", err
	}
	e := engine.Engine{Strict: true}
	files, err := e.Render(c, all)
	if err != nil {
		return "", err
	}
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".yaml") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		for doc := range strings.SplitSeq("\n"+files[name], "\n---\n") {
			if doc = strings.TrimSpace(doc); hasObject(doc) {
				fmt.Fprintf(&out, "---\n%s\n", doc)
			}
		}
	}
	return out.String(), nil
}

// hasObject tells whether a document is more than comments.
func hasObject(doc string) bool {
	for l := range strings.Lines(doc) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") && l != "---" {
			return true
		}
	}
	return false
}

// decode reads documents into Kubernetes' own types; an unknown or doubled field is an error.
func decode(t *testing.T, text string) objects {
	t.Helper()
	o := objects{}
	for doc := range strings.SplitSeq(text, "---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		var err error
		switch kind.APIVersion + " " + kind.Kind {
		case "apps/v1 Deployment":
			err = add(&o.deployments, doc)
		case "v1 ConfigMap":
			err = add(&o.configMaps, doc)
		case "v1 Service":
			err = add(&o.services, doc)
		case "policy/v1 PodDisruptionBudget":
			err = add(&o.budgets, doc)
		case "autoscaling/v2 HorizontalPodAutoscaler":
			err = add(&o.scalers, doc)
		case "networking.k8s.io/v1 NetworkPolicy":
			err = add(&o.policies, doc)
		case "networking.k8s.io/v1 Ingress":
			err = add(&o.ingresses, doc)
		case "monitoring.coreos.com/v1 ServiceMonitor":
			err = add(&o.monitors, doc)
		default:
			err = fmt.Errorf("unknown kind %v", kind)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
	}
	return o
}

// add decodes one object and keeps it under its name.
func add[T any](to *map[string]*T, doc string) error {
	var v T
	if err := yaml.UnmarshalStrict([]byte(doc), &v); err != nil {
		return err
	}
	meta, ok := any(&v).(metav1.Object)
	if !ok || meta.GetName() == "" || meta.GetNamespace() != "sluice" {
		return fmt.Errorf("no name, or another namespace than the release's")
	}
	if *to == nil {
		*to = map[string]*T{}
	}
	if (*to)[meta.GetName()] != nil {
		return fmt.Errorf("%s is there twice", meta.GetName())
	}
	(*to)[meta.GetName()] = &v
	return nil
}

// program builds sluice once.
func program(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "sluice")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/sluice")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// full has every value that adds something.
const full = `
image: {repository: registry.example/sluice, tag: 1.2.3, pullSecrets: [registry]}
broker: {urls: ["nats://n1:4222", "nats://n2:4222"], credentialsSecret: sluice-broker}
redis: {urls: ["rediss://redis:6390/0"], user: sluice, passwordSecret: redis-password, tlsSecret: redis-tls, port: 6390}
apis:
  market.yaml: |
    apiVersion: sluice/v1
    kind: API
    metadata: {name: market}
    spec:
      context: /market
      version: 1.0.0
      endpoint: http://market.example.com
      state: PUBLISHED
      topics: [{name: /ticks, security: none}]
config: {log: {level: debug}, upstream: {allowCIDRs: [10.0.0.0/8]}}
edge:
  config: {edge: {perIP: {streams: 10}}}
  drain: {delaySeconds: 20, overSeconds: 120}
  preStopSeconds: 15
  trustedProxies: [10.0.0.0/8]
  tlsSecret: sluice-tls
  service: {type: LoadBalancer, annotations: {a: b}, externalTrafficPolicy: Local}
  ingress: {enabled: true, host: stream.example.com, tlsSecret: stream-tls}
  autoscaling: {enabled: true, minReplicas: 2, maxReplicas: 9, connections: 50000}
  nodeSelector: {disk: fast}
  tolerations: [{key: edge, operator: Exists}]
env: [{name: SLUICE_SECRET_ORDERS_TOKEN, valueFrom: {secretKeyRef: {name: orders, key: token}}}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
`

// TestChart renders ways to install and checks what comes out.
func TestChart(t *testing.T) {
	bin := program(t)
	for name, c := range map[string]struct {
		values       string
		grace        int64 // of the edges
		scaled, mono bool
	}{
		"defaults":          {values: "", grace: 80},
		"everything":        {values: full, grace: 195, scaled: true, mono: true},
		"Redis by a secret": {values: "redis: {urlSecret: sluice-redis}", grace: 80},
		"own ConfigMap":     {values: "apisConfigMap: mine", grace: 80},
		"no network policy": {values: "networkPolicy: {enabled: false}", grace: 80},
		"other ops port":    {values: "ops: {port: 9999}", grace: 80},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := render(c.values)
			if err != nil {
				t.Fatal(err)
			}
			o := decode(t, text)
			checkObjects(t, o)
			checkSettings(t, o, bin)
			edge := o.deployments["sluice-edge"]
			if got := *edge.Spec.Template.Spec.TerminationGracePeriodSeconds; got != c.grace {
				t.Errorf("edges have %d s to end, want %d", got, c.grace)
			}
			if (len(o.scalers) == 1) != c.scaled || (edge.Spec.Replicas == nil) != c.scaled {
				t.Errorf("autoscalers %d, replicas %v", len(o.scalers), edge.Spec.Replicas)
			}
			if (len(o.monitors) == 1) != c.mono {
				t.Errorf("%d service monitors", len(o.monitors))
			}
		})
	}
}

// checkObjects is what holds of every installation.
func checkObjects(t *testing.T, o objects) {
	t.Helper()
	for _, role := range []string{"edge", "ingest", "control"} {
		d := o.deployments["sluice-"+role]
		if d == nil {
			t.Fatalf("no Deployment of %s", role)
		}
		checkPod(t, role, d)
		if !selects(t, d.Spec.Selector, d.Spec.Template.Labels) {
			t.Errorf("%s: the Deployment does not select its own pods", role)
		}
		for name, b := range o.budgets {
			if mine := name == "sluice-"+role; selects(t, b.Spec.Selector, d.Spec.Template.Labels) != mine {
				t.Errorf("budget %s and pods of %s", name, role)
			}
		}
		for name, p := range o.policies {
			if mine := name == "sluice-"+role; selects(t, &p.Spec.PodSelector, d.Spec.Template.Labels) != mine {
				t.Errorf("network policy %s and pods of %s", name, role)
			}
		}
		for name, s := range o.services {
			if mine := name == "sluice-ops" || name == "sluice-"+role; labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)) != mine {
				t.Errorf("service %s and pods of %s", name, role)
			} else if mine {
				for _, p := range s.Spec.Ports {
					hasPort(t, d, p.TargetPort)
				}
			}
		}
	}
	if len(o.budgets) != 2 || len(o.policies)%3 != 0 {
		t.Errorf("%d budgets, %d network policies", len(o.budgets), len(o.policies))
	}
	edge := o.deployments["sluice-edge"]
	for _, p := range o.policies {
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port.StrVal != "ops" {
					hasPort(t, edge, *port.Port)
				} else if len(rule.From) == 0 {
					t.Errorf("%s: everybody reaches the ops port", p.Name)
				}
			}
		}
	}
	for _, h := range o.scalers {
		if h.Spec.ScaleTargetRef.Name != edge.Name || h.Spec.Metrics[0].Pods.Metric.Name != "sluice_edge_connections" {
			t.Errorf("autoscaler of %v", h.Spec.ScaleTargetRef)
		}
	}
	for _, m := range o.monitors {
		ops := o.services["sluice-ops"]
		if !selects(t, &m.Spec.Selector, ops.Labels) || selects(t, &m.Spec.Selector, o.services["sluice-edge"].Labels) ||
			ops.Labels[m.Spec.JobLabel] != "sluice" || m.Spec.Endpoints[0].Port != ops.Spec.Ports[0].Name {
			t.Errorf("service monitor %+v", m.Spec)
		}
	}
	for _, i := range o.ingresses {
		b := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
		s := o.services[b.Name]
		if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == b.Port.Name }) {
			t.Errorf("ingress to %+v", b)
		}
	}
}

// checkPod is what holds of every pod.
func checkPod(t *testing.T, role string, d *appsv1.Deployment) {
	t.Helper()
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser != 65532 || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		*s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || *pod.AutomountServiceAccountToken {
		t.Errorf("%s: the security context is too wide", role)
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		hasPort(t, d, p.HTTPGet.Port)
	}
	if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("%s: probes ask %s and %s", role, c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	}
	if c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: no memory request or limit", role)
	}
	for _, m := range c.VolumeMounts {
		if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
			t.Errorf("%s: mounts %s, which is no volume", role, m.Name)
		}
	}
	if len(c.VolumeMounts) != len(pod.Volumes) {
		t.Errorf("%s: %d volumes, %d mounts", role, len(pod.Volumes), len(c.VolumeMounts))
	}
}

// hasPort fails if a port of the pods is not there.
func hasPort(t *testing.T, d *appsv1.Deployment, port intstr.IntOrString) {
	t.Helper()
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		if p.Name == port.StrVal || p.ContainerPort == port.IntVal {
			return
		}
	}
	t.Errorf("%s: no port %s", d.Name, port.String())
}

func selects(t *testing.T, by *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(of))
}

// checkSettings gives each role's settings, command line and definitions to the real program.
func checkSettings(t *testing.T, o objects, bin string) {
	t.Helper()
	for role, d := range map[string]*appsv1.Deployment{"edge": o.deployments["sluice-edge"], "ingest": o.deployments["sluice-ingest"], "control": o.deployments["sluice-control"]} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "key"), userSeed)
		apis := filepath.Join(dir, "apis")
		if err := os.Mkdir(apis, 0o755); err != nil {
			t.Fatal(err)
		}
		if m := o.configMaps["sluice-apis"]; m != nil {
			for name, text := range m.Data {
				write(t, filepath.Join(apis, name), text)
			}
		}
		settings := o.configMaps["sluice"].Data[role+".yaml"]
		for _, p := range [][2]string{{"/etc/sluice/apis", apis}, {"/run/secrets/broker/key", filepath.Join(dir, "key")}} {
			settings = strings.ReplaceAll(settings, p[0], p[1])
		}
		// Redis's password and certificates are the cluster's.
		write(t, filepath.Join(dir, "password"), "secret\n")
		settings = strings.ReplaceAll(settings, "/run/secrets/redis/password", filepath.Join(dir, "password"))
		for _, line := range []string{"ca: /run/secrets/redis-tls/ca.crt", "cert: /run/secrets/redis-tls/tls.crt", "key: /run/secrets/redis-tls/tls.key"} {
			settings = strings.ReplaceAll(settings, line, "")
		}
		settings = strings.ReplaceAll(settings, "    tls:\n", "    tls: {}\n")
		// The certificate is the cluster's: here the listener makes one.
		settings = strings.ReplaceAll(settings, "cert: /run/secrets/tls/tls.crt", "devTLS: true")
		settings = strings.ReplaceAll(settings, "key: /run/secrets/tls/tls.key\n", "\n")
		file := filepath.Join(dir, role+".yaml")
		write(t, file, settings)

		c := d.Spec.Template.Spec.Containers[0]
		if want := []string{"serve", "--config", "/etc/sluice/" + role + ".yaml"}; !slices.Equal(c.Args, want) {
			t.Errorf("%s: arguments %v", role, c.Args)
		}
		cmd := exec.Command(bin, "check-config", file)
		cmd.Dir, cmd.Env = dir, []string{}
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "no setting has this name") {
			t.Errorf("%s: %v\n%s\n%s", role, err, out, settings)
		}
		if !strings.Contains(settings, "roles:\n- "+role+"\n") || strings.Count(settings, "\n- "+role) != 1 {
			t.Errorf("%s: another role in\n%s", role, settings)
		}
	}
}

// userSeed is the seed of a NATS user that exists nowhere.
const userSeed = "SUACHTSDW7LDSVYZ2YOY7AJE3QTLEXZRXVK3US2MU55K4KEG7BQWHJIIGA\n"

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSchema: values that are misspelt or of the wrong kind are refused.
func TestSchema(t *testing.T) {
	for _, bad := range []string{
		"replica: 3", "edge: {replica: 3}", "edge: {replicas: many}", "edge: {drain: {delaySeconds: -1}}", "edge: {drain: {delaySeconds: 10s}}",
		"edge: {drain: {overSeconds: 1801}}", "broker: {urls: []}", "broker: {urls: ['http://n1']}", "broker: {url: x}", "apis: {market: 'x'}",
		"ops: {port: 0}", "edge: {service: {type: Fast}}", "networkPolicy: {enable: true}", "serviceMonitor: {interval: 10}",
		"edge: {autoscaling: {connections: 0}}", "image: {pullPolicy: Sometimes}", "redis: {url: x}", "redis: {urls: ['redis://u:p@r:6379']}",
		"redis: {urls: ['http://r']}", "redis: {urls: ['redis://r'], urlSecret: s}", "redis: {urls: ['redis://r'], user: u}", "redis: {port: 0}",
	} {
		if _, err := render(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestRedis: edges and control have what leads to Redis, ingest has nothing of it, and without it nobody has.
func TestRedis(t *testing.T) {
	const env = "SLUICE_QUOTA_REDIS_URLS"
	for _, c := range []struct {
		values, url    string // in the settings
		env            string // secret that the address comes from
		password, cert string // secrets that are mounted
		port           int32
	}{
		{values: ""},
		{values: full, url: "rediss://redis:6390/0", password: "redis-password", cert: "redis-tls", port: 6390},
		{values: "{redis: {urls: ['redis://r:6379'], passwordSecret: p}, env: [{name: A, value: b}]}", url: "redis://r:6379", password: "p", port: 6379},
		{values: "{redis: {urlSecret: s}, env: [{name: A, value: b}]}", env: "s", port: 6379},
	} {
		text, err := render(c.values)
		if err != nil {
			t.Fatal(err)
		}
		o := decode(t, text)
		for role, has := range map[string]bool{"edge": true, "control": true, "ingest": false} {
			want := c
			if !has {
				want.url, want.env, want.password, want.cert, want.port = "", "", "", "", 0
			}
			pod := o.deployments["sluice-"+role].Spec.Template.Spec
			settings, secret := o.configMaps["sluice"].Data[role+".yaml"], ""
			for _, e := range pod.Containers[0].Env {
				if e.Name == env {
					secret = e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
				}
			}
			if want.env != "" {
				want.env += "/url"
			}
			if has := strings.Contains(settings, "urls:\n    - "+want.url+"\n"); want.url != "" && !has || want.url == "" && strings.Contains(settings, "redis://") || secret != want.env {
				t.Errorf("%s of %q: address from %q in\n%s", role, c.values, secret, settings)
			}
			mounted := map[string]string{}
			for _, v := range pod.Volumes {
				if v.Secret != nil {
					mounted[v.Name] = v.Secret.SecretName
				}
			}
			if mounted["redis"] != want.password || mounted["redis-tls"] != want.cert {
				t.Errorf("%s of %q: secrets %v", role, c.values, mounted)
			}
			if inFile := strings.Contains(settings, "passwordFile: /run/secrets/redis/password"); inFile != (want.password != "") {
				t.Errorf("%s of %q: password file %v", role, c.values, inFile)
			}
			reached := false
			for _, rule := range o.policies["sluice-"+role].Spec.Egress {
				for _, p := range rule.Ports {
					reached = reached || p.Port.IntVal == want.port && want.port != 0
				}
			}
			if reached != (want.port != 0) {
				t.Errorf("%s of %q: may reach Redis: %v", role, c.values, reached)
			}
		}
	}
}

// TestManifests: deploy/kubernetes/sluice.yaml is the chart with its defaults. -update writes it.
func TestManifests(t *testing.T) {
	text, err := render("")
	if err != nil {
		t.Fatal(err)
	}
	text = "# The chart of ../helm/sluice with its defaults; `go test . -update` in test/deploy/helm writes this file.\n" + text
	file := filepath.Join(root, "deploy/kubernetes/sluice.yaml")
	if *update {
		write(t, file, text)
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, []byte(text)) {
		t.Error("deploy/kubernetes/sluice.yaml is not what the chart says: go test . -update")
	}
}
