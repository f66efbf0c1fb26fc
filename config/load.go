package config

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"sluice/internal/doc"
)

const (
	envPrefix       = "SLUICE_"
	envSecretPrefix = "SLUICE_SECRET_" // upstream secrets, read by ingest
	envConfigFile   = "SLUICE_CONFIG"  // the settings file, read by the command line
	maxFileBytes    = 1 << 20
)

// Warning is something that is allowed but deserves a look.
type Warning struct {
	// Where names the file position, environment variable or flag; empty when the value is a default.
	Where string
	// Message says what and why.
	Message string
}

// String prints the warning on one line.
func (w Warning) String() string {
	if w.Where == "" {
		return w.Message
	}
	return w.Where + ": " + w.Message
}

// Load reads the settings: overrides win over env, env over the file, the file over the defaults. file may be empty: no file. env is
// os.Environ() or a part of it; a variable is SLUICE_ and the key's path in capitals (edge.perIP.streams is
// SLUICE_EDGE_PER_IP_STREAMS, underscores between words may be left out), lists have commas between elements. overrides maps paths
// such as edge.http.addr to values written the same way: the command line's flags. The error, a doc.Errors, has everything that is
// wrong; then the Config is useless.
func Load(file string, env []string, overrides map[string]string) (Config, []Warning, error) {
	l := loader{cfg: unresolved(), from: map[string]string{}}
	if file != "" {
		l.file(file)
	}
	l.environment(env)
	l.overrides(overrides)
	l.cfg.resolve()
	v := validator{at: l.at}
	v.config(&l.cfg)
	l.errs = append(l.errs, v.errs.Beside(l.errs)...) // a value that could not be read keeps its default: not its fault
	l.contradictions()
	l.certificates()
	l.brokerFiles()
	l.controlFiles()
	l.authFiles()
	if err := l.errs.Err(); err != nil {
		return Config{}, nil, err
	}
	l.warn()
	return l.cfg, l.warnings, nil
}

type loader struct {
	cfg      Config
	doc      *doc.Document
	from     map[string]string // path → variable or flag that set it
	errs     doc.Errors
	warnings []Warning
}

func (l *loader) file(name string) {
	data, err := os.ReadFile(name)
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("is larger than %d bytes", maxFileBytes)
	}
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		l.errs = append(l.errs, &doc.Error{File: name, Message: err.Error()})
		return
	}
	docs, err := doc.Parse(name, data)
	l.join(err)
	for i, d := range docs {
		if i > 0 {
			l.errs = append(l.errs, d.Errorf("", "a settings file has only one document"))
			continue
		}
		l.doc = d
		l.join(d.Decode(&l.cfg))
	}
}

func (l *loader) join(err error) {
	var errs doc.Errors
	if errors.As(err, &errs) {
		l.errs = append(l.errs, errs...)
	}
}

func (l *loader) environment(env []string) {
	known := map[string]setting{}
	var names []string
	for _, s := range settings() {
		known[squash(s.env())] = s
		names = append(names, s.env())
	}
	sorted := slices.Sorted(slices.Values(env))
	for _, pair := range sorted {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envSecretPrefix) || name == envConfigFile {
			continue
		}
		s, ok := known[squash(name)]
		if !ok {
			// Not an error: Kubernetes adds variables like SLUICE_PORT for a service of that name.
			w := Warning{Where: name, Message: "no setting has this name"}
			if near := doc.Nearest(name, names); near != "" {
				w.Message += fmt.Sprintf("; did you mean %q?", near)
			}
			l.warnings = append(l.warnings, w)
			continue
		}
		if other, twice := l.from[s.path]; twice {
			l.errs = append(l.errs, &doc.Error{File: name, Message: "sets the same as " + other})
			continue
		}
		l.set(s, value, name)
	}
}

func (l *loader) overrides(values map[string]string) {
	known := map[string]setting{}
	for _, s := range settings() {
		known[s.path] = s
	}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		s, ok := known[path]
		if !ok {
			l.errs = append(l.errs, &doc.Error{File: path, Type: doc.TypeUnknownField, Message: "no setting has this name"})
			continue
		}
		l.set(s, values[path], "flag "+path)
	}
}

func (l *loader) set(s setting, value, from string) {
	l.from[s.path] = from
	if err := doc.SetText(s.in(&l.cfg), value); err != nil {
		l.errs = append(l.errs, &doc.Error{File: from, Pointer: pointer(s.path), Type: doc.TypeInvalidValue, Message: err.Error()})
	}
}

// at makes an error about a path, placed where its value came from.
func (l *loader) at(path, message, hint string) *doc.Error {
	base, _, _ := strings.Cut(path, "[")
	if from := l.from[base]; from != "" {
		return &doc.Error{File: from, Pointer: pointer(path), Type: doc.TypeInvalidValue, Message: message, Hint: hint}
	}
	e := l.doc.Errorf(pointer(path), "%s", message)
	e.Hint = hint
	return e
}

// where names the place a path's value came from, "" for a default.
func (l *loader) where(path string) string {
	if from := l.from[path]; from != "" {
		return from
	}
	if !l.isSet(path) {
		return ""
	}
	n := l.doc.Lookup(pointer(path))
	return fmt.Sprintf("%s:%d:%d", l.doc.File, n.Line, n.Column)
}

// isSet tells whether anyone set the value of path.
func (l *loader) isSet(path string) bool {
	if l.from[path] != "" {
		return true
	}
	if l.doc == nil {
		return false
	}
	n := l.doc.Root
	for key := range strings.SplitSeq(path, ".") {
		if n = n.Get(key); n == nil {
			return false
		}
	}
	return n.Kind != doc.Null
}

// contradictions finds settings that were asked for but would do nothing.
func (l *loader) contradictions() {
	https := l.cfg.Edge.HTTPS
	if l.isSet("edge.https.addr") && https.Addr != defaultEdge().HTTPS.Addr && https.Addr != "" && !https.Enabled() && (https.Cert == "") == (https.Key == "") {
		l.errs = append(l.errs, l.at("edge.https.addr", "is set, but there is no certificate",
			"set edge.https.cert and edge.https.key, or edge.https.devTLS"))
	}
	if len(l.cfg.Broker.URLs) > 0 {
		return
	}
	for _, path := range []string{"broker.credentials", "broker.user", "broker.password", "broker.passwordFile",
		"broker.tls.ca", "broker.tls.cert", "broker.tls.key", "broker.tls.serverName"} {
		if l.isSet(path) && l.where(path) != "" && l.value(path) != "" {
			l.errs = append(l.errs, l.at(path, "is for broker.urls, which is empty", ""))
		}
	}
}

func (l *loader) value(path string) string {
	for _, s := range settings() {
		if s.path == path {
			return fmt.Sprint(s.in(&l.cfg).Interface())
		}
	}
	return ""
}

// certificates checks the TLS pairs of listeners, so that check-config finds a wrong one before a restart does.
func (l *loader) certificates() {
	edge, control := l.cfg.Edge.HTTPS, l.cfg.Control.HTTPS
	if !edge.DevTLS {
		l.pair("edge.https", edge.Cert, edge.Key)
	}
	l.pair("control.https", control.Cert, control.Key)
}

func (l *loader) pair(at, cert, key string) {
	if cert == "" || key == "" {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		l.errs = append(l.errs, l.at(at+".cert", "cannot be used with "+at+".key: "+err.Error(), ""))
	}
}

// brokerFiles checks the files for connecting to the broker, so that check-config finds a wrong one before a connection does.
func (l *loader) brokerFiles() {
	b := l.cfg.Broker
	if b.Embedded() {
		return // they are for servers elsewhere
	}
	if b.TLS.CA != "" {
		if text, ok := l.read("broker.tls.ca", b.TLS.CA); ok && !x509.NewCertPool().AppendCertsFromPEM(text) {
			l.errs = append(l.errs, l.at("broker.tls.ca", b.TLS.CA+" holds no certificate in PEM", ""))
		}
	}
	if b.TLS.Cert != "" && b.TLS.Key != "" {
		if _, err := tls.LoadX509KeyPair(b.TLS.Cert, b.TLS.Key); err != nil {
			l.errs = append(l.errs, l.at("broker.tls.cert", "cannot be used with broker.tls.key: "+err.Error(), ""))
		}
	}
	if b.Credentials != "" {
		if text, ok := l.read("broker.credentials", b.Credentials); ok && !looksLikeCredentials.Match(text) {
			l.errs = append(l.errs, l.at("broker.credentials", b.Credentials+" is neither a NATS .creds file nor the seed of a user's nkey (SU…)", ""))
		}
	}
	if b.PasswordFile != "" {
		if text, ok := l.read("broker.passwordFile", b.PasswordFile); ok && len(bytes.TrimSpace(text)) == 0 {
			l.errs = append(l.errs, l.at("broker.passwordFile", b.PasswordFile+" is empty", ""))
		}
	}
}

// controlFiles checks the file of the first administrator's password.
func (l *loader) controlFiles() {
	file := l.cfg.Control.AdminPasswordFile
	if file == "" {
		return
	}
	if text, ok := l.read("control.adminPasswordFile", file); ok && len(bytes.TrimSpace(text)) == 0 {
		l.errs = append(l.errs, l.at("control.adminPasswordFile", file+" is empty", ""))
	}
}

// looksLikeCredentials finds the seed of a user's nkey, which both kinds of file hold. Connecting checks it to the last letter.
var looksLikeCredentials = regexp.MustCompile(`(?m)^SU[A-Z2-7]{56}\s*$`)

// read reads a small file that the setting of path names, or notes why it cannot.
func (l *loader) read(path, name string) ([]byte, bool) {
	st, err := os.Stat(name)
	if err == nil && st.Size() > maxFileBytes {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFileBytes)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		l.errs = append(l.errs, l.at(path, "cannot be read: "+err.Error(), ""))
	}
	return text, err == nil
}

// warn collects what is allowed but deserves a look.
func (l *loader) warn() {
	add := func(path, message string) {
		l.warnings = append(l.warnings, Warning{Where: l.where(path), Message: message})
	}
	for path, file := range map[string]string{"edge.https.key": l.cfg.Edge.HTTPS.Key, "broker.credentials": l.cfg.Broker.Credentials,
		"auth.pepperFile": l.cfg.Auth.PepperFile, "auth.issuer.keyFile": l.cfg.Auth.Issuer.KeyFile,
		"broker.passwordFile": l.cfg.Broker.PasswordFile, "control.adminPasswordFile": l.cfg.Control.AdminPasswordFile, "broker.tls.key": l.cfg.Broker.TLS.Key} {
		if file == "" || runtime.GOOS == "windows" {
			continue
		}
		if st, err := os.Stat(file); err == nil && st.Mode().Perm()&0o004 != 0 {
			add(path, fmt.Sprintf("%s can be read by every user of this machine; chmod 600 it", file))
		}
	}
	for _, p := range l.cfg.Upstream.AllowCIDRs {
		if p.Bits() == 0 {
			add("upstream.allowCIDRs", fmt.Sprintf("%s lets every API definition reach every address, cloud metadata included", p))
		}
	}
	if l.doc != nil && l.from["broker.password"] == "" && l.cfg.Broker.Password != "" {
		add("broker.password", "a password in a settings file is easily copied; use broker.passwordFile or "+setting{path: "broker.password"}.env())
	}
	if !l.cfg.Broker.Embedded() && l.cfg.Broker.Durability != DurabilityMemory {
		add("broker.durability", fmt.Sprintf("%s rests on sync_interval of the NATS servers, which cannot be asked for from here: it must be %s",
			l.cfg.Broker.Durability, map[bool]string{true: "1s or less", false: "always"}[l.cfg.Broker.Durability == DurabilityProcess]))
	}
	if l.cfg.Auth.InsecureQueryToken {
		add("auth.insecureQueryToken", "tokens in query strings stand in the logs of every proxy on the way; tickets do not")
	}
	for i, issuer := range l.cfg.Auth.Issuers {
		if strings.HasPrefix(issuer.JWKS, "http://") {
			add("auth.issuers", fmt.Sprintf("the keys of issuer %d, %s, are fetched without TLS: who is in between can make tokens", i, issuer.Name))
		}
	}
	if l.cfg.Edge.HTTPS.DevTLS {
		add("edge.https.devTLS", "a self-signed certificate is for development; clients must be told to accept it")
	}
	slices.SortStableFunc(l.warnings, func(a, b Warning) int { return cmp.Compare(a.String(), b.String()) })
}

// setting is one leaf of Config.
type setting struct {
	path  string // edge.http.addr
	index []int
}

func (s setting) in(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(s.index) }

// env is the documented name of the setting's environment variable.
func (s setting) env() string {
	var b strings.Builder
	b.WriteString(envPrefix)
	lower := false
	for _, r := range s.path {
		upper := r >= 'A' && r <= 'Z'
		if r == '.' || upper && lower {
			b.WriteByte('_')
		}
		if r != '.' {
			b.WriteString(strings.ToUpper(string(r)))
		}
		lower = r != '.' && !upper
	}
	return b.String()
}

// squash makes SLUICE_EDGE_PER_IP_STREAMS and SLUICE_EDGE_PERIP_STREAMS the same.
func squash(env string) string { return strings.ReplaceAll(env, "_", "") }

// Settings returns the path of every setting, in the order of the manual.
func Settings() []string {
	var out []string
	for _, s := range settings() {
		out = append(out, s.path)
	}
	return out
}

// EnvName returns the environment variable of a path that Settings returned.
func EnvName(path string) string { return setting{path: path}.env() }

func settings() []setting { return leaves(reflect.TypeFor[Config](), "", nil) }

func leaves(t reflect.Type, prefix string, index []int) []setting {
	var out []setting
	for i := range t.NumField() {
		f := t.Field(i)
		key := doc.Key(f)
		if key == "" {
			continue
		}
		at := append(slices.Clone(index), i)
		if f.Type.Kind() == reflect.Struct {
			out = append(out, leaves(f.Type, prefix+key+".", at)...)
			continue
		}
		out = append(out, setting{path: prefix + key, index: at})
	}
	return out
}

// pointer turns edge.hosts[2] into /edge/hosts/2.
func pointer(path string) string {
	path = strings.ReplaceAll(strings.ReplaceAll(path, "[", "."), "]", "")
	return "/" + strings.ReplaceAll(path, ".", "/")
}
