package wso2

import (
	"slices"
	"strings"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// maxExtra bounds the annotation, so that an API's other annotations have room.
const maxExtra = 24 << 10

// mapped are the fields of an API that mean something here.
var mapped = strings.Fields(`name displayName description provider tags context version lifeCycleStatus isDefaultVersion type transport
	visibility visibleRoles policies keyManagers securityScheme authorizationHeader apiKeyHeader scopes corsConfiguration endpointConfig
	endpointSecurity operations`)

// carried are fields that say nothing a gateway of streams would do otherwise; they are kept without a word.
var carried = strings.Fields(`id createdTime lastUpdatedTime lastUpdatedTimestamp hasThumbnail isRevision revisionId revisionedApiId
	responseCachingEnabled cacheTimeout enableSchemaValidation enableSubscriberVerification enableStore testKey workflowStatus
	subscriptionAvailability subscriptionAvailableTenants additionalProperties additionalPropertiesMap businessInformation
	websubSubscriptionConfiguration endpointImplementationType categories advertiseInfo gatewayVendor gatewayType asyncTransportProtocols
	organizationId egress audience audiences serviceInfo visibleTenants visibleOrganizations organizationPolicies subtypeConfiguration
	destinationStatsEnabled wsdlInfo wsdlUrl isAWSAPI initiatedFromGateway contextTemplate revisionedApi primaryProductionEndpointId
	primarySandboxEndpointId deploymentStage accessControl`)

// effectless are fields that promise something which does not happen here.
var effectless = strings.Fields(`apiThrottlingPolicy maxTps mediationPolicies apiPolicies accessControlRoles monetization
	threatProtectionPolicies`)

// inside are the known fields of the maps that a field holds, itself or in a list.
var inside = map[string][]string{
	"operations": strings.Fields(`id target verb authType throttlingPolicy scopes usedProductIds uriMapping payloadSchema
		amznResourceName amznResourceTimeout amznResourceContentEncode operationPolicies backendOperationMapping apiOperationMapping
		schemaDefinition description`),
	"scopes": strings.Fields(`scope shared id name displayName description bindings usageCount`),
	"corsConfiguration": strings.Fields(`corsConfigurationEnabled accessControlAllowOrigins accessControlAllowCredentials
		accessControlAllowHeaders accessControlAllowMethods accessControlExposeHeaders`),
	"endpointConfig": strings.Fields(`endpoint_type production_endpoints sandbox_endpoints production_failovers sandbox_failovers
		endpoint_security failOver algoCombo algoClassName sessionManagement sessionTimeOut`),
}

// extra is what of the project has no place in the API, as the text of its annotation; "" = nothing. It tells what that is.
func (m *mapper) extra(in input, api *catalog.API) string {
	ours, kept := generate(api), object()
	for _, f := range in.data.Fields {
		m.tell(f)
		value := clean(f.Value, f.Key, m.secretGone)
		if !empty(value) && !same(value, ours.Get(f.Key)) {
			put(kept, f.Key, value)
		}
	}
	out := object()
	if in.version != "" {
		put(out, "version", text(in.version))
	}
	putSome(out, "data", kept)
	if in.environs != nil {
		if value := clean(in.environs, "", m.secretGone); !same(value, environments(api)) {
			putSome(out, "environments", value)
		}
	}
	m.fit(out, kept, in)
	if len(out.Fields) == 0 {
		return ""
	}
	return string(compact(out))
}

// fit takes the largest fields out until the rest is small enough to keep.
func (m *mapper) fit(out, kept *doc.Node, in input) {
	for len(compact(out)) > maxExtra {
		if len(kept.Fields) == 0 {
			drop(out, "environments")
			drop(out, "version")
			return
		}
		largest := slices.MaxFunc(kept.Fields, func(a, b doc.Field) int { return len(compact(a.Value)) - len(compact(b.Value)) }).Key
		m.warn(in.data.Get(largest), "extra-dropped", "is too large to be carried along and is lost")
		drop(kept, largest)
	}
}

// tell says what becomes of a field that is not mapped.
func (m *mapper) tell(f doc.Field) {
	if empty(f.Value) {
		return
	}
	switch {
	case slices.Contains(mapped, f.Key):
		m.tellInside(f.Value, inside[f.Key])
	case slices.Contains(carried, f.Key):
	case f.Key == "apiThrottlingPolicy" && f.Value.Text == "Unlimited":
	case slices.Contains(effectless, f.Key):
		m.warn(f.Value, "no-effect", "has no effect here; it is only carried along")
	default:
		hint := ""
		if near := doc.Nearest(f.Key, mapped); near != "" {
			hint = "; did you mean " + near + "?"
		}
		m.warn(f.Value, "unknown-field", "is not known; it is only carried along%s", hint)
	}
}

func (m *mapper) tellInside(n *doc.Node, known []string) {
	if known == nil {
		return
	}
	for _, item := range n.Items {
		m.tellInside(item, known)
	}
	for _, f := range n.Fields {
		if !slices.Contains(known, f.Key) && !empty(f.Value) {
			m.warn(f.Value, "unknown-field", "is not known; it is only carried along")
		}
	}
}

// secretGone tells of a secret that is not carried along; the one that got a name is told already.
func (m *mapper) secretGone(n *doc.Node) {
	for out, src := range m.from {
		if src == n && out.Kind == doc.String && strings.HasSuffix(out.Text, "-upstream") {
			return
		}
	}
	m.warn(n, "secret-dropped", "looks like a secret and is not kept")
}
