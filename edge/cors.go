package edge

import (
	"net/http"
	"slices"
	"strings"

	"sluice/config/catalog"
)

// What a cross-origin page may send and read.
const (
	corsHeaders = "Authorization, ApiKey, Last-Event-ID, Cache-Control"
	corsExposed = "X-Request-ID, Retry-After"
	corsMaxAge  = "600"
	allowed     = "GET, HEAD, OPTIONS"
)

// originOf returns the one Origin of a request, "" for none or several.
func originOf(h http.Header) string {
	if v := h["Origin"]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// isPreflight tells a browser's question before a cross-origin request from other
// OPTIONS.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && originOf(r.Header) != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// originAllowed compares exactly: no suffixes, no "null" by accident.
func originAllowed(api *catalog.API, origin string) bool {
	origins := api.Spec.CORS.Origins
	return origin != "" && (slices.Contains(origins, origin) || slices.Contains(origins, "*"))
}

// setCORS sets what lets a page of a listed origin read the answer. An API without
// origins gets no header at all.
func setCORS(h http.Header, api *catalog.API, origin string) {
	cors := api.Spec.CORS
	if len(cors.Origins) == 0 {
		return
	}
	anyOrigin := slices.Contains(cors.Origins, "*")
	if !anyOrigin {
		h.Add("Vary", "Origin")
	}
	if !originAllowed(api, origin) {
		return
	}
	if anyOrigin {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		if cors.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	h.Set("Access-Control-Expose-Headers", corsExposed)
}

// allowedHeaders are what a page may send: the headers that streams know, and those in which the
// API takes its credentials.
func allowedHeaders(api *catalog.API) string {
	list := corsHeaders
	for _, own := range []string{api.Spec.Auth.Header, api.Spec.Auth.APIKeyHeader} {
		if own != "" && !strings.EqualFold(own, "Authorization") && !strings.EqualFold(own, "ApiKey") {
			list += ", " + own
		}
	}
	return list
}

// setPreflight sets the answer to a preflight of an allowed origin.
func setPreflight(h http.Header, api *catalog.API, origin string) {
	setCORS(h, api, origin)
	h.Del("Access-Control-Expose-Headers")
	h.Set("Access-Control-Allow-Methods", http.MethodGet)
	h.Set("Access-Control-Allow-Headers", allowedHeaders(api))
	h.Set("Access-Control-Max-Age", corsMaxAge)
}
