package catalog

import (
	"maps"
	"slices"
	"strings"

	"sluice/config"
)

// URLs are the addresses under which clients reach an API through the edges of groups, one for each address of public that fits:
// transport and group. Those of the default version without its version too, behind the others.
func (a *API) URLs(public []config.PublicURL, groups []string) []string {
	var out, byDefault []string
	for _, p := range public {
		scheme, _, _ := strings.Cut(p.URL, ":")
		if !a.Allows(Transport(scheme)) || p.Group != "" && !slices.Contains(groups, p.Group) {
			continue
		}
		out = append(out, p.URL+a.BasePath())
		if path := a.DefaultPath(); path != "" {
			byDefault = append(byDefault, p.URL+path)
		}
	}
	return append(out, byDefault...)
}

// URLs are where clients reach what is deployed of the API; none while nothing of it is served.
func (r *Record) URLs(public []config.PublicURL) []string {
	if len(r.Deployments) == 0 || !r.API.Spec.State.Runs() {
		return nil
	}
	return r.API.URLs(public, slices.Sorted(maps.Keys(r.Deployments)))
}
