package house

// mayImport lists, for each production package, which of our packages it may import. A package that is missing here, or an
// import that is missing in its row, fails: add it on purpose, in the spirit of the pipeline (stages never import each other
// sideways, internal imports only internal, nothing imports cmd).
var mayImport = map[string][]string{
	"internal/sse":               {},
	"internal/sse/ssetest":       {},
	"internal/doc":               {},
	"internal/doc/doctest":       {"internal/doc"},
	"internal/outbound":          {},
	"internal/problem":           {},
	"internal/version":           {},
	"internal/certs":             {},
	"internal/rate":              {},
	"internal/latest":            {},
	"internal/trace":             {},
	"internal/trace/tracetest":   {"internal/trace"},
	"internal/obs":               {"internal/trace", "internal/version"},
	"internal/auth":              {"internal/broker", "internal/problem"},
	"internal/presence":          {"internal/broker"},
	"internal/access":            {"internal/broker", "internal/doc", "internal/latest", "internal/problem"},
	"internal/access/token":      {"internal/access", "internal/broker", "internal/outbound", "internal/problem"},
	"internal/broker":            {"internal/problem", "internal/trace"},
	"internal/broker/brokertest": {"internal/broker", "internal/trace"},
	"config":                     {"internal/doc"},
	"config/catalog":             {"config", "internal/broker", "internal/doc", "internal/latest", "internal/problem"},
	"config/admin":               {"config/asyncapi", "config/catalog", "config/wso2", "internal/access", "internal/access/token", "internal/auth", "internal/certs", "internal/doc", "internal/outbound", "internal/presence", "internal/problem", "internal/sse", "internal/version"},
	"config/portal":              {"internal/auth", "internal/problem"},
	"config/asyncapi":            {"config/catalog", "internal/doc", "internal/problem"},
	"config/wso2":                {"config/catalog", "internal/doc"},
	"ingest/upstream":            {"internal/sse", "internal/outbound"},
	"ingest/lease":               {"internal/broker"},
	"ingest":                     {"ingest/upstream", "ingest/lease", "internal/broker", "internal/outbound", "internal/rate", "internal/sse", "internal/trace", "config", "config/catalog"},
	"fanout":                     {"internal/broker", "internal/rate", "internal/sse", "internal/trace", "config"},
	"fanout/fanouttest":          {"fanout", "internal/broker", "internal/broker/brokertest", "internal/sse", "edge"},
	"fanout/shard":               {"fanout", "internal/sse"},
	"edge/quota":                 {"config", "internal/problem"},
	"edge":                       {"edge/quota", "fanout", "config", "config/catalog", "internal/access", "internal/access/token", "internal/broker", "internal/certs", "internal/problem", "internal/sse", "internal/trace"},
	"deploy/grafana/generate":    {}, // writes the dashboards
	"test/feed":                  {"internal/sse", "test/oracle"},
	"test/oracle":                {"internal/sse", "internal/broker"},
	"test/load":                  {},
	"cmd/sluice":                 nil, // may import everything: it is the composition root
}

// doors lists, for each third-party module, the only packages whose production code may import it. Modules that are not
// listed may not be imported by production code at all.
var doors = map[string][]string{
	"github.com/nats-io":                  {"internal/broker", "internal/broker/brokertest"},
	"github.com/labstack/echo":            {"edge", "config/admin"},
	"github.com/getkin/kin-openapi":       {"config/admin"},
	"github.com/oapi-codegen/runtime":     {"config/admin"},
	"golang.org/x/crypto":                 {"internal/auth"},
	"go.yaml.in/yaml":                     {"internal/doc", "internal/sse/ssetest"},
	"github.com/spf13/cobra":              {"cmd/sluice"},
	"charm.land/bubbletea":                {"cmd/sluice", "test/load", "test/topology/cluster"},
	"github.com/charmbracelet/x/term":     {"cmd/sluice"},
	"charm.land/lipgloss":                 {"cmd/sluice", "test/load", "test/topology/cluster"},
	"github.com/caarlos0/env":             {"config"},
	"github.com/invopop/jsonschema":       {"config", "config/catalog", "config/schemagen"},
	"github.com/prometheus/client_golang": {"internal/obs", "internal/certs", "internal/broker", "ingest", "ingest/upstream", "fanout", "fanout/shard", "edge", "config/catalog", "cmd/sluice"},
	"go.opentelemetry.io/proto/otlp":      {"internal/obs"},
	"google.golang.org/protobuf":          {"internal/obs"},
	"github.com/golang-jwt/jwt":           {"internal/access/token"},
	"github.com/MicahParks":               {"internal/access/token"},
	"github.com/redis/go-redis":           {"edge/quota"},
	"golang.org/x/sys":                    {"fanout/shard", "edge", "fanout/fanouttest", "test/load", "cmd/sluice"},
	"golang.org/x/time":                   {"edge", "ingest", "ingest/upstream"},
	"golang.org/x/sync":                   {"cmd/sluice", "fanout", "edge", "ingest", "internal/broker"},
	"golang.org/x/net":                    {"edge", "internal/outbound"},
	"github.com/fsnotify/fsnotify":        {"edge"},
	"github.com/coreos/go-systemd":        {"cmd/sluice"},
	"github.com/KimMachineGun":            {"cmd/sluice"},
	"github.com/google/go-cmp":            {"fanout/fanouttest", "internal/broker/brokertest"},
	"go.uber.org/goleak":                  {"fanout/fanouttest", "internal/broker/brokertest"},
	"github.com/HdrHistogram":             {"test/load", "cmd/sluice"},
	"charm.land":                          {"cmd/sluice"},
	"github.com/guptarohit/asciigraph":    {"cmd/sluice"},
	"pgregory.net/rapid":                  {"fanout/fanouttest", "internal/broker/brokertest"},
}

// testHelpers may import "testing" in files that are not tests.
var testHelpers = []string{"fanout/fanouttest", "internal/broker/brokertest", "internal/doc/doctest"}

// unsafeHomes may import unsafe or make raw system calls.
var unsafeHomes = []string{"fanout/shard", "test/load", "edge"}

// shipped are the packages below test that production code may import: they are part of the binary.
var shipped = []string{"test/feed", "test/oracle", "test/load"}
