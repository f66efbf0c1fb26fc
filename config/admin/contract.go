package admin

import (
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"sluice/internal/auth"
	"sluice/internal/problem"
)

//go:generate go tool -modfile=../../tools/go.mod oapi-codegen -config codegen.yaml openapi.yaml

// openapi is the contract: routes and types are generated from it, and what it says of parameters and roles is done as it says.
//
//go:embed openapi.yaml
var openapi []byte

// contract is the document, read.
type contract struct {
	doc *openapi3.T
	ops map[string]*operation // by method and the router's path
}

// operation is what the document says of one route.
type operation struct {
	method, path string
	item         *openapi3.PathItem
	def          *openapi3.Operation
	params       []*openapi3.Parameter
	open         bool        // nobody needs to be signed in
	roles        []auth.Role // any of these may call it; nil = everyone signed in
	takes, gives []string    // media types of the body, of what is answered when all went well
}

func readContract() (*contract, error) {
	loaded, err := openapi3.NewLoader().LoadFromData(openapi)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	c := &contract{doc: loaded, ops: map[string]*operation{}}
	for path, item := range loaded.Paths.Map() {
		for method, def := range item.Operations() {
			op, err := newOperation(method, path, item, def)
			if err != nil {
				return nil, fmt.Errorf("openapi.yaml: %s %s: %w", method, path, err)
			}
			c.ops[method+" "+routed(path)] = op
		}
	}
	return c, nil
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

// routed is the document's path as the router writes it.
func routed(path string) string { return pathParam.ReplaceAllString(path, ":$1") }

// find returns the operation of a route, nil if there is none.
func (c *contract) find(method, route string) *operation { return c.ops[method+" "+route] }

func newOperation(method, path string, item *openapi3.PathItem, def *openapi3.Operation) (*operation, error) {
	op := &operation{method: method, path: path, item: item, def: def}
	for _, list := range []openapi3.Parameters{item.Parameters, def.Parameters} {
		for _, p := range list {
			op.params = append(op.params, p.Value)
		}
	}
	if def.RequestBody != nil {
		for media := range def.RequestBody.Value.Content {
			op.takes = append(op.takes, media)
		}
		slices.Sort(op.takes)
	}
	for status, r := range def.Responses.Map() {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		for media := range r.Value.Content {
			op.gives = append(op.gives, media)
		}
	}
	slices.Sort(op.gives)
	op.gives = slices.Compact(op.gives)
	return op, op.readRoles()
}

// readRoles reads x-roles: an operation without a role class is a mistake.
func (op *operation) readRoles() error {
	list, _ := op.def.Extensions["x-roles"].([]any)
	if len(list) == 0 {
		return errors.New("has no x-roles")
	}
	for _, item := range list {
		switch name, _ := item.(string); {
		case name == "none" && len(list) == 1 && op.def.Security != nil && len(*op.def.Security) == 0:
			op.open = true
		case name == "any" && len(list) == 1:
		case auth.Role(name).Valid():
			op.roles = append(op.roles, auth.Role(name))
		default:
			return fmt.Errorf("has x-roles %v", list)
		}
	}
	return nil
}

// allows tells whether a caller may call the operation.
func (op *operation) allows(p auth.Principal) bool {
	return op.open || op.roles == nil || slices.ContainsFunc(op.roles, p.Has)
}

// checkParams tells what is wrong with the parameters of a request.
func (op *operation) checkParams(r *http.Request, path map[string]string) error {
	var parts []problem.Part
	query := r.URL.Query()
	for name, values := range query {
		if !slices.ContainsFunc(op.params, func(p *openapi3.Parameter) bool { return p.In == "query" && p.Name == name }) {
			parts = append(parts, problem.Part{Parameter: name, Reason: "is not a parameter of this operation"})
		} else if len(values) > 1 {
			parts = append(parts, problem.Part{Parameter: name, Reason: "is there more than once"})
		}
	}
	kind := problem.InvalidQuery
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: path, QueryParams: query,
		Route:   &routers.Route{PathItem: op.item, Method: op.method, Operation: op.def, Path: op.path},
		Options: &openapi3filter.Options{SkipSettingDefaults: true}} // a request stays as it came
	for _, p := range op.params {
		err := openapi3filter.ValidateParameter(r.Context(), in, p)
		if err == nil {
			continue
		}
		switch p.In {
		case "path":
			return problem.NotFound // it names nothing
		case "header":
			kind = problem.InvalidHeader
		}
		parts = append(parts, problem.Part{Parameter: p.Name, Reason: reasonOf(err)})
	}
	if len(parts) == 0 {
		return nil
	}
	slices.SortFunc(parts, func(a, b problem.Part) int { return strings.Compare(a.Parameter, b.Parameter) })
	return &problem.Error{Kind: kind, Errors: slices.Compact(parts)}
}

// reasonOf is what the validator has against a value, without the value.
func reasonOf(err error) string {
	var schema *openapi3.SchemaError
	if errors.As(err, &schema) && schema.Reason != "" {
		return schema.Reason
	}
	if errors.Is(err, openapi3filter.ErrInvalidRequired) || errors.Is(err, openapi3filter.ErrInvalidEmptyValue) {
		return "is required"
	}
	return "is not of the type it should be"
}
