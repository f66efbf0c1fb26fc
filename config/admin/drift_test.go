package admin

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"sluice/config/catalog"
)

// jsonSchema is the part of catalog's schema that is compared.
type jsonSchema struct {
	Properties map[string]jsonSchema `json:"properties"`
	Required   []string              `json:"required"`
	Enum       []any                 `json:"enum"`
	AnyOf      []jsonSchema          `json:"anyOf"`
	Defs       map[string]jsonSchema `json:"$defs"`
}

// TestDefinitionsAreDescribedAsTheCatalogHasThem compares the schemas of a definition in openapi.yaml with the one that the Go types
// give: a field that is added there is missing here.
func TestDefinitionsAreDescribedAsTheCatalogHasThem(t *testing.T) {
	var want jsonSchema
	if err := json.Unmarshal(catalog.Schema(), &want); err != nil {
		t.Fatal(err)
	}
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	same := func(name string, want jsonSchema, have *openapi3.Schema) {
		if len(want.AnyOf) > 0 && len(have.AnyOf) == len(want.AnyOf) { // a short and a long form
			want, have = want.AnyOf[len(want.AnyOf)-1], have.AnyOf[len(have.AnyOf)-1].Value
		}
		a, b := slices.Sorted(maps.Keys(want.Properties)), slices.Sorted(maps.Keys(have.Properties))
		if !slices.Equal(a, b) {
			t.Errorf("%s: the catalog has %v, openapi.yaml %v", name, a, b)
		}
		slices.Sort(want.Required)
		if required := slices.Sorted(slices.Values(have.Required)); !slices.Equal(want.Required, required) {
			t.Errorf("%s: the catalog requires %v, openapi.yaml %v", name, want.Required, required)
		}
		for key, p := range want.Properties {
			ref := have.Properties[key]
			if ref == nil || ref.Value == nil || len(p.Enum) == 0 {
				continue
			}
			if !slices.Equal(p.Enum, ref.Value.Enum) {
				t.Errorf("%s.%s: the catalog takes %v, openapi.yaml %v", name, key, p.Enum, ref.Value.Enum)
			}
		}
	}
	schemas := c.doc.Components.Schemas
	same("API", want, schemas["API"].Value)
	for name, def := range want.Defs {
		if schemas[name] == nil {
			t.Errorf("openapi.yaml lacks %s", name)
			continue
		}
		same(name, def, schemas[name].Value)
	}
}
