package problem

// Kinds of the management API, beside those of the rows that no code names.
const (
	Unauthenticated      Kind = "unauthenticated"
	Forbidden            Kind = "forbidden"
	CrossOrigin          Kind = "cross-origin"
	VersionMismatch      Kind = "version-mismatch"
	BodyTooLarge         Kind = "body-too-large"
	UnsupportedMediaType Kind = "unsupported-media-type"
	InvalidHeader        Kind = "invalid-header"
	PreconditionRequired Kind = "precondition-required"
	TooManyAttempts      Kind = "too-many-attempts"
	StoreUnavailable     Kind = "store-unavailable"
	InvalidResource      Kind = "invalid-resource"
	InvalidValue         Kind = "invalid-value"
	WeakPassword         Kind = "weak-password"
	UserExists           Kind = "user-exists"
	LastAdmin            Kind = "last-admin"

	InvalidName        Kind = "invalid-name"
	UnknownPlan        Kind = "unknown-plan"
	PlanExists         Kind = "plan-exists"
	PlanInUse          Kind = "plan-in-use"
	UnknownApplication Kind = "unknown-application"
	ApplicationExists  Kind = "application-exists"
	ClientTaken        Kind = "client-taken"
	KeyLimit           Kind = "key-limit"
	SubscriptionExists Kind = "subscription-exists"
	DenyExists         Kind = "deny-exists"
	TooManyRecords     Kind = "too-many-records"
	ImmutableField     Kind = "immutable-field"
)

// managed are the rows of the management API; written once, here, and only read. What is wrong with a definition is named by the slugs
// that internal/doc and config/catalog put into their errors.
var managed = map[Kind]entry{
	Unauthenticated:      {status: 401, title: "Not signed in"},
	Forbidden:            {status: 403, title: "Not allowed"},
	CrossOrigin:          {status: 403, title: "Cross-origin request"},
	VersionMismatch:      {status: 412, title: "Changed meanwhile"},
	BodyTooLarge:         {status: 413, title: "Body too large", closes: true},
	UnsupportedMediaType: {status: 415, title: "Unsupported media type"},
	InvalidHeader:        {status: 400, title: "Invalid header field"},
	PreconditionRequired: {status: 428, title: "If-Match required"},
	TooManyAttempts:      {status: 429, title: "Too many attempts"},
	StoreUnavailable:     {status: 503, title: "Store unavailable"},
	WeakPassword:         {status: 422, title: "Weak password"},
	UserExists:           {status: 409, title: "User exists"},
	LastAdmin:            {status: 409, title: "Last administrator"},

	"invalid-json":       {status: 400, title: "Invalid JSON"},
	"invalid-yaml":       {status: 400, title: "Invalid YAML"},
	"unknown-field":      {status: 400, title: "Unknown field"},
	"duplicate-key":      {status: 400, title: "Duplicate key"},
	"too-deep":           {status: 400, title: "Nested too deep"},
	"invalid-document":   {status: 400, title: "Invalid document"},
	"document-too-large": {status: 413, title: "Document too large"},

	InvalidResource:        {status: 422, title: "Invalid resource"},
	InvalidValue:           {status: 422, title: "Invalid value"},
	InvalidName:            {status: 422, title: "Invalid name"},
	"invalid-version":      {status: 422, title: "Invalid version"},
	"invalid-context":      {status: 422, title: "Invalid context"},
	"reserved-context":     {status: 422, title: "Reserved context"},
	"invalid-topic":        {status: 422, title: "Invalid topic"},
	"invalid-wildcard":     {status: 422, title: "Invalid wildcard"},
	"invalid-backend-path": {status: 422, title: "Invalid backend path"},
	"no-transport":         {status: 422, title: "No transport"},
	"endpoint-scheme":      {status: 422, title: "Endpoint scheme not allowed"},
	"endpoint-userinfo":    {status: 422, title: "Credentials in endpoint"},
	"endpoint-loop":        {status: 422, title: "Endpoint is this gateway"},
	"endpoint-forbidden":   {status: 422, title: "Endpoint not allowed"},
	UnknownPlan:            {status: 422, title: "Unknown plan"},
	UnknownApplication:     {status: 422, title: "Unknown application"},
	"unknown-scope":        {status: 422, title: "Unknown scope"},
	"unknown-param":        {status: 422, title: "Unknown parameter"},
	"not-subscribe":        {status: 422, title: "Not a topic to subscribe"},
	"not-publishable":      {status: 422, title: "Not publishable"},
	"unsupported-version":  {status: 422, title: "Unsupported version"},
	"external-ref":         {status: 422, title: "External reference"},
	"circular-ref":         {status: 422, title: "Circular reference"},
	"missing-field":        {status: 422, title: "Missing field"},
	"wrong-type":           {status: 422, title: "Wrong type"},
	"invalid-ref":          {status: 422, title: "Invalid reference"},
	"unknown-security":     {status: 422, title: "Unknown security scheme"},
	"unknown-server":       {status: 422, title: "Unknown server"},
	"duplicate-id":         {status: 422, title: "Identifier used twice"},
	"message-not-included": {status: 422, title: "Message of another channel"},
	"invalid-archive":      {status: 422, title: "Invalid archive"},
	ImmutableField:         {status: 422, title: "Field cannot change"},
	"not-sse":              {status: 422, title: "Not an SSE API"},

	PlanExists:         {status: 409, title: "Plan exists"},
	PlanInUse:          {status: 409, title: "Plan is in use"},
	ApplicationExists:  {status: 409, title: "Application exists"},
	ClientTaken:        {status: 409, title: "Client belongs to another application"},
	KeyLimit:           {status: 409, title: "Too many keys"},
	SubscriptionExists: {status: 409, title: "Subscription exists"},
	DenyExists:         {status: 409, title: "Deny exists"},
	TooManyRecords:     {status: 409, title: "Too many records"},

	"topic-conflict":         {status: 409, title: "Topics conflict"},
	"version-conflict":       {status: 409, title: "Version exists"},
	"context-differs":        {status: 409, title: "Context differs"},
	"context-conflict":       {status: 409, title: "Context taken"},
	"transition-not-allowed": {status: 409, title: "Transition not allowed"},
	"api-live":               {status: 409, title: "API is live"},
	"api-retired":            {status: 409, title: "API is retired"},
	"has-subscriptions":      {status: 409, title: "API has subscriptions"},
	"api-deprecated":         {status: 409, title: "API is deprecated"},
	"revision-deployed":      {status: 409, title: "Revision is deployed"},
	"revision-limit":         {status: 409, title: "Too many revisions"},
	"mapping-differs":        {status: 409, title: "Mapping differs"},
	"changed-elsewhere":      {status: 409, title: "Changed elsewhere"},

	"import-fetch-failed": {status: 502, title: "Document not fetched"},
}

// Known tells whether k has a row of its own.
func (k Kind) Known() bool {
	_, stream := rows[k]
	_, manage := managed[k]
	return stream || manage
}
